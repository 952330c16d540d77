"""Several datasets of one type as one: their samples one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from atdata._arrays import Indices, Integers, distinct
from atdata._secrets import redacted_repr
from atdata.dataset.reading.derived import Derived, Part, fingerprint_of, runs_of
from atdata.dataset.reading.epoch import Epoch
from atdata.dataset.reading.rows import MadeRows, Rows, Run
from atdata.errors import SampleTypeError
from atdata.samples.codec import fields_of
from atdata.samples.kinds import Field
from atdata.samples.pickling import defined_again
from atdata.shards.columns.column import CopiedColumn, LazyColumn, joined_columns
from atdata.system.forks import once


class Joined(Derived):
    """The samples of several datasets, one dataset after the other."""

    @once
    def inner(self) -> list[Epoch]:
        """Each dataset, in stored order."""
        return [part._epoch(None) for part in self.parts]

    @once
    def ends(self) -> Integers:
        """Position after the last sample of each dataset."""
        return np.cumsum([len(epoch) for epoch in self.inner])

    @property
    def samples(self) -> int:
        return int(self.ends[-1])

    def known_samples(self) -> int | None:
        known = [part._known_samples() for part in self.parts]
        counts = [count for count in known if count is not None]
        return sum(counts) if len(counts) == len(known) else None

    @once
    def fingerprint(self) -> str:
        return fingerprint_of(*(epoch.fingerprint for epoch in self.inner))

    def fetch(self, positions: Integers) -> Drawn:
        number = np.searchsorted(self.ends, positions, side="right")
        inside = np.empty(len(positions), np.int64)
        part = np.empty(len(positions), np.int64)
        parts: list[tuple[Epoch, Any]] = []
        for which in distinct(number).tolist():
            mine = np.flatnonzero(number == which)
            epoch = self.inner[which]
            places = positions[mine] - (int(self.ends[which]) - len(epoch))
            wanted, back = np.unique(places, return_inverse=True)
            part[mine], inside[mine] = len(parts), back.reshape(-1)
            parts.append((epoch, epoch.fetch(wanted)))
        return Drawn(parts, part, inside)

    def finish(self, fetched: Drawn, part: Indices) -> tuple[Rows, Integers]:
        return fetched.finish(part, fields_of(self.parts[0].sample_type))

    def in_order(self, size: int | None, *, copy: bool) -> Iterator[Run] | None:
        return self._in_order(size, copy)

    def _in_order(self, size: int | None, copy: bool) -> Iterator[Run]:
        before = 0
        for number, part in enumerate(self.parts):
            count = 0
            for rows, taken in runs_of(part, size, copy=copy):
                count = int(taken[-1]) if len(taken) else count
                yield rows, before + taken
            # A filter may have left out the last ones.
            before += len(self.inner[number]) if part._is_filtered else count

    def shown(self) -> str:
        return " + ".join(map(repr, self.parts))


def check_same_type(datasets: Sequence[Part], done: str) -> None:
    """Validate that datasets are of one type.

    Args:
        datasets: The datasets.
        done: What cannot be done with others, for the error.

    Raises:
        SampleTypeError: They are of several types.
    """
    types = {dataset.sample_type for dataset in datasets}
    if len(types) > 1:
        names = ", ".join(sorted(t.__name__ for t in types))
        again = " ".join(filter(None, {defined_again(a, b) for a in types for b in types}))
        raise SampleTypeError(
            f"Datasets of several types cannot be {done}: {names}. {again}".rstrip()
        )


@redacted_repr
@dataclass(frozen=True, slots=True)
class Drawn:
    """Samples that were fetched from several epochs."""

    parts: list[tuple[Epoch, Any]]
    part: Integers
    """Which part each sample is in."""
    inside: Integers
    """Which of that part's samples it is."""

    def finish(self, part: Indices, fields: Mapping[str, Field]) -> tuple[Rows, Integers]:
        """Part of them, steps applied, and the indices of rows that filters kept."""
        parts, insides = self.part[part], self.inside[part]
        found: list[Rows] = []
        kept: list[Integers] = [np.zeros(0, np.int64)]
        for number in distinct(parts).tolist():
            mine = np.flatnonzero(parts == number)
            epoch, of_part = self.parts[number]
            rows, left = epoch.finish(of_part, insides[mine])
            found.append(rows)
            kept.append(mine[left])
        together = np.concatenate(kept)
        order = np.argsort(together)
        return JoinedRows(found, order, fields), together[order]


@redacted_repr
@dataclass(frozen=True, slots=True)
class JoinedRows(MadeRows):
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
        if not known or len(known) < len(columns):
            return None
        whole = joined_columns(known, self.fields)
        return {name: self._ordered_column(values) for name, values in whole.items()}

    def take(self, indices: Indices) -> JoinedRows:
        return JoinedRows(self.parts, np.asarray(self.order)[indices], self.fields)

    def _ordered_column(self, values: CopiedColumn) -> LazyColumn:
        if isinstance(values, np.ndarray):
            return values[self.order]
        return self._ordered(values if isinstance(values, list) else values.tolist())

    def _ordered(self, values: list[Any]) -> list[Any]:
        return [values[i] for i in np.asarray(self.order).tolist()]
