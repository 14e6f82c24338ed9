"""Finding the program in a response, and what must stand before it to run."""

import re

LONGEST = 2_000_000
"""Characters of a program that is run; a longer one is unparsable."""
_OURS = {"", "py", "python", "python3", "py3", "ipython", "sage"}
"""Languages, as fences name them, that a program may stand under."""
_OPENING = re.compile(r"\s*(`{3,}|~{3,})\s*([^\s`]*)(.*)")
_LINE_END = re.compile(r"\r\n|\r|\n")
"""As Python ends its lines; other marks may stand in a program's texts."""
_IMPORTS = re.compile(r"^[ \t]*(?:import|from)[ \t]+([^#\n]*)", re.MULTILINE)
_CODE = re.compile(r"^(?:def|class|import|from|print|for|while|if|try|with|@|[A-Za-z_][\w, ]*=)", re.MULTILINE)
_INDENTED = re.compile(r"^(?: {2,}|\t)\S", re.MULTILINE)


def program(text: str, entry: str = "", *, completes: bool = False) -> str | None:
    """The program in a response: the last fenced block that defines `entry`, else the last one, else bare code.

    A fence may be of backticks or tildes, of any length, indented, on one line, or never closed. Blocks of another
    language count only where there is no other. `completes`: the response may go on in the middle of a function. None
    where there is no program.
    """
    blocks = _blocks(text)
    ours = [body for language, body in blocks if language in _OURS] or [body for _, body in blocks]
    if not ours:
        return text if _CODE.search(text) or (completes and _INDENTED.search(text)) else None
    return next((body for body in reversed(ours) if entry and defines(body, entry)), ours[-1])


def defines(source: str, entry: str) -> bool:
    """Whether a program's text defines a function or a class of that name."""
    return re.search(rf"^[ \t]*(?:def|class|async def)\s+{re.escape(entry)}\b", source, re.MULTILINE) is not None


def completed(source: str, prefix: str, entry: str) -> str:
    """A program with what it takes for granted before it.

    One that defines `entry` has the imports and helpers of the prefix; one that does not goes on where the prefix ends.
    """
    if not prefix or not defines(source, entry):
        return prefix + source
    at = re.search(rf"^(?:async )?def\s+{re.escape(entry)}\b", prefix, re.MULTILINE)
    ahead = prefix[: at.start()] if at else ""
    return source if "__future__" in source else ahead + source


def tier(source: str) -> str:
    """Which modules a program finds loaded, by what it imports."""
    words = {word for line in _IMPORTS.findall(source) for word in re.findall(r"\w+", line)}
    return "sympy" if words & {"sympy", "mpmath"} else "numpy" if "numpy" in words else "lean"


def _blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of every fenced block, in order."""
    blocks: list[tuple[str, str]] = []
    lines = iter(_LINE_END.split(text))
    for line in lines:
        opening = _OPENING.fullmatch(line)
        if opening is None:
            continue
        fence, language, rest = opening.groups()
        if rest.rstrip().endswith(fence):  # ```python print(1)```
            blocks.append((language.lower(), rest.rstrip().removesuffix(fence).strip() + "\n"))
            continue
        indent = len(line) - len(line.lstrip())
        body: list[str] = []
        for inner in lines:
            if inner.strip() and not inner.strip().strip(fence[0]) and len(inner.strip()) >= len(fence):
                break
            body.append(inner[indent:] if not inner[:indent].strip() else inner)
        blocks.append((language.lower(), "\n".join(body) + "\n"))
    return blocks


def bare(source: str) -> str:
    """A program without the comments before it and the lines after it, which change nothing that it does."""
    return _BEFORE.sub("", source, count=1).rstrip("\n")


_BEFORE = re.compile(r"\A(?:[ \t]*(?:#[^\r\n]*)?\n)*")
