"""Numbers that a JSON file states under a metric's own name: at its top or under `metrics`, plain or as {value, …}."""

import json
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Any, cast

from posttrain.spec.gate import Metric

_LARGEST = Decimal(10) ** 15
"""Beyond it nothing here is a count or a rate."""


def parsed(data: bytes) -> Any:
    """A JSON text with exact numbers; ValueError for what two readers may read in two ways, NaN and doubled keys."""
    try:
        return json.loads(
            data,
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=_no_number,
            object_pairs_hook=_once,
        )
    except RecursionError as error:
        raise ValueError("too many brackets inside each other") from error


def equal(one: object, other: object) -> bool:
    """Whether two parsed texts say the same: `1.0` is `1`, and `true` is not."""
    if isinstance(one, dict) and isinstance(other, dict):
        left, right = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return left.keys() == right.keys() and all(equal(value, right[key]) for key, value in left.items())
    if isinstance(one, list) and isinstance(other, list):
        some, more = cast("list[Any]", one), cast("list[Any]", other)
        return len(some) == len(more) and all(map(equal, some, more))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def changed(now: Any, before: Any, names: Collection[str]) -> Iterator[tuple[str, Metric]]:
    """Every number stated now under one of the names that was not stated so before; ValueError for what is none."""
    was = dict(_stated(before, names))
    for (table, name), value in _stated(now, names):
        if (table, name) not in was or not equal(value, was[table, name]):
            yield from ((name, metric) for metric in _metrics(name, value))


def _stated(document: Any, names: Collection[str]) -> Iterator[tuple[tuple[str, str], Any]]:
    top = _table(document)
    for table, found in (("", top), ("metrics", _table(top.get("metrics")))):
        yield from (((table, name), found[name]) for name in found if name in names)


def _table(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _metrics(name: str, value: Any) -> Iterator[Metric]:
    """What is stated; a share that is not its own fraction is stated twice."""
    if not isinstance(value, dict):
        yield Metric(None, "it is null") if value is None else Metric(_number(name, value))
        return
    told = _table(value)
    if "value" not in told:
        raise ValueError(f"{name} is stated without a value")
    low, high = (_number(name, told[key]) if told.get(key) is not None else None for key in ("low", "high"))
    k, n = (_count(name, told[key]) if told.get(key) is not None else None for key in ("k", "n"))
    stated = None if told["value"] is None else _number(name, told["value"])
    if k is not None and n is not None and (k > n or n == 0):
        raise ValueError(f"{name} is stated as {k}/{n}")
    if stated is None:
        yield Metric(None, str(told.get("reason") or "it is null"), n=n)
    elif k is None or n is None:
        yield Metric(stated, n=n, low=low, high=high)
    elif abs(stated - k / n) < 1e-9:
        yield Metric(stated, k=k, n=n, low=low, high=high)
    else:
        yield Metric(stated, n=n, low=low, high=high)
        yield Metric(k / n, k=k, n=n, low=low, high=high)


def _number(name: str, value: Any) -> float:
    if not isinstance(value, Decimal) or abs(value) > _LARGEST:
        raise ValueError(f"{name} is stated as something that is no number")
    return float(value)


def _count(name: str, value: Any) -> int:
    number = _number(name, value)
    if number < 0 or number != int(number):
        raise ValueError(f"{name} is stated with a count that is none")
    return int(number)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found
