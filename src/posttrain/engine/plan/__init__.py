"""What would run, what stays, and why: decisions from facts alone. Planning writes nothing (DESIGN §7)."""

from posttrain.engine.plan.choose import Selection
from posttrain.engine.plan.facts import facts, in_order, own_folders
from posttrain.engine.plan.outlook import Action, Decision, Outlook
from posttrain.engine.plan.whole import Plan, make, objections

__all__ = [
    "Action",
    "Decision",
    "Outlook",
    "Plan",
    "Selection",
    "facts",
    "in_order",
    "make",
    "objections",
    "own_folders",
]
