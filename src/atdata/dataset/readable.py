"""What is read of a dataset: in order, shuffled, by position, by key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar, overload

import numpy as np

from atdata._arrays import AnyArray, Integers
from atdata._shardlist import ShardInfo
from atdata.dataset.reading.buffer_shuffle import (
    DEFAULT_BUFFER_SAMPLES,
    DEFAULT_BUFFER_SHARDS,
    ShuffleOrder,
)
from atdata.dataset.reading.epoch import DatasetEpoch, Epoch, Shuffle
from atdata.dataset.reading.plan import (
    Plan,
    Run,
    batch_of,
    batches_of,
    check_batch_size,
    samples_of,
)
from atdata.dataset.reading.random_access import Gather
from atdata.dataset.reading.ranks import left_of, length, share_of
from atdata.dataset.reading.state import Reading
from atdata.dataset.reading.stream import BufferStream, EpochStream, ShuffledStream, StoredStream
from atdata.dataset.trainable import Trainable
from atdata.errors import LengthError, OptionError, SampleNotFoundError
from atdata.samples.batch import SampleBatch

T = TypeVar("T")


class Readable(Trainable[T]):
    """The ways of reading that `Dataset` has."""

    _plan: Plan
    _gather: Gather

    @property
    def _is_filtered(self) -> bool:
        return self._plan.is_filtered

    @property
    def _is_declared(self) -> bool:
        return self._plan.is_declared

    @property
    def _known(self) -> dict[str, ShardInfo]:
        return self._gather.known

    @property
    def shard_list(self) -> list[str]:
        """Identifier of every shard, in reading order."""
        return list(self._plan.source.shard_list)

    @overload
    def ordered(self, batch_size: None = None) -> Reading[T]: ...
    @overload
    def ordered(self, batch_size: int, *, copy: bool = ...) -> Reading[SampleBatch[T]]: ...
    def ordered(
        self, batch_size: int | None = None, *, copy: bool = True
    ) -> Reading[T] | Reading[SampleBatch[T]]:
        """Read every sample in the order it is stored in.

        Args:
            batch_size: Samples a batch, the last one may be smaller; None: one by one.
            copy: Whether the arrays of a batch are in memory of their own. If not, they are
                read-only views of the shard where that is possible: where arrays of one shape
                lie at a constant distance in one shard. Such a view keeps the shard mapped,
                or the piece of it that was read from a server, for as long as it exists.

        Raises:
            ShardError: A shard is damaged or cut short.
            DecodeError: A sample is not of the type.
        """
        cut = self._cut(batch_size)
        stream = StoredStream(
            self._plan, self._epoch, self._share, cut, batch_size, gather=self._gather, copy=copy
        )
        return Reading(stream)

    @overload
    def shuffled(
        self,
        batch_size: None = None,
        *,
        seed: int | None = ...,
        epoch: int = ...,
        window: int | None = ...,
        buffer_samples: int = ...,
        buffer_shards: int = ...,
    ) -> Reading[T]: ...
    @overload
    def shuffled(
        self,
        batch_size: int,
        *,
        seed: int | None = ...,
        epoch: int = ...,
        window: int | None = ...,
        buffer_samples: int = ...,
        buffer_shards: int = ...,
    ) -> Reading[SampleBatch[T]]: ...
    def shuffled(
        self,
        batch_size: int | None = None,
        *,
        seed: int | None = None,
        epoch: int = 0,
        window: int | None = None,
        buffer_samples: int = DEFAULT_BUFFER_SAMPLES,
        buffer_shards: int = DEFAULT_BUFFER_SHARDS,
    ) -> Reading[T] | Reading[SampleBatch[T]]:
        """Read every sample once, in random order.

        Where every shard is a local file or has a sample table beside it, this is a permutation
        of the whole dataset: small blocks of neighbours are permuted globally, then their samples
        are mixed in a window. Other shards are read once only: it is a buffer that is drawn from,
        unless this is a rank's part, whatever else was asked of the dataset before. A state says
        which of the two it is of, and resumes in the same.

        Args:
            batch_size: Samples a batch; None: one by one.
            seed: Same seed and epoch, same order; None: another order each time, or 0 for a
                dataset that is split among ranks.
            epoch: Another order for each epoch, from 0 on.
            window: Samples that are mixed with each other; None: about 32 MB of them. Takes
                that much memory twice, but for small samples of a few local shards.
            buffer_samples: Of a buffer: samples held and drawn from.
            buffer_shards: Of a buffer: shards read at the same time.
        """
        cut = self._cut(batch_size)
        buffer = ShuffleOrder(buffer_samples, buffer_shards)
        shuffle = self._shuffle(seed, epoch, window)
        permuted: EpochStream[Any] = EpochStream(self._epoch, shuffle, self._share, cut, batch_size)
        if self._share.world_size > 1:
            return Reading(permuted)
        buffered = BufferStream(self._plan, buffer, shuffle, cut, self._gather)
        begins = permuted if self._gather.tables.are_beside() else buffered
        return Reading(ShuffledStream(permuted, buffered, begins))

    def _epoch(self, shuffle: Shuffle | None) -> Epoch:
        return DatasetEpoch(self._plan, self._gather, shuffle)

    def _cut(self, batch_size: int | None) -> Callable[[Iterator[Run]], Iterator[Any]]:
        if batch_size is None:
            return samples_of
        check_batch_size(batch_size)
        self._check_batchable()
        return partial(
            batches_of,
            sample_type=self._sample_type,
            size=batch_size,
            declared=self._is_declared,
        )

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | AnyArray) -> SampleBatch[T]: ...
    def __getitem__(self, index: int | slice | Sequence[int] | AnyArray) -> T | SampleBatch[T]:
        """Samples by position: one for a number, a batch for a slice or a list of numbers.

        Reads just these, by ranges where the shards are on a server. Numbers are Python's or
        NumPy's; bools are not.

        Raises:
            SampleNotFoundError: Out of range (an IndexError).
            LengthError: The dataset is filtered or split.
            OptionError: Something else than whole numbers.
        """
        self._check_countable("positions")
        positions = positions_of(index, len(self._gather))
        if self._plan.is_plain and isinstance(index, int | np.integer):
            stored: T = self._gather.one(int(positions[0]))
            return stored
        rows, _ = self._plan.stepped(self._gather.rows(positions))
        if isinstance(index, int | np.integer):
            sample: T = rows.samples()[0]
            return sample
        self._check_batchable()
        return batch_of(self._sample_type, [rows], declared=self._is_declared)

    def by_key(self, key: str) -> T:
        """The sample with this key; of several shards that have it, the first one's.

        Raises:
            SampleNotFoundError: No sample has it (a KeyError).
            LengthError: The dataset is filtered or split.
            OptionError: Not a str.
        """
        if not isinstance(key, str):
            raise OptionError(
                f"by_key({key!r:.80}): expected a str. Samples by position: dataset[number]."
            )
        self._check_countable("keys")
        rows, _ = self._plan.stepped(self._gather.by_key(key))
        sample: T = rows.samples()[0]
        return sample

    def _check_countable(self, what: str) -> None:
        if self._plan.is_filtered:
            raise LengthError(
                f"A filtered dataset has no {what} until it is read. "
                "Count what stays with: sum(1 for _ in dataset)."
            )
        if self._share.world_size > 1 and what != "length":
            raise LengthError(f"A rank's part has no {what} of its own: ask the whole dataset.")

    def __iter__(self) -> Iterator[T]:
        return iter(self.ordered())

    def __len__(self) -> int:
        """Number of samples: as recorded, as the shards' tables say, or counted in local shards.

        `list` and progress bars ask for it, so shards on servers are never read for it.

        Raises:
            LengthError: The dataset is filtered; how many stay is known after reading only. Or
                only reading shards on servers would tell; `count` does that. A TypeError, after
                which `list` and progress bars go without.
        """
        self._check_countable("length")
        return self._length(self._counted())

    def count(self) -> int:
        """Number of samples, as `len`; shards on servers that have no table are read for it.

        Once: afterwards `len` is known, and so are positions.

        Raises:
            LengthError: The dataset is filtered.
            ShardError: A shard is damaged.
            SourceError: One cannot be read.
        """
        self._check_countable("length")
        found = self._counted()
        return self._length(len(self._gather) if found is None else found)

    def _counted(self) -> int | None:
        """Samples of the whole dataset, where that is known without reading remote shards."""
        shards = [self._known.get(shard) for shard in self.shard_list]
        counts = [shard.samples for shard in shards if shard and shard.samples is not None]
        if len(counts) == len(shards):
            return sum(counts)
        return len(self._gather) if self._gather.tables.ready() else None

    def _length(self, whole: int | None) -> int:
        if whole is None:
            raise LengthError(
                "How many samples there are is not recorded, and nothing but reading every shard "
                "would tell. dataset.count() does that; sum(1 for _ in dataset) counts in passing."
            )
        return length(share_of(left_of(whole, []), self._share))


def positions_of(index: Any, samples: int) -> Integers:
    """The positions that an index means.

    Args:
        index: A number, a slice, or numbers; negative ones count from the end.
        samples: Samples of the dataset.

    Raises:
        SampleNotFoundError: One is out of range.
        OptionError: Not numbers.
    """
    if isinstance(index, slice):
        return np.arange(samples, dtype=np.int64)[index]
    if type(index) is int:
        if not -samples <= index < samples:
            raise _missing(index, samples)
        return np.array([index if index >= 0 else index + samples])
    wanted = _numbers(index)
    # Compared as what they are: a conversion would wrap numbers that int64 does not hold.
    wrong = (wanted < -samples) | (wanted >= samples)
    if wrong.any():
        raise _missing(int(wanted[wrong][0]), samples)
    positions = wanted.astype(np.int64)
    return np.where(positions < 0, positions + samples, positions)


def _numbers(index: Any) -> AnyArray:
    """Numbers as an array: int64, uint64, or Python's own where these do not hold them."""
    try:
        wanted = np.atleast_1d(np.asarray(index, np.int64 if not np.size(index) else None))
        listed = wanted.dtype.kind == "f" and not isinstance(index, np.ndarray)
        if listed or wanted.dtype == object:
            # NumPy makes floats of integers that no type of its own holds together.
            wanted = np.array([*index] if np.ndim(index) else [index], object)
    except (TypeError, ValueError, OverflowError):
        wanted = np.array([[None]])
    good = wanted.ndim == 1 and wanted.dtype.kind in "iuO"
    if good and (wanted.dtype == object or isinstance(index, list | tuple)):
        kinds = set(map(type, wanted if wanted.dtype == object else index))
        good = all(issubclass(kind, int | np.integer) for kind in kinds) and bool not in kinds
    if not good:
        raise OptionError(
            f"dataset[{index!r:.80}]: expected a whole number, a slice, or a list of numbers. "
            "Samples by key: dataset.by_key(key)."
        )
    return wanted


def _missing(position: int, samples: int) -> SampleNotFoundError:
    there = (
        f"the dataset has {samples:,}. Positions go from 0 to {samples - 1}, and from -1 for the "
        f"last to {-samples} for the first."
    )
    return SampleNotFoundError(
        f"There is no sample {position}: {there if samples else 'the dataset has none.'}"
    )
