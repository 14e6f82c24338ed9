"""Token ids in, logits out: one decoder, one loader, one sampler. Never sees a message."""
