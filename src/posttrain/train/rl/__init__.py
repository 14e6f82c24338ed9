"""Reinforcement learning from graded samples: draw, sample, weigh, step, validate (VibeThinker-1.5B §3.4)."""
