"""Models that are made on the spot: their shape, their vocabulary and how long they are trained; no torch."""

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import Field

from posttrain.spec.errors import UsageError
from posttrain.spec.knobs import Closed


class Vocabulary(Closed):
    """What a tokenizer made on the spot keeps as single tokens beside the 256 bytes."""

    size: int
    """Most entries in all; the rarest words are left to their bytes."""
    min_count: int = 2
    """A word seen less often is left to its bytes."""
    literals: tuple[str, ...] = ("\\boxed{",)
    """Strings that are always one token."""


class Pretrain(Closed):
    """How a preset is trained before it is a base."""

    tokens: int
    """Real tokens read in all; 0 leaves the random weights."""
    batch_tokens: int
    """Tokens of one optimiser step."""
    lr: float
    """AdamW's peak rate: embedding, head, norms."""
    muon_lr: float
    """Muon's peak rate: the matrices of the layers."""
    decay: float
    """The rate falls linearly to this share of the peak."""
    warmup: float = 0.02
    """Share of the steps over which the rates rise."""


class Preset(Closed):
    """A named model made from nothing."""

    name: str
    """`tiny:NAME` is trained on the spot, `init:NAME` stays random."""
    says: str
    """One sentence for lists."""
    config: dict[str, Any]
    """Keys of config.json but for the vocabulary, which the tokenizer decides."""
    tokenizer: Vocabulary
    """What becomes a token."""
    pretrain: Pretrain = Field(default=Pretrain(tokens=0, batch_tokens=4096, lr=3e-3, muon_lr=0.02, decay=0.1))
    """How it is trained."""


@cache
def places() -> dict[str, Path]:
    """The file of every shipped preset by the preset's name."""
    folder = Path(str(files("posttrain"))) / "recipes" / "models"
    found = {str(tomllib.loads(file.read_text(encoding="utf-8"))["name"]): file for file in folder.glob("*.toml")}
    return dict(sorted(found.items()))


@cache
def presets() -> dict[str, Preset]:
    """Every shipped preset by name."""
    return {name: Preset(**tomllib.loads(file.read_text(encoding="utf-8"))) for name, file in places().items()}


def preset(name: str) -> Preset:
    """The preset of that name; UsageError where there is none."""
    if name not in presets():
        raise UsageError(f"no preset is called {name!r}.", where="base.id", remedy=f"Known: {', '.join(presets())}.")
    return presets()[name]
