"""kinds: every kind with its line; of one kind roles, knobs with type, default and words, gates."""

from typing import Literal

import pytest

from cli.door import posttrain
from posttrain import stages
from posttrain.spec.knobs import Knobs, Variant, documents, tagged


def test_every_kind_is_listed_with_its_line():
    out = posttrain("kinds").out
    for name in stages.names():
        assert f"\n  {name} " in out and stages.kind(name).says in out


@pytest.mark.parametrize("name", stages.names())
def test_a_kind_shows_every_knob_role_and_gate(name):
    """S-A4: knobs with type and default."""
    said, kind = posttrain("kinds", name), stages.kind(name)
    assert said.code == 0
    words = documents(kind.knobs)
    for knob in kind.knobs.model_fields:
        assert f"\n  {knob} " in said.out
        assert words[knob] and " ".join(words[knob].split()) in said.out
    assert all(f"\n  {role} " in said.out for role in kind.roles)


def test_rl_shows_its_window_and_files():
    """S-A4: `max_seq_length`, `train`, `val` are knobs, shown with defaults (4096; the data role)."""
    lines = {line.split()[0]: line for line in posttrain("kinds", "rl").out.splitlines() if line.strip()}
    assert "whole number" in lines["max_seq_length"] and " 4096 " in lines["max_seq_length"]
    assert "file | none" in lines["train"] and "the role data" in lines["train"]
    assert "file | none" in lines["val"]


class Even(Variant):
    """All the same."""

    type: Literal["even"] = "even"


class Weighted(Variant):
    """Each its own share."""

    type: Literal["weighted"] = "weighted"
    shares: tuple[float, ...] = ()
    """One for each."""


class Sample(Knobs):
    """Knobs of every shape."""

    method: tagged(Even | Weighted) = Even()
    """How."""
    names: dict[str, str] | None = None
    """What."""


def test_a_union_shows_its_tags_and_the_knobs_of_each():
    from posttrain.cli.kinds import _knobs

    rows = {row[0]: row for row in _knobs(Sample, "")}
    assert rows["method"][1:3] == ("even | weighted", "even")
    assert rows["    shares"] == ("    shares", "list of number", "empty", "One for each.")
    assert rows["names"][1:3] == ("table of text | none", "none")
