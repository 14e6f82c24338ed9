"""When two texts are the same problem: normalisation, digests and shared n-grams (VibeThinker-1.5B §3.5)."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

_DROPPED = re.compile(r"\\[,;!]|\\(?:quad|left|right)(?![a-z])|\$")
"""LaTeX spacing and sizing, removed without a trace, as in the text's rendering."""
_OTHER = re.compile(r"[\W_]+")


def normalise(text: str) -> tuple[str, ...]:
    r"""The words of a text: NFKC, case folded, LaTeX spacing and sizing dropped, other non-alphanumerics to spaces.

    `What is $x\,+\,1$?` and `what is x + 1` are the same words. Signs are among what is lost.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return tuple(_OTHER.sub(" ", _DROPPED.sub("", folded)).split())


def digest(text: str) -> str:
    """sha256 of the normalised text, as 64 hexadecimal digits: equal problems have equal digests."""
    return hashlib.sha256(" ".join(normalise(text)).encode()).hexdigest()


def grams(words: tuple[str, ...], n: int) -> frozenset[tuple[str, ...]]:
    """Every run of n words; a text of fewer than n words is its own only gram."""
    if len(words) < n:
        return frozenset((words,)) if words else frozenset[tuple[str, ...]]()
    return frozenset(words[start : start + n] for start in range(len(words) - n + 1))


def gram_digest(gram: tuple[str, ...]) -> str:
    """The first 16 hexadecimal digits of an n-gram's sha256: enough to recognise it, not to read it."""
    return hashlib.sha256(" ".join(gram).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Index:
    """The n-grams of a set of evaluation problems."""

    n: int
    digests: frozenset[str]

    def shared(self, text: str) -> tuple[str, ...]:
        """The n-grams a text shares with the evaluation problems, sorted; empty where it shares none.

        An evaluation problem shorter than n words is shared by a text that equals it as a whole.
        """
        found = (gram for gram in grams(normalise(text), self.n) if gram_digest(gram) in self.digests)
        return tuple(sorted(" ".join(gram) for gram in found))


def index(problems: Iterable[str], *, n: int = 10) -> Index:
    """Index evaluation problems by their n-grams. ValueError where n is not positive."""
    if n < 1:
        raise ValueError(f"an n-gram has at least one word, not {n}")
    return Index(n, frozenset(gram_digest(gram) for problem in problems for gram in grams(normalise(problem), n)))
