"""What can be asked of a text and checked by a program: the kinds of IFEval, and our own.

IFEval: Zhou et al. 2023, 2311.07911. Arguments are literal texts, never patterns. Where a kind needs sentences, capital
words or a language, our own deterministic code counts (`graders.text`, `graders.language`).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posttrain.graders.language import language
from posttrain.graders.text import capital_words, sentences, words

Check = Callable[..., bool]
"""Whether a text, not blank, follows; arguments by name."""


@dataclass(frozen=True)
class Kind:
    """One thing that can be asked."""

    check: Check
    arguments: Mapping[str, type | tuple[type, ...]]
    """Names and types; all are required."""


def _counted(count: int, relation: str, wanted: int) -> bool:
    """`at least` or `less than`: the two relations of IFEval."""
    return count >= wanted if relation == "at least" else count < wanted


def _existence(text: str, *, keywords: Sequence[str]) -> bool:
    return all(word.casefold() in text.casefold() for word in keywords)


def _forbidden(text: str, *, forbidden_words: Sequence[str]) -> bool:
    return not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in forbidden_words)


def _frequency(text: str, *, keyword: str, frequency: int, relation: str) -> bool:
    return _counted(len(re.findall(re.escape(keyword), text, re.IGNORECASE)), relation, frequency)


def _letters(text: str, *, letter: str, let_frequency: int, let_relation: str) -> bool:
    return _counted(text.lower().count(letter.lower()), let_relation, let_frequency)


def _language(text: str, *, language: str) -> bool:
    return _told(text) == language


def _sentences(text: str, *, num_sentences: int, relation: str) -> bool:
    return _counted(len(sentences(text)), relation, num_sentences)


def _words(text: str, *, num_words: int, relation: str) -> bool:
    return _counted(len(words(text)), relation, num_words)


def _paragraphs(text: str, *, num_paragraphs: int) -> bool:
    """Pieces between `***`; the first and the last may be empty and then do not count, one between may not."""
    pieces = [piece.strip() for piece in re.split(r"\s?\*\*\*\s?", text)]
    ends = {0, len(pieces) - 1}
    if any(not piece for at, piece in enumerate(pieces) if at not in ends):
        return False
    return sum(bool(piece) for piece in pieces) == num_paragraphs


def _first_word(text: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Pieces between blank lines that are not blank count; the n-th of all, not blank, opens with the word."""
    pieces = text.split("\n\n")
    count = sum(bool(piece.strip()) for piece in pieces)
    if nth_paragraph > count or not pieces[nth_paragraph - 1].strip():
        return False
    opening = pieces[nth_paragraph - 1].split()[0].lstrip("'").lstrip('"')
    return count == num_paragraphs and re.split(r"[.,?!'\"]", opening)[0].lower() == first_word.lower()


def _placeholders(text: str, *, num_placeholders: int) -> bool:
    return len(re.findall(r"\[.*?\]", text)) >= num_placeholders


def _postscript(text: str, *, postscript_marker: str) -> bool:
    spaced = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}
    return bool(re.search(spaced.get(postscript_marker) or re.escape(postscript_marker.lower()), text.lower()))


def _bullets(text: str, *, num_bullets: int) -> bool:
    """Lines that open with `-`, or with `*` and then no second one."""
    return len(re.findall(r"^\s*(?:\*[^*]|-)", text, re.MULTILINE)) == num_bullets


def _highlights(text: str, *, num_highlights: int) -> bool:
    """`*…*` and `**…**` within a line, not empty; the second kind holds the marks of the first around nothing."""
    single = [part for part in re.findall(r"\*[^\n*]*\*", text) if part.strip("*").strip()]
    double = [part for part in re.findall(r"\*\*[^\n*]*\*\*", text) if part[2:-2].strip()]
    return len(single) + len(double) >= num_highlights


def _sections(text: str, *, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"{re.escape(section_spliter)}\s?\d+", text)) >= num_sections


def _title(text: str) -> bool:
    return any(part.lstrip("<").rstrip(">").strip() for part in re.findall(r"<<[^\n]+>>", text))


def _json(text: str) -> bool:
    bare = text.strip()
    fence = next((mark for mark in ("```json", "```Json", "```JSON", "```") if bare.startswith(mark)), "")
    try:
        json.loads(bare.removeprefix(fence).removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _constrained(text: str) -> bool:
    return any(f"My answer is {word}." in text for word in ("yes", "no", "maybe"))


def _two_responses(text: str) -> bool:
    pieces = [piece.strip() for piece in text.split("******")]
    inner = pieces[1:-1]
    said = [piece for piece in pieces if piece]
    return all(inner) and len(said) == 2 and said[0] != said[1]


def _repeat(text: str, *, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def _end(text: str, *, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _quotation(text: str) -> bool:
    bare = text.strip()
    return len(bare) > 1 and bare[0] == bare[-1] == '"'


def _capitals(text: str, *, capital_frequency: int, capital_relation: str) -> bool:
    return _counted(len(capital_words(text)), capital_relation, capital_frequency)


def _upper(text: str) -> bool:
    return text.isupper() and _told(text) == "en"


def _lower(text: str) -> bool:
    return text.islower() and _told(text) == "en"


def _no_comma(text: str) -> bool:
    return "," not in text


def _characters(text: str, *, num_characters: int, relation: str) -> bool:
    return _counted(len(text.strip()), relation, num_characters)


def _lines(text: str, *, num_lines: int) -> bool:
    return sum(bool(line.strip()) for line in text.splitlines()) == num_lines


def _start(text: str, *, start_phrase: str) -> bool:
    return text.strip().lower().startswith(start_phrase.strip().lower())


def _order(text: str, *, keywords: Sequence[str]) -> bool:
    """Every keyword after the one before it, in any case."""
    at, folded = 0, text.casefold()
    for word in keywords:
        found = folded.find(word.casefold(), at)
        if found < 0:
            return False
        at = found + len(word)
    return True


def _numbered(text: str, *, num_items: int) -> bool:
    """Lines that open with 1. 2. 3. and so on to the number, in order."""
    found = [int(digits) for digits in re.findall(r"^\s*(\d{1,4})[.)] ", text, re.MULTILINE)]
    return found == list(range(1, num_items + 1))


_told = language

_RELATION: Mapping[str, Any] = {"relation": str}
KINDS: Mapping[str, Kind] = {
    "keywords:existence": Kind(_existence, {"keywords": list}),
    "keywords:forbidden_words": Kind(_forbidden, {"forbidden_words": list}),
    "keywords:frequency": Kind(_frequency, {"keyword": str, "frequency": int, **_RELATION}),
    "keywords:letter_frequency": Kind(_letters, {"letter": str, "let_frequency": int, "let_relation": str}),
    "language:response_language": Kind(_language, {"language": str}),
    "length_constraints:number_sentences": Kind(_sentences, {"num_sentences": int, **_RELATION}),
    "length_constraints:number_words": Kind(_words, {"num_words": int, **_RELATION}),
    "length_constraints:number_paragraphs": Kind(_paragraphs, {"num_paragraphs": int}),
    "length_constraints:nth_paragraph_first_word": Kind(
        _first_word, {"num_paragraphs": int, "nth_paragraph": int, "first_word": str}
    ),
    "detectable_content:number_placeholders": Kind(_placeholders, {"num_placeholders": int}),
    "detectable_content:postscript": Kind(_postscript, {"postscript_marker": str}),
    "detectable_format:number_bullet_lists": Kind(_bullets, {"num_bullets": int}),
    "detectable_format:number_highlighted_sections": Kind(_highlights, {"num_highlights": int}),
    "detectable_format:multiple_sections": Kind(_sections, {"section_spliter": str, "num_sections": int}),
    "detectable_format:title": Kind(_title, {}),
    "detectable_format:json_format": Kind(_json, {}),
    "detectable_format:constrained_response": Kind(_constrained, {}),
    "combination:two_responses": Kind(_two_responses, {}),
    "combination:repeat_prompt": Kind(_repeat, {"prompt_to_repeat": str}),
    "startend:end_checker": Kind(_end, {"end_phrase": str}),
    "startend:quotation": Kind(_quotation, {}),
    "change_case:capital_word_frequency": Kind(_capitals, {"capital_frequency": int, "capital_relation": str}),
    "change_case:english_capital": Kind(_upper, {}),
    "change_case:english_lowercase": Kind(_lower, {}),
    "punctuation:no_comma": Kind(_no_comma, {}),
    "own:number_characters": Kind(_characters, {"num_characters": int, **_RELATION}),
    "own:number_lines": Kind(_lines, {"num_lines": int}),
    "own:start_phrase": Kind(_start, {"start_phrase": str}),
    "own:keywords_in_order": Kind(_order, {"keywords": list}),
    "own:numbered_list": Kind(_numbered, {"num_items": int}),
}
"""Every kind by its name; those of IFEval keep the names and arguments that its prompts use."""
