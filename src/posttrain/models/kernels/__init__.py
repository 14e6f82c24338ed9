"""The inner arithmetic of the decoder: hand-written forward and backward where torch's own is slow on a CPU."""
