"""Values as plain data between processes: JSON with a tag for each type it lacks. Nothing is evaluated or unpickled.

null true 12 "text" [list]      as in JSON; ints of 64 bits at most
{"i": hex} {"f": hex} {"c": [hex, hex]}     a longer int, a float, a complex
{"t": […]} {"s": […]} {"z": […]} {"d": [[key, value], …]} {"b": hex} {"B": hex}
                                    tuple, set, frozenset, dict, bytes, bytearray
{"o": type's name, "h": handle}             anything else: opaque, equal to nothing
"""

import collections
import json
from collections.abc import Callable

Tree = None | bool | int | str | list["Tree"] | dict[str, "Tree"]
DEEPEST = 60
"""Levels of nesting that travel; what lies deeper is opaque."""

_write = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

Keep = Callable[[object], int]
"""Keeps an opaque value under a handle."""


def encode(value: object, keep: Keep | None = None, depth: int = 0) -> Tree:
    """The value as a tree. A subclass that compares as its base does is its base; any other is opaque."""
    kind = type(value)
    plain = _PLAIN.get(kind)
    if plain is None and kind in _KNOWN:
        kind = dict
    elif plain is None:
        kind = next((base for base in _BASES if isinstance(value, base) and _compares_as(kind, base)), object)
        plain = _PLAIN.get(kind)
    if plain is not None:
        return plain(value)
    tag = _TAGS.get(kind)
    if tag is None or depth > DEEPEST:
        scalar = _scalar(value)
        return encode(scalar) if scalar is not None else _opaque(value, keep)
    if kind is dict:
        pairs: list[Tree] = [[encode(k, keep, depth + 1), encode(v, keep, depth + 1)] for k, v in dict.items(value)]  # pyright: ignore
        return {"d": pairs}
    inner: list[Tree] = [encode(item, keep, depth + 1) for item in kind.__iter__(value)]  # pyright: ignore
    return {tag: inner} if tag else inner


def decode(tree: Tree, handle: Callable[[str, int], object]) -> object:
    """The value of a tree; `handle` makes what stands for an opaque one. ValueError, TypeError, KeyError on no tree."""
    if isinstance(tree, list):
        return [decode(item, handle) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "o" in tree:
        return handle(str(tree["o"]), int(str(tree.get("h", -1))))
    ((tag, body),) = tree.items()
    return _made(tag, body, handle)


def dumps(tree: Tree) -> bytes:
    """One line of JSON."""
    return _write(tree).encode()


def canonical(tree: Tree) -> str:
    """A text that equal trees share; for ordering what has no order."""
    return _write(tree)


def _made(tag: str, body: Tree, handle: Callable[[str, int], object]) -> object:
    if isinstance(body, str):
        return _FROM_TEXT[tag](body)
    if not isinstance(body, list):
        raise TypeError(f"no tree: {tag}")
    if tag == "c":
        return complex(*(float.fromhex(str(part)) for part in body))
    if tag == "d":
        return {decode(pair[0], handle): decode(pair[1], handle) for pair in body if isinstance(pair, list)}
    return _FROM_LIST[tag](decode(item, handle) for item in body)


def _compares_as(kind: type, base: type) -> bool:
    return (
        kind.__eq__ is base.__eq__ and kind.__iter__ is base.__iter__
        if hasattr(base, "__iter__")
        else kind.__eq__ is base.__eq__
    )


def _scalar(value: object) -> object:
    """A number of numpy, or an integer of sympy, as Python's; None for anything else."""
    kind = type(value)
    if kind.__module__ == "sympy.core.numbers" and getattr(value, "is_Integer", False) is True:
        return int(value)  # pyright: ignore[reportArgumentType]
    if kind.__module__ != "numpy" or not hasattr(kind, "item") or getattr(value, "shape", None) != ():
        return None
    return value.item()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]


def _opaque(value: object, keep: Keep | None) -> Tree:
    return {"o": type(value).__name__[:80], **({} if keep is None else {"h": keep(value)})}


def _int(value: int) -> Tree:
    return int(value) if -(2**63) <= value < 2**63 else {"i": hex(value)}


_PLAIN: dict[type, Callable[..., Tree]] = {
    type(None): lambda value: value,
    bool: lambda value: value,
    str: lambda value: str.__str__(value),
    int: _int,
    float: lambda value: {"f": float.hex(value)},
    complex: lambda value: {"c": [float.hex(value.real), float.hex(value.imag)]},
    bytes: lambda value: {"b": bytes.hex(value)},
    bytearray: lambda value: {"B": bytearray.hex(value)},
}
_TAGS: dict[type, str] = {list: "", tuple: "t", set: "s", frozenset: "z", dict: "d"}
_BASES: tuple[type, ...] = (int, float, str, list, tuple, dict, set, frozenset)
_KNOWN = {collections.Counter, collections.OrderedDict, collections.defaultdict}
"""Dictionaries with an equality of their own that agrees with that of dict."""
_FROM_TEXT: dict[str, Callable[[str], object]] = {
    "i": lambda text: int(text, 16),
    "f": float.fromhex,
    "b": bytes.fromhex,
    "B": bytearray.fromhex,
}
_FROM_LIST: dict[str, Callable[..., object]] = {"t": tuple, "s": set, "z": frozenset}
