"""Rows and tokens: records, the one reader and writer of rows, prompts and masks, batches. Never sees a weight."""
