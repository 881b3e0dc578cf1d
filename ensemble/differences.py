"""Where two descriptions differ: the first row of two lists, every value of two configurations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

_NOTHING = object()


@dataclass(frozen=True)
class Difference:
    """One thing that differs: what, and in words what it should be and what it is."""

    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.what} must be {self.expected}, got {self.found}"


def list_difference(name: str, expected: Sequence[str], found: Sequence[str]) -> Difference | None:
    """The first row, counted from 0, in which two lists differ; None where they are equal.

    The lengths are said where they differ, and where only the order differs, that is said.
    """
    pairs = zip_longest(expected, found, fillvalue=_NOTHING)
    row, old, new = next(((row, *pair) for row, pair in enumerate(pairs) if pair[0] != pair[1]), (-1, "", ""))
    if row < 0:
        return None
    order = "order of " if sorted(expected) == sorted(found) else ""
    counts = [f" (of {len(rows):,})" if len(expected) != len(found) else "" for rows in (expected, found)]
    return Difference(f"{order}{name}, row {row},", _words(old) + counts[0], _words(new) + counts[1])


def settings_differences(expected: Any, found: Any) -> list[Difference]:
    """Every value in which two configurations (dicts and lists, as JSON has them) differ.

    A value inside others is named with dots: `stores.0.name`.
    """
    old, new = dict(_flat(expected)), dict(_flat(found))
    pairs = {name: (old.get(name, _NOTHING), new.get(name, _NOTHING)) for name in {**old, **new}}
    return [Difference(name, _words(a), _words(b)) for name, (a, b) in pairs.items() if a != b]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    nested = [pair for key, item in items for pair in _flat(item, f"{name}.{key}" if name else str(key))]
    yield from nested if nested or not name else [(name, value)]


def _words(value: Any) -> str:
    return "nothing" if value is _NOTHING else repr(value)
