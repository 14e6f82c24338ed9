"""The verbs that stand beside those of a run: each module adds its own with `add(app)`."""
