"""What a fine-tune reads: solutions as turns, replay, the rows that fit, and proof of the first batch's masks."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from posttrain.data.chat import Prompting, Turn, examples, prompt_text
from posttrain.data.pack import Batch, Example
from posttrain.data.records import Problem
from posttrain.models.load import Loaded
from posttrain.spec.errors import Mismatch

FIXED = 128
"""Training rows whose loss is taken before and after training."""


@dataclass(frozen=True)
class Material:
    """What a fine-tune reads, tokenised."""

    train: tuple[Example, ...]
    fixed: tuple[Example, ...]
    """Training rows whose loss is taken before and after."""
    val: tuple[Example, ...]
    """Held-out rows; may be empty."""
    own: int
    """Rows of the data, those too long included."""
    replayed: int
    """Rows mixed in, those too long included."""

    @property
    def given(self) -> int:
        """Rows before any was dropped."""
        return self.own + self.replayed


@dataclass(frozen=True)
class Asked:
    """How a model is asked: its tokenizer and its prompting."""

    tokenizer: Any
    prompting: Prompting

    def examples(self, turns: Sequence[Turn]) -> list[Example]:
        """Turns as token ids with their targets."""
        return examples(self.tokenizer, turns, self.prompting)

    def prompt(self, turn: Turn) -> str:
        """The text before the response."""
        return prompt_text(turn.prompt, turn.answer_type, self.prompting, self.tokenizer)


def asked(loaded: Loaded) -> Asked:
    """How the model of a folder is asked."""
    return Asked(loaded.tokenizer, Prompting(**loaded.prompting))


def tokenised(
    own: Sequence[Turn], replay: Sequence[Turn], val: Sequence[Turn], *, asked: Asked, window: int, seed: int
) -> Material:
    """Turns as examples; rows longer than `window` are left out, never cut.

    Mismatch with the lengths of the rows where none is left.
    """
    rows = asked.examples([*own, *replay])
    train = tuple(row for row in rows if len(row.ids) <= window)
    if not train:
        lengths = histogram(len(row.ids) for row in rows)
        raise Mismatch(
            f"no training row is left: of {len(rows)} none has at most {window} tokens" if rows else "there is no row",
            where="max_seq_length" if rows else "data",
            remedy=f"Lengths in tokens: {lengths}." if rows else "Look at domain, verified_only and the data.",
        )
    held = tuple(row for row in asked.examples(val) if len(row.ids) <= window)
    return Material(train, tuple(some(train, FIXED, seed=seed)), held, len(own), len(replay))


def turns(problems: Iterable[Problem], *, verified_only: bool = True) -> list[Turn]:
    """A turn per solution, in order; an unverified solution only where asked for."""
    return [
        Turn(problem.prompt, solution.text, problem.answer_type, f"{problem.id}/{number}")
        for problem in problems
        for number, solution in enumerate(problem.solutions)
        if solution.verified or not verified_only
    ]


def again(problems: Sequence[Problem], *, seed: int) -> Iterator[Problem]:
    """The problems without end, in another order each time round; nothing where there are none."""
    for time in count() if problems else ():
        for index in np.random.default_rng([seed, time]).permutation(len(problems)).tolist():
            yield problems[index]


def one_each(problems: Iterable[Problem], *, seed: int) -> Iterator[Turn]:
    """One solution of each problem that has any, drawn evenly: styles come mixed."""
    draw = np.random.default_rng([seed, 1])
    for problem in problems:
        found = turns([problem])
        if found:
            yield found[int(draw.integers(len(found)))]


def replayed(own: Sequence[Turn], others: Sequence[Turn], share: float, *, seed: int) -> list[Turn]:
    """`share` rows of `others` per row of `own`, drawn without replacement; rows of `own` are not drawn.

    Fewer than asked for where there are no more.
    """
    held = {turn.key for turn in own}
    free = [turn for turn in others if turn.key not in held]
    wanted = min(round(share * len(own)), len(free))
    chosen = np.random.default_rng([seed, len(free)]).permutation(len(free))[:wanted]
    return [free[i] for i in sorted(chosen.tolist())]


def some(examples: Sequence[Example], count: int, *, seed: int) -> list[Example]:
    """At most `count` of the examples, drawn without replacement, in their order."""
    chosen = np.random.default_rng([seed, count]).permutation(len(examples))[:count]
    return [examples[i] for i in sorted(chosen.tolist())]


def histogram(lengths: Iterable[int]) -> str:
    """Lengths in tokens, counted by powers of two: `≤64: 3, ≤128: 10`."""
    bins = Counter(1 << max(0, length - 1).bit_length() for length in lengths)
    return ", ".join(f"≤{top}: {bins[top]}" for top in sorted(bins))


def bad_masks(batches: Iterable[Batch], turns: Iterable[Turn], asked: Asked) -> int:
    """How many documents of `batches` are not a turn with exactly its response and an end token as targets.

    Reads the tensors back as text, apart from the code that made them: what carries a label must be the text of a
    response and the end token, what carries none the text of its prompt. Spaces are not compared.
    """
    tokenizer = asked.tokenizer
    expected = {(_bare(asked.prompt(turn)), _bare(turn.response)) for turn in turns}
    bad = 0
    for batch in batches:
        for ids, targets in _documents(batch):
            trained = [token for token, target in zip(ids, targets, strict=True) if target]
            before = [token for token, target in zip(ids, targets, strict=True) if not target]
            whole = trained[-1:] == [tokenizer.eos_token_id] and targets == sorted(targets)
            pair = (_text(tokenizer, before), _text(tokenizer, trained[:-1]))
            bad += not (whole and pair in expected)
    return bad


def _documents(batch: Batch) -> Iterable[tuple[list[int], list[bool]]]:
    """Ids and target marks of every document; a target on padding stands as a document of its own."""
    for row in range(batch.ids.shape[0]):
        ids, targets = batch.ids[row].tolist(), batch.targets[row].tolist()
        if batch.segments is None:
            end = max((t + 1 for t, target in enumerate(targets) if target), default=0)
            yield ids[:end], targets[:end]
            continue
        segments = batch.segments[row].tolist()
        for number in sorted(set(segments)):
            at = [t for t, segment in enumerate(segments) if segment == number]
            if number or any(targets[t] for t in at):
                yield [ids[t] for t in at], [targets[t] for t in at]


def _text(tokenizer: Any, ids: list[int]) -> str:
    start = tokenizer.bos_token_id
    kept = ids[1:] if ids and ids[0] == start else ids
    return _bare(tokenizer.decode(kept, skip_special_tokens=False))


def _bare(text: str) -> str:
    return "".join(text.split())
