"""Consecutive samples on their way from shard to reader."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import numpy as np

from atdata._arrays import Indices
from atdata._secrets import redacted_repr
from atdata.lenses.lens import Lens
from atdata.samples.kinds import Field, Kind
from atdata.shards.columns.column import CopiedColumn, LazyColumn, as_list, copied_column
from atdata.shards.columns.strided import StridedRows, buffers, joined_rows
from atdata.system.once import once


class Rows(Protocol):
    """Consecutive samples on their way, with their keys; read from a shard or made by a step."""

    def __len__(self) -> int: ...

    @property
    def keys(self) -> Sequence[str]:
        """Key of each sample in its shard."""
        ...

    def samples(self) -> list[Any]:
        """The samples one by one."""
        ...

    def columns(self) -> dict[str, LazyColumn] | None:
        """The samples field by field, or None where they exist one by one only.

        Some may have to be copied_column, see `joined`.
        """
        ...

    def take(self, indices: Indices) -> Rows:
        """Some of the rows, in the order of ``indices``."""
        ...


@redacted_repr
@dataclass(frozen=True, slots=True)
class SampleRows:
    """Rows that exist as samples."""

    keys: Sequence[str]
    made: list[Any]

    def __len__(self) -> int:
        return len(self.made)

    def samples(self) -> list[Any]:
        return self.made

    def columns(self) -> dict[str, LazyColumn] | None:
        return None

    def take(self, indices: Indices) -> SampleRows:
        if isinstance(indices, slice):
            return SampleRows(self.keys[indices], self.made[indices])
        order = indices.tolist()
        return SampleRows([self.keys[i] for i in order], [self.made[i] for i in order])


class SharedRows:
    """Rows that several batches are cut out of: decoded once, and handed out as views."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def keys(self) -> Sequence[str]:
        return self._rows.keys

    def samples(self) -> list[Any]:
        return self._rows.samples()

    def columns(self) -> dict[str, LazyColumn] | None:
        return self._columns

    @once
    def _columns(self) -> dict[str, LazyColumn] | None:
        return self._rows.columns()

    def take(self, indices: Indices) -> Rows:
        if isinstance(indices, slice):
            return _Slice(self, indices)
        return self._rows.take(indices)

    def part(self, place: slice) -> Rows:
        """Some of the rows, which share nothing."""
        return self._rows.take(place)


@dataclass(slots=True)
class _Slice:
    """Consecutive ones of rows that are shared."""

    rows: SharedRows
    place: slice

    def __len__(self) -> int:
        return len(range(len(self.rows))[self.place])

    @property
    def keys(self) -> Sequence[str]:
        return self.rows.keys[self.place]

    def samples(self) -> list[Any]:
        return self.rows.part(self.place).samples()

    def columns(self) -> dict[str, LazyColumn] | None:
        columns = self.rows.columns()
        return columns and {name: column[self.place] for name, column in columns.items()}

    def take(self, indices: Indices) -> Rows:
        return self.rows.part(self.place).take(indices)


@redacted_repr
@dataclass(frozen=True, slots=True)
class JoinedRows:
    """Rows of several datasets of one type, put in another order."""

    parts: Sequence[Rows]
    order: Indices
    """Of all rows, counted through the parts, which comes first, second, …; shape (n,)."""
    fields: Mapping[str, Field]
    """The fields of their type."""

    def __len__(self) -> int:
        return len(cast("np.ndarray[Any, Any]", self.order))

    @property
    def keys(self) -> list[str]:
        return self._ordered([key for part in self.parts for key in part.keys])

    def samples(self) -> list[Any]:
        return self._ordered([sample for part in self.parts for sample in part.samples()])

    def columns(self) -> dict[str, LazyColumn] | None:
        columns = [part.columns() for part in self.parts]
        known = [column for column in columns if column]
        if len(known) < len(columns):
            return None
        whole = joined(known, self.fields)
        return {name: self._ordered_column(values) for name, values in whole.items()}

    def take(self, indices: Indices) -> JoinedRows:
        return JoinedRows(self.parts, np.asarray(self.order)[indices], self.fields)

    def _ordered_column(self, values: CopiedColumn) -> LazyColumn:
        if isinstance(values, np.ndarray):
            return values[self.order]
        return self._ordered(values if isinstance(values, list) else values.tolist())

    def _ordered(self, values: list[Any]) -> list[Any]:
        return [values[i] for i in np.asarray(self.order).tolist()]


def joined(
    parts: Sequence[dict[str, LazyColumn]], fields: Mapping[str, Field]
) -> dict[str, CopiedColumn]:
    """Columns of several parts, one behind the other, nothing left to be copied later.

    Args:
        parts: The columns of each, all of the same fields.
        fields: The fields of their type, by name.
    """
    if len(parts) == 1:
        return {name: copied_column(column) for name, column in parts[0].items()}
    return {name: _join([part[name] for part in parts], fields[name].kind) for name in parts[0]}


def _join(parts: Sequence[LazyColumn], kind: Kind) -> CopiedColumn:
    strided = [part for part in parts if isinstance(part, StridedRows)]
    if len(strided) == len(parts) and len({(p.header.dtype, p.header) for p in strided}) == 1:
        return joined_rows(strided)
    done = [copied_column(part) for part in parts]
    first = done[0]
    arrays = [part for part in done if isinstance(part, np.ndarray)]
    if (
        isinstance(first, np.ndarray)
        and len(arrays) == len(done)
        and len({(part.dtype, part.shape[1:]) for part in arrays}) == 1
    ):
        shape = (sum(map(len, done)), *first.shape[1:])
        size = math.prod(shape) * first.dtype.itemsize
        # A view has its own byte order; what concatenate makes would be native.
        room = buffers.take(size).view(first.dtype).reshape(shape) if size else None
        return np.concatenate(arrays, out=np.empty(shape, first.dtype) if room is None else room)
    return [value for part in done for value in as_list(part, kind)]


@redacted_repr
@dataclass(frozen=True, slots=True)
class ViewedRows:
    """Rows seen through a lens that only selects and renames fields: columns stay columns."""

    rows: Rows
    lens: Lens[Any, Any]
    renames: dict[str, str]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def keys(self) -> Sequence[str]:
        return self.rows.keys

    def samples(self) -> list[Any]:
        return [self.lens.get(sample) for sample in self.rows.samples()]

    def columns(self) -> dict[str, LazyColumn] | None:
        columns = self.rows.columns()
        if columns is None:
            return None
        return {target: columns[source] for target, source in self.renames.items()}

    def take(self, indices: Indices) -> ViewedRows:
        return replace(self, rows=self.rows.take(indices))
