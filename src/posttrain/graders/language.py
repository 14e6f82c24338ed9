"""Which language a text is in: by its script, then by common words and letters. No model, no chance, no download."""

import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LEAST = 0.02
"""Share of a text's words that must speak for a language before it is told."""

OWN_LETTER = 0.5
"""What a word counts that holds a letter of one language alone, beside a common word's 1."""


@dataclass(frozen=True)
class _Lexicon:
    words: frozenset[str]
    letters: frozenset[str]


def language(text: str) -> str | None:
    """The ISO 639-1 code of a text's language; None where it has no letters or speaks for none that we know."""
    script = _script(text)
    if script is None or script not in _lexicons():
        return script
    words = re.findall(
        r"[^\W\d_]+(?:[\u0300-\u036f\u0900-\u0903\u093a-\u094f\u0962-\u0963'][^\W\d_]*)*", text.casefold()
    )
    known = _lexicons()[script]
    scores = {code: sum(_speaks(word, lexicon) for word in words) for code, lexicon in known.items()}
    best = max(scores, key=lambda code: scores[code])
    return best if words and scores[best] >= LEAST * len(words) and scores[best] > 0 else None


def languages() -> frozenset[str]:
    """All codes that can be told."""
    return frozenset(name for name in _ranges() if name not in _lexicons()) | {
        c for s in _lexicons().values() for c in s
    }


def _speaks(word: str, lexicon: _Lexicon) -> float:
    return 1.0 if word in lexicon.words else OWN_LETTER if lexicon.letters & set(word) else 0.0


def _script(text: str) -> str | None:
    """The script of most letters; Japanese where kana stand among Chinese characters."""
    counts = Counter(name for name, pattern in _ranges().items() for _ in pattern.finditer(text))
    if not counts:
        return None
    if counts["ja"] and counts["ja"] + counts["zh"] >= max(counts.values()) and counts["ja"] * 5 > counts["zh"]:
        return "ja"
    return max(counts, key=lambda name: counts[name])


@cache
def _tables() -> dict[str, dict[str, object]]:
    return tomllib.loads(Path(__file__).with_name("languages.toml").read_text(encoding="utf-8"))


@cache
def _ranges() -> dict[str, re.Pattern[str]]:
    scripts: dict[str, list[str]] = _tables()["script"]  # pyright: ignore[reportAssignmentType]
    spans = {name: [r.split("-") for r in ranges] for name, ranges in scripts.items()}
    return {
        name: re.compile("[" + "".join(f"{chr(int(a, 16))}-{chr(int(b, 16))}" for a, b in ends) + "]")
        for name, ends in spans.items()
    }


@cache
def _lexicons() -> dict[str, dict[str, _Lexicon]]:
    return {
        script: {
            code: _Lexicon(frozenset(entry["words"].split()), frozenset(entry["letters"]))  # pyright: ignore[reportIndexIssue]
            for code, entry in languages.items()
        }
        for script, languages in _tables().items()
        if script != "script"
    }
