"""What can be said of a text by counting: words, sentences, repetition, form. Scores lie between 0 and 1."""

import re
from collections import Counter
from collections.abc import Sequence

from posttrain.graders.answers import BOX, boxed
from posttrain.graders.language import language

ABBREVIATIONS = frozenset(
    re.findall(
        r"[\w.]+",
        """mr mrs ms dr prof sr jr st rev hon capt col gen lt sgt vs etc inc ltd co corp no vol fig eq al approx dept
        est jan feb mar apr jun jul aug sep sept oct nov dec e.g i.e a.m p.m u.s u.k ph.d""",
    )
)
"""Words that keep their stop inside a sentence, in lower case and without it."""


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores."""
    return re.findall(r"\w+", text)


def capital_words(text: str) -> list[str]:
    """Words all in capitals, one-letter words included; `TO-DO`, `DON'T` and `U.S.` are one word each."""
    return [word for word in _WORD.findall(text) if word.isupper()]


def sentences(text: str) -> list[str]:
    """Sentences: each ends at `. ! ?` before a space, unless an abbreviation or an initial holds the stop."""
    found, start = list[str](), 0
    for end in _END.finditer(text):
        piece = text[start : end.end()].strip()
        if end["mark"] == "." and _goes_on(piece, text[end.end() :].lstrip()[:1]):
            continue
        found.append(piece)
        start = end.end()
    return [*found, rest] if (rest := text[start:].strip()) else found


def _goes_on(piece: str, following: str) -> bool:
    last = piece.removesuffix(".").rpartition(" ")[2].strip("(\"'[").casefold()
    if following.islower():
        return True
    return (last in ABBREVIATIONS and following != "") or (len(last) == 1 and last.isalpha() and last not in "ia")


def repetition(text: str, *, n: int = 4) -> float:
    """Share of a text's n-grams of words that occurred before in it: 0 where none is said twice."""
    said = words(text.casefold())
    grams = [tuple(said[at : at + n]) for at in range(len(said) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def loop(text: str, *, longest: int = 80) -> float:
    """Share of a text taken by one piece that is repeated without pause to its end; 0 where it ends otherwise.

    A piece is up to `longest` characters and stands at least three times; trailing space does not count.
    """
    bare = text.rstrip()
    best = 0
    for size in range(1, min(longest, len(bare) // 3) + 1):
        piece, at = bare[-size:], len(bare)
        while at >= size and bare[at - size : at] == piece:
            at -= size
        if (len(bare) - at) // size >= 3:
            best = max(best, len(bare) - at)
    return best / len(bare) if bare else 0.0


def varied(text: str, *, n: int = 4) -> float:
    """1 for a text that repeats nothing, 0 for one that says one thing over and over."""
    return 1 - max(repetition(text, n=n), loop(text))


def boxed_once(text: str) -> float:
    r"""1 where the text holds one `\boxed{…}`, closed and not empty, with nothing but punctuation behind it."""
    if text.count(BOX) != 1 or not boxed(text):
        return 0.0
    return float(not re.search(r"\w", text[text.rfind("}") :]))


def tagged(text: str, *, tags: Sequence[str] = ("think", "answer")) -> float:
    """1 where the text is `<tag>…</tag>` for each tag once, in this order, with nothing outside."""
    form = r"\s*".join(rf"<{re.escape(tag)}>(?:(?!</?(?:{_any(tags)})>).)*</{re.escape(tag)}>" for tag in tags)
    return float(bool(re.fullmatch(rf"\s*{form}\s*", text, re.DOTALL)))


def spoken(text: str, *, code: str = "en") -> float:
    """1 where the text is in a language; 0 where it is in another, or in none that can be told."""
    return float(language(text) == code)


def within(text: str, *, least: int = 0, most: int = 1 << 30) -> float:
    """1 where a text has so many words, else the share by which it comes near: half the words wanted are 0.5."""
    count = len(words(text))
    if count < least:
        return count / least
    return 1.0 if count <= most else most / count


def most_common_share(text: str) -> float:
    """Share of the most frequent word among all words; 0 for a text without words."""
    said = Counter(words(text.casefold()))
    return max(said.values()) / said.total() if said else 0.0


def _any(tags: Sequence[str]) -> str:
    return "|".join(map(re.escape, tags))


_WORD = re.compile(r"[^\W_]+(?:[-.'\u2019&][^\W_]+)*")
_END = re.compile(r"(?P<mark>[.!?])+[\"'\u201d\u2019)\]*_]*(?=\s|$)")
