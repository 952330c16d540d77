"""Samples by position of shards of both layouts: each layout is read by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from atdata._arrays import Indices, Integers
from atdata._secrets import redacted_repr
from atdata.dataset.reading.rows import MadeRows, Rows, place_in
from atdata.shards.columns.column import LazyColumn


class Fetched(Protocol):
    """Samples of one layout that were read, or found in maps."""

    def take(self, indices: Indices) -> Rows: ...


@redacted_repr
@dataclass(frozen=True, slots=True)
class MixedFetch:
    """Samples of several layouts."""

    parts: tuple[Fetched, ...]
    """The samples of each layout."""
    part: Integers
    """The number of the part that each sample is in, shape (n,)."""
    row: Integers
    """Its row there."""

    def take(self, indices: Indices) -> MixedRows:
        """Some of them, in the order of ``indices``."""
        part, row = self.part[indices], self.row[indices]
        parts, rows = [], np.empty_like(row)
        for number, whole in enumerate(self.parts):
            mine = np.flatnonzero(part == number)
            parts.append(whole.take(row[mine]))
            rows[mine] = np.arange(len(mine))
        return MixedRows(tuple(parts), part, rows)


@redacted_repr
@dataclass(frozen=True, slots=True)
class MixedRows(MadeRows):
    """Rows of several layouts; the fields are those of `MixedFetch`."""

    parts: tuple[Rows, ...]
    part: Integers
    row: Integers

    def __len__(self) -> int:
        return len(self.part)

    @property
    def keys(self) -> Sequence[str]:
        return self._in_order([part.keys for part in self.parts])

    def samples(self) -> list[Any]:
        return self._in_order([part.samples() for part in self.parts])

    def columns(self) -> dict[str, LazyColumn] | None:
        return None

    def place(self, row: int) -> tuple[str, int] | None:
        """See `place_in`."""
        return place_in([self.parts[int(self.part[row])]], int(self.row[row]))

    def take(self, indices: Indices) -> MixedRows:
        return MixedFetch(self.parts, self.part, self.row).take(indices)

    def _in_order(self, parts: Sequence[Sequence[Any]]) -> list[Any]:
        places = zip(self.part.tolist(), self.row.tolist(), strict=True)
        return [parts[part][row] for part, row in places]


def numbered(groups: Sequence[Integers], count: int) -> tuple[Integers, Integers]:
    """The number of each row's group, and which row of the group it is.

    Args:
        groups: The rows of each group, all of them together once each.
        count: How many rows there are.
    """
    part, row = np.empty(count, np.int64), np.empty(count, np.int64)
    for number, rows in enumerate(groups):
        part[rows], row[rows] = number, np.arange(len(rows))
    return part, row
