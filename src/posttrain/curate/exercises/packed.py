"""Test cases as the hub packs them: base64 of zlib of one text, framed as Python's serialisation frames it.

Nothing is ever loaded: the text is cut out of its frame, and anything but a single text is refused.
"""

import base64
import zlib

LARGEST = 1 << 30
"""Bytes of unpacked text that are read."""


def unpack(text: str) -> str:
    """The text that is packed, framed or not; ValueError where it is damaged, over 1 GB, or anything but a text."""
    reader = zlib.decompressobj()
    try:
        data = reader.decompress(base64.b64decode(text, validate=True), LARGEST)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not reader.eof:
        raise ValueError("what is packed is cut, or over 1 GB")
    return (data if data.lstrip()[:1] in (b"[", b"{") else _framed(data)).decode()


def _framed(data: bytes) -> bytes:
    """The bytes of a text in its frame: version, length of the frame, length of the text, the text, and the end."""
    at = 2 if data[:1] == b"\x80" else 0
    at += 9 if data[at : at + 1] == b"\x95" else 0
    width = {b"\x8c": 1, b"X": 4, b"\x8d": 8}.get(data[at : at + 1])
    if width is None:
        raise ValueError("what is packed is no text")
    start = at + 1 + width
    end = start + int.from_bytes(data[at + 1 : start], "little")
    if end > len(data) or data[end:] not in (b".", b"\x94.", b"q\x00."):
        raise ValueError("what is packed is more than a text")
    return data[start:end]
