"""Consecutive samples on their way from shard to reader."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np

from atdata.lenses.lens import Lens
from atdata.samples.batch import Column

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
