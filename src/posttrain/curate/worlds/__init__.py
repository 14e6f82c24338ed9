"""Procedural tasks with worked and terse solutions and machine-verifiable answers."""
