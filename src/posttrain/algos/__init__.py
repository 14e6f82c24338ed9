"""The maths: pure functions of tensors and numbers. No other room, no disk, no clock; randomness is an argument."""
