"""The door: verbs, tables."""
