"""One node's work, in its own process: the context a stage sees, and the way from its folder to an artifact."""

from posttrain.engine.environment import environment
from posttrain.engine.work.clock import Clock
from posttrain.engine.work.leftovers import tidy
from posttrain.engine.work.node import Order, work_node
from posttrain.engine.work.room import Room

__all__ = ["Clock", "Order", "Room", "environment", "tidy", "work_node"]
