"""Makes models: one loop, and a short module per method."""
