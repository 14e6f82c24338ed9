"""Loading a recipe: document, layers, stages, gates, inputs; every problem told together."""

from posttrain.spec.load.assemble import load
from posttrain.spec.load.document import shipped

__all__ = ["load", "shipped"]
