"""Samples made of other datasets' samples: what a dataset reads where it does not read shards."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, Protocol, Self

import numpy as np

from atdata._arrays import Indices, Integers
from atdata._protocols import DataSource
from atdata._shardlist import ShardInfo
from atdata.dataset.reading.epoch import Epoch, PermutedEpoch, Shuffle, read_epoch
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.rows import Rows, Run
from atdata.dataset.reading.shards import Shard
from atdata.dataset.reading.steps import Steps
from atdata.errors import LengthError
from atdata.sources.joined import JoinedSource


class Part(Protocol):
    """A dataset that others are made of. It is whole, not a rank's part."""

    @property
    def _origin(self) -> PositionedShards | Derived: ...

    @property
    def source(self) -> DataSource: ...

    @property
    def sample_type(self) -> type[Any]: ...

    @property
    def _is_filtered(self) -> bool: ...

    @property
    def _type_is_known(self) -> bool: ...

    @property
    def _skips(self) -> bool: ...

    def describe_shards(self) -> tuple[ShardInfo, ...]: ...

    def _known_samples(self) -> int | None:
        """Samples that are stored, if that is known without reading shards on servers."""
        ...

    def _epoch(self, shuffle: Shuffle | None) -> Epoch: ...

    def _in_order(self, size: int | None, *, copy: bool = True) -> Iterator[Run] | None:
        """Everything from its start, without looking for positions; None: it needs them."""
        ...


class Derived(ABC):
    """Samples made of those of other datasets, each with a position.

    Args:
        parts: The datasets.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)

    @property
    @abstractmethod
    def samples(self) -> int:
        """Number of positions. Datasets are read for it where nothing else tells."""

    @abstractmethod
    def known_samples(self) -> int | None:
        """The same, where it is known without reading."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A hash that differs for other samples."""

    @abstractmethod
    def fetch(self, positions: Integers) -> Any:
        """Read samples; positions in any order, repeated or not."""

    @abstractmethod
    def finish(self, fetched: Any, part: Indices) -> tuple[Rows, Integers]:
        """Part of what was fetched, and the indices of rows that filters kept."""

    def rows(self, positions: Integers) -> Rows:
        """Samples at some positions; not where some may be left out."""
        rows, _ = self.finish(self.fetch(positions), slice(None))
        return rows

    def in_order(self, size: int | None, *, copy: bool) -> Iterator[Run] | None:
        """See `Part._in_order`."""
        return None

    def numbers_of(self, positions: Integers) -> Integers | None:
        """The shard in which the key of each position is unique; None: they have no own keys."""
        return None

    def position_of(self, key: str) -> int:
        """The position of the sample with a key.

        Raises:
            LengthError: Keys do not tell these samples apart.
            SampleNotFoundError: No sample has it.
        """
        raise LengthError(
            f"{self.shown()} has no keys of its own: its samples are those of other datasets. Ask "
            "one of those."
        )

    @abstractmethod
    def shown(self) -> str:
        """In words, for a repr."""

    @property
    def source(self) -> DataSource:
        """Where the shards of all of them are read from."""
        found = [part.source for part in self.parts]
        return found[0] if len(found) == 1 else JoinedSource(found)

    @property
    def each(self) -> tuple[Shard, ...]:
        """The shards of all of them."""
        return tuple(shard for part in self.parts for shard in part._origin.each)

    def describe_shards(self) -> tuple[ShardInfo, ...]:
        """See `Dataset.describe_shards`."""
        return tuple(shard for part in self.parts for shard in part.describe_shards())

    @property
    def neighbours(self) -> Integers | None:
        """All positions, those of samples that are stored together one after the other; None:
        positions ascend so."""
        return None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """See `Epoch`."""
        found = [part._epoch(None).sizes for part in self.parts]
        return min(s[0] for s in found), min(s[1] for s in found), min(s[2] for s in found)

    @property
    def is_filtered(self) -> bool:
        """Whether some positions may have no sample."""
        return any(part._is_filtered for part in self.parts)

    @property
    def type_is_known(self) -> bool:
        """See `Steps`."""
        return all(part._type_is_known for part in self.parts)

    @property
    def skips(self) -> bool:
        """Whether samples that cannot be decoded are left out."""
        return any(part._skips for part in self.parts)

    def check_sendable(self) -> None:
        """See `Steps.check_sendable`."""
        for part in self.parts:
            part._epoch(None).check_sendable()

    def over(self, change: Callable[[Any], Any]) -> Self:
        """The same of other copies of the datasets."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__, parts=tuple(map(change, self.parts)))
        made.__dict__.pop("inner", None)
        return made


class DerivedEpoch(PermutedEpoch):
    """An epoch of derived samples.

    Args:
        derived: The samples.
        steps: The steps applied to them.
        shuffle: How it is shuffled; None: in the order of positions.
    """

    def __init__(self, derived: Derived, steps: Steps, shuffle: Shuffle | None) -> None:
        super().__init__(steps, shuffle)
        self._derived = derived

    def __len__(self) -> int:
        return self._derived.samples

    def check_sendable(self) -> None:
        """See `Epoch`."""
        self._steps.check_sendable()
        self._derived.check_sendable()

    @property
    def fingerprint(self) -> str:
        """See `Epoch`."""
        return self._derived.fingerprint

    @property
    def sizes(self) -> tuple[int, int, int]:
        """See `Epoch`."""
        return self._derived.sizes

    @property
    def _counts(self) -> Integers:
        return np.array([len(self)])

    def fetch(self, places: Integers) -> Any:
        """See `Epoch`."""
        positions, numbers = self.order.ascending(places)
        neighbours = self._derived.neighbours
        if self._shuffle is not None and neighbours is not None:
            positions = neighbours[positions]
        wanted = np.empty_like(positions)
        wanted[numbers] = positions
        return self._derived.fetch(wanted)

    def finish(self, fetched: Any, part: Indices) -> tuple[Rows, Integers]:
        """See `Epoch`."""
        rows, kept = self._derived.finish(fetched, part)
        rows, left = self._steps.apply(rows)
        return rows, kept[left]


def runs_of(part: Part, size: int | None = None, *, copy: bool = True) -> Iterator[Run]:
    """Everything in a dataset, in its order."""
    runs = part._in_order(size, copy=copy)
    if runs is None:
        epoch = part._epoch(None)
        runs = read_epoch(epoch, [(0, len(epoch))] if len(epoch) else [], size=size)
    with closing(runs):  # type: ignore[type-var]
        yield from runs


def fingerprint_of(*facts: object) -> str:
    """A hash of what decides which samples come out."""
    return hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:16]
