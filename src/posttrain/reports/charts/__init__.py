"""Drawings: what is drawn from the steps of a run, the graph of its stages, and how lines, maps and intervals look."""
