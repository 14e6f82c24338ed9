import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_chat import letters

from posttrain.data import chat
from posttrain.data.chat import DEFAULT_PROMPTING, Turn
from posttrain.data.pack import Batch, Example, display, micro_batches

WINDOW = 12


@st.composite
def example_lists(draw) -> list[Example]:
    made = []
    for n in range(draw(st.integers(1, 20))):
        length = draw(st.integers(1, WINDOW))
        mask = tuple(draw(st.lists(st.booleans(), min_size=length, max_size=length)))
        made.append(Example(tuple(range(1 + 100 * n, 1 + 100 * n + length)), mask, str(n)))
    return made


def documents(batch: Batch) -> list[tuple[tuple[int, ...], tuple[bool, ...]]]:
    """Every document of a packed batch, read back by segments alone."""
    assert batch.segments is not None
    assert batch.positions is not None
    found = []
    for ids, targets, segments, positions in zip(
        batch.ids, batch.targets, batch.segments, batch.positions, strict=True
    ):
        for number in range(1, int(segments.max()) + 1):
            own = segments == number
            assert positions[own].tolist() == list(range(int(own.sum())))
            found.append((tuple(ids[own].tolist()), tuple(targets[own].tolist())))
        assert not targets[segments == 0].any()
    return found


@given(example_lists(), st.integers(1, 60))
def test_packing_keeps_every_document_whole(examples: list[Example], max_tokens: int) -> None:
    """S-C2: each document once, in one row, its first token no target, padding without target."""
    batches = micro_batches(examples, max_tokens=max_tokens, packing=True, window=WINDOW)
    found = sorted(pair for batch in batches for pair in documents(batch))
    assert found == sorted((e.ids, (False, *e.mask[1:])) for e in examples)
    for batch in batches:
        assert batch.ids.shape[1] <= WINDOW
        assert batch.ids.numel() <= max(max_tokens, WINDOW)


@given(example_lists(), st.integers(1, 60))
def test_unpacked_rows_keep_every_example_within_the_budget(examples: list[Example], max_tokens: int) -> None:
    batches = micro_batches(examples, max_tokens=max_tokens, packing=False, window=WINDOW)
    rows = [row for batch in batches for row in zip(batch.ids.tolist(), batch.targets.tolist(), strict=True)]
    assert len(rows) == len(examples)
    by_start = {e.ids[0]: e for e in examples}
    for ids, targets in rows:
        own = by_start[ids[0]]
        assert tuple(ids[: len(own.ids)]) == own.ids
        assert targets == [False, *own.mask[1:]] + [False] * (len(ids) - len(own.ids))
    for batch in batches:
        assert batch.segments is None
        assert batch.ids.shape[0] == 1 or batch.ids.numel() <= max_tokens


def test_packing_and_padding_train_the_same_tokens() -> None:
    examples = [Example(tuple(range(1, n + 2)), (False,) + (True,) * n) for n in range(1, 9)]
    counts = {
        packing: sum(b.target_count for b in micro_batches(examples, max_tokens=24, packing=packing, window=WINDOW))
        for packing in (True, False)
    }
    assert counts == {True: 36, False: 36}


def test_an_example_over_the_window_is_the_callers_mistake() -> None:
    """Rows over the window are dropped and counted before, never cut here."""
    with pytest.raises(ValueError, match="window 12"):
        micro_batches([Example((1,) * 13, (True,) * 13, "long")], max_tokens=99, packing=True, window=WINDOW)


@pytest.mark.parametrize("packing", [True, False])
def test_a_batch_is_shown_with_its_mask(packing: bool) -> None:
    """Spectrum §6: one decoded batch with its mask is shown at start."""
    tokenizer = letters()
    examples = chat.examples(tokenizer, [Turn("1+1=?", "2"), Turn("2+2=?", "44")], DEFAULT_PROMPTING)
    (batch,) = micro_batches(examples, max_tokens=64, packing=packing, window=32)
    squeezed = display(batch, tokenizer).replace(" ", "")
    assert squeezed == "1+1=?\\n«2<eos>»\n2+2=?\\n«44<eos>»"


def test_a_batch_moves_as_one() -> None:
    (batch,) = micro_batches([Example((1, 2), (False, True))], max_tokens=8, packing=True, window=4)
    assert torch.equal(batch.to("cpu").ids, batch.ids)
    assert batch.to("meta").targets.is_meta
