r"""Finding the final answer in a response: the last `\boxed{…}`, after `####`, after "the answer is", or alone."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

BOX = "\\boxed"

HASHES = "####"
"""What stands before the final answer in GSM8K's format."""

LONGEST_BARE = 120
"""Characters of a response that is taken for an answer and nothing else."""

How = Literal["boxed", "hashes", "says", "bare"]

BOXED: tuple[How, ...] = ("boxed",)
"""The one place where our prompts ask for the answer."""

ANYWHERE: tuple[How, ...] = ("boxed", "hashes", "says", "bare")
"""All places, the surest first: for answers that were written for another prompt."""


def final(text: str, reads: Sequence[How] = BOXED) -> str | None:
    """The final answer, stripped, from the first of the places that the response uses; None where it uses none.

    A place is used when its mark is there: a box that is never closed is no answer, whatever else is said.
    """
    for how in reads:
        mark, read = _READERS[how]
        if mark(text):
            return read(text)
    return None


def boxed(text: str) -> str | None:
    r"""What the last `\boxed{…}` holds, stripped; None where there is none or it is not closed. Linear in the text."""
    start = text.rfind(BOX)
    if start < 0:
        return None
    opening = start + len(BOX)
    while opening < len(text) and text[opening].isspace():
        opening += 1
    if opening == len(text) or text[opening] != "{":
        return None
    depth, at = 0, opening
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[opening + 1 : at].strip()
        at += 1
    return None


def box(answer: str) -> str:
    r"""An answer as a response states it: `\boxed{answer}`."""
    return f"{BOX}{{{answer}}}"


def hashes(text: str) -> str:
    """What stands after the last `####`, to the end of its line."""
    return (text.rpartition(HASHES)[2].strip().splitlines() or [""])[0].strip()


def says(text: str) -> str:
    """What stands after the last "answer is" or "Answer:", to the end of the sentence; a formula in `$…$` alone."""
    rest = text[[*_SAYS.finditer(text)][-1].end() :].strip()
    line = (rest.splitlines() or [""])[0].strip("*_ ")
    formula = _FORMULA.match(line)
    if formula:
        return (formula[1] or formula[2] or formula[3]).strip()
    return _SENTENCE.split(line, maxsplit=1)[0].strip().rstrip(".*_ ")


def _alone(text: str) -> bool:
    bare = text.strip()
    return 0 < len(bare) <= LONGEST_BARE and "\n" not in bare


_SAYS = re.compile(r"(?i)\banswer(?:[*_]{0,2} is[*_]{0,2}(?: that)?:?|[*_]{0,2}:)[*_]{0,2}")
_FORMULA = re.compile(
    r"\$\$?([^$]{1,500})\$\$?(?=[\s.,;!]*$)|\\\((.{1,500}?)\\\)(?=[\s.,;!]*$)|\\\[(.{1,500}?)\\\](?=[\s.,;!]*$)"
)
_SENTENCE = re.compile(r"[.!?] +(?=[A-Z])|,? +(?:because|since|so|which|as) ")
_READERS: Mapping[How, tuple[Callable[[str], object], Callable[[str], str | None]]] = {
    "boxed": (lambda text: BOX in text, boxed),
    "hashes": (lambda text: HASHES in text, hashes),
    "says": (_SAYS.search, says),
    "bare": (_alone, str.strip),
}
