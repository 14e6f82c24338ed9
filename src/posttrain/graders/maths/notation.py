r"""One spelling for many: text wrappers, bare braces, Unicode signs, names before `=`; never a change of value."""

import re

from posttrain.graders.maths.exact import braced, spaced

LONGEST = 1000
"""Characters of an answer that is read as more than plain text."""


def plain(text: str) -> str:
    r"""The answer in one spelling: `\text{…}` unwrapped, Unicode signs as LaTeX, `\frac12` braced, single spaces."""
    text = _DELIMITED.sub("", text).replace("\\\\", _NEW_ROW)
    for written, meant in _SIGNS:
        text = text.replace(written, meant)
    text = _SUPERSCRIPT.sub(lambda m: f"^{{{m[0].translate(_DIGITS)}}}", text)
    for _ in range(3):
        text, changed = _WRAPPED.subn(r"\1", text)
        if not changed:
            break
    text = braced(" ".join(spaced(text).split()))
    text = _COMMANDS.sub(lambda m: _RENAMED[m[0]], text).strip("~ ").removesuffix(".").strip()
    return text.replace(_NEW_ROW, "\\\\")


def unnamed(text: str) -> tuple[str, str]:
    """A name and what it equals, for `x = 5`, `f(2) = 5` or `P(A) = 1/2`; the name is empty where there is none.

    A name opens with a letter: what is left of `2x = 10` is an equation, not a name.
    """
    turned = _TURNED.fullmatch(text)
    if turned:
        return turned["name"], turned["value"].strip()
    match = _NAME.match(text)
    name = match["name"].strip() if match else ""
    return (name, text[match.end() :].strip()) if match and name else ("", text)


def words(text: str) -> str | None:
    """An answer in words, in lower case with single spaces; None where it holds anything that is not a word.

    One letter alone keeps its case: the variable x is not X.
    """
    bare = re.sub(r"[^\w\s'-]", " ", text) if re.fullmatch(r"\(?[A-Za-z]\)?", text) else text
    parts = bare.split()
    if not parts or not all(re.fullmatch(r"[^\W\d_](?:[^\W\d_]|['-])*", part) for part in parts):
        return None
    if len(parts) == 1 and len(parts[0]) == 1:
        return parts[0]
    spoken = text.strip().casefold() == "no" or any(
        len(part) > 2 and set(part.casefold()) & set("aeiouy") for part in parts
    )
    return " ".join(parts).casefold() if spoken else None


def apart(gold: str, given: str) -> tuple[str, str]:
    """Both texts with a capital letter spelt otherwise where its small one occurs too: R² r is not R r².

    A constant of integration is one in either case.
    """
    letters = set("".join(_COMMAND.sub(" ", gold + " " + given)))
    both = {upper for upper in letters if upper.isupper() and upper.lower() in letters}
    if all(_CONSTANT.search(text) for text in (gold, given)):
        both -= {"C"}
    if not both:
        return gold, given
    pattern = re.compile(r"\\[A-Za-z]+|[" + "".join(sorted(both)) + "]")
    return tuple(pattern.sub(lambda m: m[0] if m[0][0] == "\\" else f"{m[0].lower()}_{{77}}", t) for t in (gold, given))  # pyright: ignore[reportReturnType]


_SIGNS = (
    ("\N{MULTIPLICATION SIGN}", "\\times "),
    ("\N{DIVISION SIGN}", "/"),
    ("\N{GREEK SMALL LETTER PI}", "\\pi "),
    ("\N{INFINITY}", "\\infty "),
    ("\N{LESS-THAN OR EQUAL TO}", "\\leq "),
    ("\N{GREATER-THAN OR EQUAL TO}", "\\geq "),
    ("\N{UNION}", "\\cup "),
    ("\N{PLUS-MINUS SIGN}", "\\pm "),
    ("\N{EMPTY SET}", "\\emptyset "),
    ("\N{EN DASH}", "-"),
    ("\\lbrace", "\\{"),
    ("\\rbrace", "\\}"),
    ("**", "^"),
)
_DELIMITED = re.compile(r"^\s*\\[(\[]|\\[)\]]\s*$")
_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")
_WRAPPED = re.compile(r"\\(?:text|textrm|textbf|textit|mathrm|mathbf|mathit|mbox|boldsymbol|mathsf)\{([^{}]*)\}")
_RENAMED = {
    "\\le": "\\leq",
    "\\ge": "\\geq",
    "\\lt": "<",
    "\\gt": ">",
    "\\varnothing": "\\emptyset",
    "\\vert": "|",
    "\\div": "/",
}
_COMMANDS = re.compile(r"\\(?:le|ge|lt|gt|varnothing|vert|div)(?![A-Za-z])")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_NEW_ROW = "\ue000"
"""Stands for a double backslash while others are read."""
_TURNED = re.compile(r"(?P<value>[^A-Za-z=<>]+)=\s*(?P<name>[A-Za-z])")
_CONSTANT = re.compile(r"\+ *[Cc]$|^[Cc] *\+")
_NAME = re.compile(
    r"\s*(?P<name>(?:\\[A-Za-z]+ *)?[A-Za-z]{0,12}'*(?:_(?:\w|\{\w{1,8}\}))?(?:\([\w, ]{1,12}\))?)\s*=(?!=)"
)
