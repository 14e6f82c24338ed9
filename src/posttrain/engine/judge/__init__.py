"""What gates say of artifacts (DESIGN §4): pass, fail, inconclusive or not_run. Unknown is never a pass."""

from posttrain.engine.judge.bench import Bench, exit_code, inputs, machine_has, parents
from posttrain.engine.judge.decide import SILENT, Claim, Reading, condition, decide, told, too_good

__all__ = [
    "SILENT",
    "Bench",
    "Claim",
    "Reading",
    "condition",
    "decide",
    "exit_code",
    "inputs",
    "machine_has",
    "parents",
    "told",
    "too_good",
]
