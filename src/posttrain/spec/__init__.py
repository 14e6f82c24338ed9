"""What words mean: recipe, stage, knobs, gates, errors. Imports nothing but pydantic and the standard library."""
