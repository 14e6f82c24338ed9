"""Makes data: procedural worlds, sources, filters."""
