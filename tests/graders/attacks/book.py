"""Reads the programs beside this file: `=== name`, fields, an empty line, the program, parts after `--- title`."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Entry:
    """A named program with its fields."""

    name: str
    fields: dict[str, str] = field(default_factory=dict)
    parts: list[tuple[str, str]] = field(default_factory=list)
    """Title and text; the first has no title."""

    def words(self, key: str, default: str) -> tuple[str, ...]:
        """A field's words."""
        return tuple(self.fields.get(key, default).split())

    def titled(self, title: str) -> list[str]:
        """The parts of that title."""
        return [text for name, text in self.parts if name == title]


def read(file: str) -> list[Entry]:
    """Every entry of a file."""
    text = "\n" + (Path(__file__).parent / file).read_text(encoding="utf-8")
    return [_entry(chunk) for chunk in text.split("\n=== ")[1:]]


def _entry(chunk: str) -> Entry:
    head, _, body = chunk.partition("\n\n")
    name, *lines = head.split("\n")
    entry = Entry(name, dict(line.split(": ", 1) for line in lines))
    for at, part in enumerate(("\n" + body).split("\n--- ")):
        title, _, text = part.partition("\n") if at else ("", "", part[1:])
        entry.parts.append((title, text.rstrip("\n") + "\n"))
    return entry
