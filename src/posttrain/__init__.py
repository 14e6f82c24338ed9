"""posttrain: a small base language model through a whole post-training pipeline, with verdicts that mean it."""

__version__ = "0.1.0"
