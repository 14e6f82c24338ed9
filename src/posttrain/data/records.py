"""The record types of every JSONL file in an artifact."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

AnswerType = Literal["maths", "code", "options"]


class Row(BaseModel):
    """A line of a JSONL file: frozen, no unknown fields, no number that JSON cannot say."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Solution(Row):
    """One response that solves a problem."""

    style: str
    """`worked`, `terse`, or the teacher's method."""
    text: str
    source: str = "program"
    verified: bool = True


class Problem(Row):
    """A question with a gold answer, and solutions where training needs them."""

    id: str
    """Digest of the normalised prompt: equal problems have equal ids."""
    domain: str
    prompt: str
    answer: str
    """The gold: an extracted answer, never a whole solution."""
    answer_type: AnswerType = "maths"
    template: str = ""
    """Which generator made it."""
    difficulty: int = 0
    solutions: tuple[Solution, ...] = ()


class Score(Row):
    """One graded sample of an exam or a probe."""

    id: str
    domain: str
    sample: int
    correct: bool
    outcome: str
    """How the grade came about: right, wrong, no_answer, truncated …"""
    answer: str | None
    text: str
    tokens: int
    finish: Literal["stop", "length"]
    suite: str = "problems"
    step: int | None = None
    """The checkpoint, in a probe."""
    decided: bool = True
    """False where the grader could not find out: the sample is neither right nor wrong, and counts in no score."""


class Rollout(Row):
    """One sample of reinforcement learning, with everything its loss was made of."""

    step: int
    id: str
    domain: str
    sample: int
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish: Literal["stop", "length"]
    outcome: str
    reward: float | None
    """None where the grader could not find out: such a sample is out of the loss and of all that its group tells."""
    p: float
    """Share of the group's decided answers that are right, whatever else the reward is made of."""
    weight: float
    advantage: float
    parts: dict[str, float] = {}
    """What each term of the reward beside right or wrong measured, before its weight."""


class RlStep(Row):
    """One step of reinforcement learning in numbers; None where no token was trained, or there is no reference."""

    step: int
    loss: float | None
    kl: float | None
    """Mean k3 per trained token against the reference, nats, before the step."""
    reward: float | None
    """Mean binary reward over the responses drawn, but for undecided ones."""
    reward_std: float | None
    weight_mean: float
    """Mean MGPO weight over the groups drawn."""
    p: tuple[int, ...]
    """Groups by number of correct responses, 0 to G."""
    groups: int
    flat: int
    """Groups whose binary rewards are all equal."""
    trained: int
    """Groups that the loss saw."""
    clip_fraction: float | None
    """Share of trained tokens whose gradient the clipping stopped, over all updates of the step."""
    ratio_max: float | None
    logprob_gap: float | None
    """Mean absolute difference per trained token between sampler and trainer, nats, before the step."""
    entropy: float | None
    """Mean over trained tokens of the policy's entropy, nats."""
    length: float
    """Mean tokens of a response."""
    truncated: int
    """Responses that ended at the cap."""
    responses: int
    grad_norm: float | None
    """Before clipping; the last update's."""
    lr: float
    prompts: dict[str, int]
    """Groups drawn per domain."""
    generated_tokens: int
    trained_tokens: int
    """Tokens read in training, prompts included, padding not; one update."""
    undecided: int = 0
    """Responses that the grader could not find out about, twice: masked."""
    outcomes: dict[str, int] = {}
    """Responses by how their grade came about: right, wrong, truncated, no_answer, timeout …"""
    parts: dict[str, float] = {}
    """Mean of each term of the reward over the responses that it measured."""
    signs: dict[str, int] = {}
    """Programs that bear a mark of working on their grader instead of their task, by mark."""


class Gain(Row):
    """One item of a comparison: the metric before and after, paired."""

    id: str
    domain: str
    member: str
    """Which `after` artifact, where there are several; its axis value."""
    before: float | None
    """None where too few of its samples could be graded: the item is counted, and compared with nothing."""
    after: float | None


SPLITS = ("train", "probe", "val", "test", "rejects")
"""Splits of a data artifact that hold `Problem` rows, each in the file `SPLIT.jsonl`."""
