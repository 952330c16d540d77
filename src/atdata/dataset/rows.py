"""Consecutive samples on their way from shard to reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

from atdata.lenses.lens import Lens
from atdata.samples.batch import Column

Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Indices: TypeAlias = slice | np.ndarray[Any, np.dtype[np.intp]]


class Rows(Protocol):
    """Consecutive samples on their way, with their keys; read from a shard or made by a step."""

    def __len__(self) -> int: ...

    @property
    def keys(self) -> list[str]:
        """Key of each sample in its shard."""
        ...

    def samples(self) -> list[Any]:
        """The samples one by one."""
        ...

    def columns(self) -> dict[str, Column] | None:
        """The samples field by field, or None where they exist one by one only."""
        ...

    def take(self, indices: Indices) -> Rows:
        """Some of the rows, in the order of ``indices``."""
        ...


@dataclass(frozen=True, slots=True)
class SampleRows:
    """Rows that exist as samples."""

    keys: list[str]
    made: list[Any]

    def __len__(self) -> int:
        return len(self.made)

    def samples(self) -> list[Any]:
        return self.made

    def columns(self) -> dict[str, Column] | None:
        return None

    def take(self, indices: Indices) -> SampleRows:
        if isinstance(indices, slice):
            return SampleRows(self.keys[indices], self.made[indices])
        order = indices.tolist()
        return SampleRows([self.keys[i] for i in order], [self.made[i] for i in order])


@dataclass(frozen=True, slots=True)
class JoinedRows:
    """Rows of several datasets of one type, put in another order."""

    parts: Sequence[Rows]
    order: Indices
    """Of all rows, counted through the parts, which comes first, second, …; shape (n,)."""

    def __len__(self) -> int:
        return len(cast("np.ndarray[Any, Any]", self.order))

    @property
    def keys(self) -> list[str]:
        return self._ordered([key for part in self.parts for key in part.keys])

    def samples(self) -> list[Any]:
        return self._ordered([sample for part in self.parts for sample in part.samples()])

    def columns(self) -> dict[str, Column] | None:
        columns = [part.columns() for part in self.parts]
        known = [column for column in columns if column]
        if len(known) < len(columns):
            return None
        return {
            name: values[self.order] if isinstance(values, np.ndarray) else self._ordered(values)
            for name, values in joined(known).items()
        }

    def take(self, indices: Indices) -> JoinedRows:
        return JoinedRows(self.parts, np.asarray(self.order)[indices])

    def _ordered(self, values: list[Any]) -> list[Any]:
        return [values[i] for i in np.asarray(self.order).tolist()]


def joined(parts: Sequence[dict[str, Column]]) -> dict[str, Column]:
    """Columns of several parts, one behind the other."""
    if len(parts) == 1:
        return parts[0]
    return {name: _join([part[name] for part in parts]) for name in parts[0]}


def _join(parts: Sequence[Column]) -> Column:
    first = parts[0]
    if isinstance(first, np.ndarray) and all(
        isinstance(part, np.ndarray)
        and part.dtype == first.dtype
        and part.shape[1:] == first.shape[1:]
        for part in parts
    ):
        return np.concatenate(parts, dtype=first.dtype)  # without it, in native byte order
    values: list[Any] = []
    for part in parts:
        # A column of numbers beside a list: Python's own numbers, as in a list.
        scalars = isinstance(part, np.ndarray) and part.ndim == 1
        values += part.tolist() if scalars and isinstance(part, np.ndarray) else list(part)
    return values


@dataclass(frozen=True, slots=True)
class ViewedRows:
    """Rows seen through a lens that only selects and renames fields: columns stay columns."""

    rows: Rows
    lens: Lens[Any, Any]
    renames: dict[str, str]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def keys(self) -> list[str]:
        return self.rows.keys

    def samples(self) -> list[Any]:
        return [self.lens.get(sample) for sample in self.rows.samples()]

    def columns(self) -> dict[str, Column] | None:
        columns = self.rows.columns()
        if columns is None:
            return None
        return {target: columns[source] for target, source in self.renames.items()}

    def take(self, indices: Indices) -> ViewedRows:
        return replace(self, rows=self.rows.take(indices))
