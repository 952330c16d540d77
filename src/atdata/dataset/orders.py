"""Reading a dataset in the order that it is stored in, or in random order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, TypeVar, overload

from atdata.dataset.counted import Counted
from atdata.dataset.decode.options import Decodes
from atdata.dataset.reading.buffer_shuffle import (
    DEFAULT_BUFFER_SAMPLES,
    DEFAULT_BUFFER_SHARDS,
    ShuffleBuffer,
    shuffled_stream,
)
from atdata.dataset.reading.derived import Derived, DerivedEpoch
from atdata.dataset.reading.epoch import DatasetEpoch, Epoch, Shuffle
from atdata.dataset.reading.in_order import read_in_order
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.rows import ItemsOf, Run, items_of
from atdata.dataset.reading.stream import EpochStream, Reading
from atdata.samples.batch import SampleBatch

T = TypeVar("T")


class Orders(Counted[T]):
    """One epoch after the other, of this rank's samples."""

    @overload
    def ordered(self, batch_size: None = None) -> Reading[T]: ...
    @overload
    def ordered(
        self, batch_size: int, *, copy: bool = ..., decode: Decodes = ...
    ) -> Reading[SampleBatch[T]]: ...
    def ordered(
        self, batch_size: int | None = None, *, copy: bool = True, decode: Decodes = None
    ) -> Reading[T] | Reading[SampleBatch[T]]:
        """Read every sample in the order it is stored in.

        Args:
            batch_size: Samples a batch, the last one may be smaller; None: one by one.
            copy: Whether the arrays of a batch are in memory of their own. If not, they are
                read-only views of the shard where that is possible: where arrays of one shape
                lie at a constant distance in one shard. Such a view keeps the shard mapped,
                or the piece of it that was read from a server, for as long as it exists.
            decode: Field with pictures → how they become one array of a batch, see `Decode`.

        Raises:
            ShardError: A shard is damaged or cut short.
            DecodeError: A sample is not of the type, or a picture cannot be decoded.
        """
        items = self._items(batch_size, decode)
        sequential = partial(self._in_order, batch_size, copy=copy)
        return Reading(
            EpochStream(self._epoch, None, self._share, items, batch_size, sequential=sequential)
        )

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
        decode: Decodes = ...,
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
        decode: Decodes = None,
    ) -> Reading[T] | Reading[SampleBatch[T]]:
        """Read every sample once, in random order.

        Where every shard is a local file or has a sample table next to it, this is a permutation
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
            decode: As for `ordered`.
        """
        items = self._items(batch_size, decode)
        buffer = ShuffleBuffer(buffer_samples, buffer_shards)
        how = self._shuffle(seed, epoch, window)
        permuted = EpochStream(self._epoch, how, self._share, items, batch_size)
        if isinstance(self._origin, Derived):
            return Reading(permuted)
        return Reading(shuffled_stream(permuted, self._origin, self._steps, buffer, how))

    def _items(self, batch_size: int | None, decode: Decodes) -> ItemsOf[Any]:
        """What makes batches, or single samples where ``batch_size`` is None."""
        known, skips = self._type_is_known, self._skips
        return items_of(self._sample_type, batch_size, decode, type_is_known=known, skips=skips)

    def _epoch(self, shuffle: Shuffle | None) -> Epoch:
        if isinstance(self._origin, Derived):
            return DerivedEpoch(self._origin, self._steps, shuffle)
        return DatasetEpoch(self._origin, self._steps, shuffle)

    def _in_order(self, size: int | None, *, copy: bool = True) -> Iterator[Run] | None:
        if isinstance(self._origin, Derived):
            runs = self._origin.in_order(size, copy=copy)
            return runs and self._steps.applied(runs)
        if self._steps.selected is not None and self._origin.has_members_on_servers():
            # A stream would be of all members.
            return None
        return read_in_order(self._origin, self._steps, size, copy=copy)

    def _sequential(self, batch_size: int) -> Iterator[Run] | None:
        if isinstance(self._origin, PositionedShards) and self._origin.tables.are_next_to_shards():
            return None
        # By position, shards without tables would be read twice: first to find their samples.
        return self._in_order(batch_size)

    @property
    def _is_filtered(self) -> bool:
        derived = isinstance(self._origin, Derived) and self._origin.is_filtered
        return derived or self._steps.is_filtered

    @property
    def _skips(self) -> bool:
        return self._steps.skips or (isinstance(self._origin, Derived) and self._origin.skips)

    def _known_samples(self) -> int | None:
        return self._origin.known_samples()

    @property
    def _type_is_known(self) -> bool:
        return self._steps.type_is_known

    def __iter__(self) -> Iterator[T]:
        return iter(self.ordered())
