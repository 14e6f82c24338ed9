r"""Finding the final answer in a response: the last `\boxed{…}`, braces nested."""

BOX = "\\boxed"


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
