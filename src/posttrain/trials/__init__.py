"""The product attacks itself: it is killed at random, and every gate meets the defect it is there for."""
