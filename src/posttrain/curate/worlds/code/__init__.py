"""Code: small functions and scripts from words or from examples, with hidden tests."""

from posttrain.curate.worlds.code import expressions, functions, scripts

EXPRESSIONS = expressions.TEMPLATES
"""Templates whose answer is one arithmetic expression over the arguments: they can be checked without running it."""
TEMPLATES = (*expressions.TEMPLATES, *functions.TEMPLATES, *scripts.TEMPLATES)

__all__ = ["EXPRESSIONS", "TEMPLATES"]
