"""Axes with names: equal names have equal lengths within a sample, checked when it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atdata.samples.kinds import (
    Array,
    Field,
    FixedTuple,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Misfit,
    TupleOf,
)


@dataclass(frozen=True)
class NamedAxes:
    """The fields of a sample type that have axes with names, in arrays, lists or maps.

    A sample inside a sample has names of its own.
    """

    fields: tuple[Field, ...]

    @classmethod
    def of(cls, fields: Sequence[Field]) -> NamedAxes | None:
        """Those of a type; None if no name can appear twice in a sample."""
        named = [field for field in fields if any(_names_in(field.kind))]
        counts = Counter(name for field in named for name in _names_in(field.kind))
        if not counts or max(counts.values()) < 2:
            return None
        return cls(tuple(named))

    def check(self, sample: object) -> None:
        """Check a sample whose values fit their fields.

        Raises:
            Misfit: Two axes of one name differ in length; has the paths of both.
        """
        self._check([getattr(sample, field.name) for field in self.fields])

    def check_columns(self, columns: Mapping[str, Sequence[Any] | np.ndarray[Any, Any]]) -> int:
        """Check samples given field by field, whose values fit their fields.

        Args:
            columns: Field name → one value a sample, equally many.

        Returns:
            Number of the first sample in which two axes of one name differ in length; -1: none.
        """
        own = [columns[field.name] for field in self.fields]
        count = len(own[0])
        # All arrays of a column that is one array have the same shape.
        stacked = all(
            isinstance(column, np.ndarray) and not column.dtype.hasobject for column in own
        )
        for row in range(min(count, 1) if stacked else count):
            try:
                self._check([column[row] for column in own])
            except Misfit:
                return row
        return -1

    def _check(self, values: Sequence[Any]) -> None:
        seen: dict[str, tuple[int, str]] = {}
        for field, value in zip(self.fields, values, strict=True):
            for name, length, path in _lengths(field.kind, value, field.name):
                first, where = seen.setdefault(name, (length, path))
                if first != length:
                    raise Misfit(
                        f"{name} to be {first}, as in $.{where}", f"{name} of {length}"
                    ).at(f".{path}")


def _names_in(kind: Kind) -> Iterator[str]:
    """The names of axes in a kind; those of repeated values twice."""
    match kind:
        case Array():
            yield from filter(None, kind.axes or ())
        case FixedTuple(items):
            for item in items:
                yield from _names_in(item)
        case ListOf(inner) | TupleOf(inner) | MapOf(inner):
            for name in _names_in(inner):
                yield name
                yield name
        case Maybe(inner):
            yield from _names_in(inner)


def _lengths(kind: Kind, value: Any, path: str) -> Iterator[tuple[str, int, str]]:
    """Each axis that has a name: the name, its length, and the path of the array."""
    match kind:
        case _ if value is None:
            return
        case Array():
            for name, length in zip(kind.axes or (), value.shape, strict=False):
                if name is not None:
                    yield name, length, path
        case Maybe(inner):
            yield from _lengths(inner, value, path)
        case FixedTuple(items):
            for number, (kind, item) in enumerate(zip(items, value, strict=False)):
                yield from _lengths(kind, item, f"{path}[{number}]")
        case ListOf(inner) | TupleOf(inner):
            for number, item in enumerate(value):
                yield from _lengths(inner, item, f"{path}[{number}]")
        case MapOf(inner):
            for key, item in value.items():
                yield from _lengths(inner, item, f"{path}[{key!r}]")
