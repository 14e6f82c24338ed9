"""What enters a fingerprint, what does not, and how differences read."""

from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posttrain.spec.errors import UsageError
from posttrain.spec.knobs import File, Knobs, Variant, tagged
from posttrain.store.fingerprint import Facts, InputFact, canonical, differences, fingerprint, knob_facts


class Plain(Variant):
    type: Literal["plain"] = "plain"
    beta: float = 0.1


class Ruled(Variant):
    type: Literal["ruled"] = "ruled"
    rules: File


class Toy(Knobs):
    k: int = 1
    lr: float = 1.0
    names: tuple[str, ...] = ("a",)
    loss: tagged(Plain | Ruled) = Plain()
    constitution: File | None = None
    sets: tuple[File, ...] = ()
    folder: Path | None = None


def facts(**changes: Any) -> Facts:
    fields: dict[str, Any] = {"kind": "toy", "version": 1, "knobs": {"k": 8}, "seed": 1, "inputs": {}, "files": {}}
    return Facts(**fields | changes)


def given_by(*nodes: str, digest: str = "d") -> tuple[InputFact, ...]:
    return tuple(InputFact(node=node, digest=f"{digest}-{node}") for node in nodes)


def test_every_fact_decides() -> None:
    base = facts()
    others = [
        facts(kind="other"),
        facts(version=2),
        facts(knobs={"k": 9}),
        facts(seed=2),
        facts(inputs={"data": given_by("a")}),
        facts(files={"f": "1"}),
    ]
    assert len({fingerprint(one) for one in (base, *others)}) == 7


def test_of_an_input_only_role_and_bytes_decide() -> None:
    one = facts(inputs={"data": (InputFact(node="a", digest="1", fingerprint="x"),)})
    renamed = facts(inputs={"data": (InputFact(node="b", digest="1", fingerprint="y"),)})
    assert fingerprint(one) == fingerprint(renamed)
    assert fingerprint(one) != fingerprint(facts(inputs={"replay": (InputFact(node="a", digest="1"),)}))
    assert fingerprint(facts(inputs={"data": ()})) == fingerprint(facts()), "an optional role that is not given"


def test_order_of_inputs_decides() -> None:
    one, two = InputFact(node="a", digest="1"), InputFact(node="b", digest="2")
    assert fingerprint(facts(inputs={"r": (one, two)})) != fingerprint(facts(inputs={"r": (two, one)}))


def test_a_file_counts_by_content_wherever_it_lies(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text("equal")
    found = [knob_facts(Toy(constitution=tmp_path / name)) for name in ("one", "two")]
    assert found[0] == found[1]
    assert found[0][1].keys() == {"constitution"}
    (tmp_path / "two").write_text("other")
    assert knob_facts(Toy(constitution=tmp_path / "two"))[1] != found[0][1]


def test_files_in_variants_and_lists_count_too(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("f")
    knobs, files = knob_facts(Toy(loss=Ruled(rules=tmp_path / "f"), sets=(tmp_path / "f", tmp_path / "f")))
    assert files.keys() == {"loss.rules", "sets.0", "sets.1"}
    assert str(tmp_path) not in canonical(knobs).decode()


def test_a_name_in_a_file_is_a_knob(tmp_path: Path) -> None:
    """`file.py:name`: the same file, another name, another fingerprint."""
    (tmp_path / "rewards.py").write_text("def short(): ...\ndef long(): ...\n")
    short, long = (knob_facts(Toy(constitution=tmp_path / f"rewards.py:{name}")) for name in ("short", "long"))
    assert short[1] == long[1]
    assert (short[0]["constitution"], long[0]["constitution"]) == ("short", "long")


def test_a_folder_as_a_file_counts_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").write_text("a")
    before = knob_facts(Toy(constitution=tmp_path / "set"))
    (tmp_path / "set" / "b").write_text("b")
    assert knob_facts(Toy(constitution=tmp_path / "set")) != before


def test_a_missing_file_names_its_knob(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"sets\.0: there is no file"):
        knob_facts(Toy(sets=(tmp_path / "nowhere",)))


def test_only_the_chosen_variant_enters() -> None:
    knobs, _ = knob_facts(Toy())
    assert knobs["loss"] == {"type": "plain", "beta": 0.1}


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [
        ({}, {}, ()),
        ({"knobs": {"k": 8}}, {"knobs": {"k": 4}}, ("knob k: 8 → 4",)),
        ({"knobs": {"a": {"b": 1}}}, {"knobs": {"a": {"b": 2}}}, ("knob a.b: 1 → 2",)),
        (
            {"knobs": {"loss": {"type": "mgpo", "l": 4}}},
            {"knobs": {"loss": {"type": "grpo"}}},
            ("knob loss: mgpo → grpo",),
        ),
        ({"knobs": {}}, {"knobs": {"new": 1}}, ("knob new: nothing → 1",)),
        ({"knobs": {"names": ["a"]}}, {"knobs": {"names": ["a", "b"]}}, ('knob names: ["a"] → ["a", "b"]',)),
        ({"version": 1}, {"version": 2}, ("kind version 1 → 2",)),
        ({"kind": "sft"}, {"kind": "rl"}, ("kind sft → rl",)),
        ({"seed": 1}, {"seed": 2}, ("seed",)),
        ({"files": {"constitution": "1"}}, {"files": {"constitution": "2"}}, ("file constitution changed",)),
        (
            {"inputs": {"data": given_by("a", "b")}},
            {"inputs": {"data": (*given_by("a"), *given_by("b", digest="e"))}},
            ("input data changed (b)",),
        ),
        ({"inputs": {"data": given_by("a")}}, {"inputs": {"data": given_by("b")}}, ("input data: - a, + b",)),
    ],
)
def test_reasons_name_the_facts(old: dict[str, Any], new: dict[str, Any], reasons: tuple[str, ...]) -> None:
    """S-A7: the reason is printed (`k 8 → 4`)."""
    assert differences(facts(**old), facts(**new)) == reasons


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), JSON), st.dictionaries(st.text(), JSON))
def test_equal_fingerprints_are_equal_facts(one: dict[str, Any], two: dict[str, Any]) -> None:
    """Facts survive a round trip through the manifest, and differ where their reasons say so."""
    first, second = facts(knobs=one), facts(knobs=two)
    read = Facts.model_validate_json(first.model_dump_json())
    assert fingerprint(read) == fingerprint(first)
    assert (fingerprint(first) == fingerprint(second)) == (canonical(one) == canonical(two))
    if fingerprint(first) != fingerprint(second) and one != two:
        assert differences(first, second)
