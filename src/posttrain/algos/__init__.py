"""The maths: pure functions of tensors and numbers. Imports no other room, no disk, no clock; randomness is an argument."""
