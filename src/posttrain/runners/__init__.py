"""A conversation in, an answer out: rollouts of many graded samples."""
