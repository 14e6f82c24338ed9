"""Names a user typed that mean nothing here: the nearest known one, words that come later, words of older tools."""

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to what was typed, where one is close."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def suggest(name: str, known: Iterable[str], also: Iterable[str] = ()) -> str:
    """`Known: a, b.  Did you mean "a"?`; names in `also` are suggested and not listed."""
    names = list(dict.fromkeys(known))
    close = nearest(name, [*names, *also])
    question = f'  Did you mean "{close}"?' if close else ""
    return _listed(names) + question


def _listed(names: Iterable[str]) -> str:
    return f"Known: {', '.join(names) or 'none'}."


@cache
def _refused() -> Mapping[str, Mapping[str, str]]:
    text = (Path(__file__).parent / "refused.toml").read_text(encoding="utf-8")
    return cast("Mapping[str, Mapping[str, str]]", tomllib.loads(text))


def later(word: str) -> str | None:
    """The sentence for a word of the grammar that has no code yet."""
    return _refused()["later"].get(word)


def older(word: str) -> str | None:
    """The sentence for a word of an older tool."""
    return _refused()["older"].get(word)


def unknown(word: str, what: str, known: Sequence[str], also: Sequence[str] = ()) -> tuple[str, str]:
    """Cause and remedy for a key that is not known where it stands; `what` says so: `is not a knob of sft.`"""
    if sentence := later(word):
        return "comes later and is refused until then.", sentence
    if sentence := older(word):
        return what, f"{sentence}  {_listed(known)}"
    return what, suggest(word, known, also)


def shown(value: Any) -> str:
    """A value as TOML would write it, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
