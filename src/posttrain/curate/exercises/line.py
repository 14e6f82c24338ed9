"""A line of somebody's file of exercises, asked for its fields, and what an exercise is once read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from posttrain.spec.errors import Mismatch

EQUAL = 1e-12
"""The tolerance of sets whose own tests compare by `==`, or as decimals: there 2 is 2.0."""


UNSAYABLE = "a value of its tests cannot be said in JSON"


class Ungradable(Exception):
    """Why a row that has the shape asked for cannot be graded; the row is counted and left out."""


@dataclass(frozen=True)
class Exercise:
    """What a row says, in the words of this program."""

    question: str
    call: str
    """What a solver must know beside the question: names, starter code, how the program is run."""
    answer: Mapping[str, Any]
    """The tests, as `graders.code` reads them."""
    programs: tuple[str, ...] = ()
    """The file's own solutions."""
    difficulty: int = 0
    dropped: int = 0
    """Own solutions that are no Python."""


@dataclass(frozen=True)
class Line:
    """The fields of one line; what it does not hold is a Mismatch that names the place."""

    where: str
    fields: Mapping[str, Any] = field(repr=False)
    shape: str

    def text(self, *names: str, default: str | None = None) -> str:
        """The text of the first of these fields that the line has; without any: the default, if there is one."""
        name = self._first(names, default)
        value = default if name is None else self.fields[name]
        if value is None and default is not None:
            return default
        return tidy(value) if isinstance(value, str) else self.wrong(name or names[0], "it holds no text")

    def texts(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A field that holds a list of texts, or the JSON of one."""
        if self._first((name,), default) is None and default is not None:
            return default
        value = self.json(name) if isinstance(self.fields[name], str) else self.fields[name]
        if value is None and default is not None:
            return default
        items = cast("list[object]", value) if isinstance(value, list) else [None]
        texts = [tidy(item) for item in items if isinstance(item, str)]
        return tuple(texts) if len(texts) == len(items) else self.wrong(name, "it holds no list of texts")

    def json(self, name: str) -> Any:
        """A field that holds JSON as text, or what that JSON says; None where the text is empty."""
        self._first((name,), None)
        value = self.fields[name]
        if not isinstance(value, str):
            return value
        try:
            return says(value) if value.strip() else None
        except json.JSONDecodeError as error:
            return self.wrong(name, f"it holds no JSON ({error})")
        except ValueError as error:
            raise Ungradable(UNSAYABLE) from error

    def table(self, name: str) -> dict[str, Any]:
        """A field that holds a table as JSON; empty where the text is."""
        value = self.json(name)
        if value is None:
            return {}
        return cast("dict[str, Any]", value) if isinstance(value, dict) else self.wrong(name, "it holds no table")

    def wrong(self, name: str, what: str) -> NoReturn:
        """Mismatch: what is wrong with a field."""
        raise Mismatch(
            f"{name}: {what}",
            where=self.where,
            remedy=f"The line has {', '.join(self.fields) or 'nothing'}; its file is read in the shape {self.shape}.",
        )

    def _first(self, names: Sequence[str], default: object) -> str | None:
        name = next((name for name in names if name in self.fields), None)
        return self.wrong(" or ".join(names), "there is no such field") if name is None and default is None else name


def says(text: str) -> Any:
    """What JSON says, in values that JSON can say again. ValueError where it is none, or names NaN or infinity."""
    try:
        value = json.loads(text, parse_constant=_no_number)
        json.dumps(value, allow_nan=False)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


def tidy(text: str) -> str:
    """Text with the line ends of this program's files."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number that JSON can say")
