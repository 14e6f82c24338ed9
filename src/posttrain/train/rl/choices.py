"""The choices of reinforcement learning: the variants of the knobs of kind `rl`, as the training reads them."""

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from posttrain.spec.knobs import Variant, tagged


class Keep(Variant):
    """A group that teaches nothing stays in the step's means."""

    type: Literal["keep"] = "keep"


class Drop(Variant):
    """A group that teaches nothing leaves the step, and is counted."""

    type: Literal["drop"] = "drop"


class Resample(Variant):
    """A group that teaches nothing is replaced by another prompt."""

    type: Literal["resample"] = "resample"
    max: PositiveInt = 2
    """How often per step; what then still teaches nothing is dropped."""


class Unshaped(Variant):
    """The reward is 1 for a right answer, 0 for any other."""

    type: Literal["none"] = "none"


class Long2Short(Variant):
    """Right answers of one prompt exchange reward, from long to short (VibeThinker-3B §2.2.2)."""

    type: Literal["long2short"] = "long2short"
    scale: PositiveFloat = 0.2
    """Most that an answer gains or loses."""


class Correct(Variant):
    """Right or wrong, and nothing else."""

    type: Literal["correct"] = "correct"


class Wish(Variant):
    """One thing wished for beside being right, measured of the response from 0 to 1."""

    weight: float
    """What it counts in the reward, where being right counts 1; below 0 it is a penalty."""

    @property
    def arguments(self) -> dict[str, Any]:
        """What its measure takes."""
        return self.model_dump(exclude={"type", "weight"})


class BoxedOnce(Wish):
    """One box, not empty, with nothing behind it."""

    type: Literal["boxed_once"] = "boxed_once"


class Tagged(Wish):
    """The tags once each, in this order, and nothing outside."""

    type: Literal["tagged"] = "tagged"
    tags: tuple[str, ...] = ("think", "answer")
    """Their names."""


class Varied(Wish):
    """Nothing said over and over."""

    type: Literal["varied"] = "varied"
    n: PositiveInt = 4
    """Words in a row that may not come back."""


class Spoken(Wish):
    """A text in one language."""

    type: Literal["spoken"] = "spoken"
    code: str = "en"
    """Which one."""


class Within(Wish):
    """So many words; half as many as the least, or twice as many as the most, measure 0.5."""

    type: Literal["within"] = "within"
    least: NonNegativeInt = 0
    """No fewer."""
    most: PositiveInt = 1 << 30
    """No more."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least = {self.least} is more than most = {self.most}")
        return self


if TYPE_CHECKING:
    AnyWish = BoxedOnce | Tagged | Varied | Spoken | Within
else:
    AnyWish = tagged(BoxedOnce | Tagged | Varied | Spoken | Within)


class Sum(Variant):
    """1 for a right answer, plus weight · measure of each wish; a truncated response has none of it."""

    type: Literal["sum"] = "sum"
    terms: tuple[AnyWish, ...] = Field(min_length=1)
    """The wishes; together they weigh less than being right."""


class Zero(Variant):
    """A truncated response has reward 0."""

    type: Literal["zero"] = "zero"


class Mask(Variant):
    """A truncated response has reward 0 and stays out of the loss."""

    type: Literal["mask"] = "mask"


class Soft(Variant):
    """A truncated response has reward 0; all lose up to 1 over the last tokens before the cap (DAPO eq. 13)."""

    type: Literal["soft"] = "soft"
    margin: float = Field(0.2, gt=0, le=1)
    """Over which share of the response cap the penalty grows."""


class Off(Variant):
    """Every prompt is drawn."""

    type: Literal["none"] = "none"


class Samples(Variant):
    """Prompts that the starting model always or never solves are left out (VibeThinker-3B §2.2.2)."""

    type: Literal["samples"] = "samples"
    samples: int = Field(8, ge=2)
    """Answers to each prompt."""


class NoReference(Variant):
    """Nothing pulls the policy back, and nothing is loaded for it."""

    type: Literal["none"] = "none"


class Copy(Variant):
    """A second copy of the weights."""

    type: Literal["copy"] = "copy"
    beta: NonNegativeFloat = 0.01
    """Weight of the KL, in reward per nat."""
    estimator: Literal["k1", "k2", "k3"] = "k1"
    """Per token, d = log π - log π_ref: k1 = d, k2 = d²/2, k3 = exp(-d) + d - 1."""
    place: Literal["advantage", "reward", "loss"] = "advantage"
    """Off each token's advantage, off the response's reward (p stays binary), or in the loss."""

    @model_validator(mode="after")
    def _has_a_gradient(self) -> Self:
        if self.place == "loss" and self.estimator == "k1":
            raise ValueError("k1 in the loss has no gradient in expectation, only noise; use k2, or place = advantage")
        return self


if TYPE_CHECKING:
    ZeroVariance = Keep | Drop | Resample
    Shaping = Unshaped | Long2Short
    Overlong = Zero | Mask | Soft
    Reward = Correct | Sum
    Prefilter = Off | Samples
    Reference = NoReference | Copy
else:
    ZeroVariance = tagged(Keep | Drop | Resample)
    Shaping = tagged(Unshaped | Long2Short)
    Overlong = tagged(Zero | Mask | Soft)
    Reward = tagged(Correct | Sum)
    Prefilter = tagged(Off | Samples)
    Reference = tagged(NoReference | Copy)
