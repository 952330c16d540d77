"""Length, positions and shards: which samples a dataset has, and single ones of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, TypeAlias, TypeVar, overload

import numpy as np

from atdata._arrays import AnyArray
from atdata._shardlist import Layout, ShardInfo
from atdata.dataset.named_splits import splits_of
from atdata.dataset.reading.derived import Derived
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.random_access import RandomAccess
from atdata.dataset.reading.ranks import left_of, length, share_of
from atdata.dataset.reading.rows import batch_of
from atdata.dataset.reading.steps import Steps
from atdata.dataset.reading.subscripts import positions_of
from atdata.dataset.trainable import Trainable
from atdata.errors import LengthError, OptionError
from atdata.samples.batch import SampleBatch
from atdata.shards.layouts.sniff import layout_of
from atdata.shards.tar.window import open_window
from atdata.system.forks import importing

if TYPE_CHECKING:
    from atdata.shards.writer import PackedSample

T = TypeVar("T")

Origin: TypeAlias = PositionedShards | Derived
"""What a dataset reads: shards, or samples of other datasets."""


class Counted(Trainable[T]):
    """What samples there are."""

    _origin: Origin
    _steps: Steps

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
        positions = positions_of(index, self._origin.samples)
        if isinstance(self._origin, Derived):
            rows, _ = self._steps.apply(self._origin.rows(positions))
        else:
            access = RandomAccess(self._origin, self._steps.codec)
            if self._steps.is_plain and isinstance(index, int | np.integer):
                stored: T = access.one(int(positions[0]))
                return stored
            rows, _ = self._steps.apply(access.rows(positions))
        if isinstance(index, int | np.integer):
            sample: T = rows.samples()[0]
            return sample
        return batch_of(self._sample_type, [rows], type_is_known=self._type_is_known)

    def by_key(self, key: str) -> T:
        """The sample with this key; of several shards that have it, the first one's.

        Raises:
            SampleNotFoundError: No sample has it (a KeyError).
            LengthError: The dataset is filtered or split, or its samples were chosen from another.
            OptionError: Not a str.
        """
        self._check_countable("keys")
        if isinstance(self._origin, Derived):
            return self[self._origin.position_of(key)]
        rows, _ = self._steps.apply(RandomAccess(self._origin, self._steps.codec).by_key(key))
        sample: T = rows.samples()[0]
        return sample

    def _check_countable(self, what: str) -> None:
        if self._is_filtered:
            raise LengthError(
                f"A filtered dataset has no {what} until it is read. "
                "Count what stays with: sum(1 for _ in dataset)."
            )
        if self._share.world_size > 1 and what != "length":
            raise LengthError(f"A rank's part has no {what} of its own: ask the whole dataset.")

    def packed(self, layout: Layout | None = "msgpack") -> Iterator[PackedSample]:
        """Each sample's key and bytes, its shard's number and split: those samples that
        iterating gives, in the same order, of a rank's part as well.

        Stored samples are checked against their type and passed on byte for byte; those that
        went through filter, map or a lens are packed again.

        Args:
            layout: As for `write_samples`; None: the layout of each sample's shard.
        """
        with importing():
            from atdata.dataset.reading.packed import packed, packed_by_position

        if isinstance(self._origin, Derived):
            yield from packed_by_position(
                self._epoch(None), self._sample_type, self._share, layout or "msgpack"
            )
            return
        splits = splits_of(self.known_shards())
        yield from packed(self._origin, self._steps, self._sample_type, splits, self._share, layout)

    @property
    def layout(self) -> Layout:
        """How samples lie in the first shard: one msgpack member each, or WebDataset's members.

        Reads its first headers. Of a dataset that is made of others, one msgpack member each.

        Raises:
            SourceError: It cannot be read.
        """
        if isinstance(self._origin, Derived):
            return "msgpack"
        with closing(self._origin.each[0].open()) as stream:
            return layout_of(open_window(stream))

    def known_shards(self) -> tuple[ShardInfo, ...]:
        """Every shard with what is known of it without reading any."""
        return tuple(shard.recorded for shard in self._origin.each)

    def describe_shards(self) -> tuple[ShardInfo, ...]:
        """Every shard; those that are local files read for samples, bytes and SHA-256.

        Raises:
            ShardError: One is damaged.
        """
        if isinstance(self._origin, Derived):
            return self._origin.describe_shards()
        unread = self._origin.unread
        shards = tuple(shard.described(unread) for shard in self._origin.each)
        unread.warn()
        self._origin.known.update((shard.url, shard) for shard in shards)
        return shards

    @property
    def shard_list(self) -> list[str]:
        """Identifier of every shard, in reading order."""
        return [shard.name for shard in self._origin.each]

    def _known_type(self, verb: str) -> type[T]:
        """The type of the samples.

        Raises:
            OptionError: A function given to map() made them, and nothing says it.
        """
        if not self._type_is_known:
            raise OptionError(
                f"{verb}: nothing says of which type these samples are. Declare it before: "
                "map(function, sample_type=…)."
            )
        return self._sample_type

    def __bool__(self) -> bool:
        # Without this, `if dataset:` would read every shard to count the samples.
        return True

    def __len__(self) -> int:
        """Number of samples: as recorded, as the shards' tables say, or counted in local shards.

        `list` and progress bars ask for it, so shards on servers are never read for it.

        Raises:
            LengthError: The dataset is filtered; how many stay is known after reading only. Or
                only reading shards on servers would tell; `count` does that. A TypeError, after
                which `list` and progress bars go without.
        """
        self._check_countable("length")
        return self._length(self._origin.known_samples())

    def count(self) -> int:
        """Number of samples, as `len`; shards on servers that have no table are read for it.

        Once: afterwards `len` is known, and so are positions.

        Raises:
            LengthError: The dataset is filtered.
            ShardError: A shard is damaged.
            SourceError: One cannot be read.
        """
        self._check_countable("length")
        found = self._origin.known_samples()
        return self._length(self._origin.samples if found is None else found)

    def _length(self, whole: int | None) -> int:
        if whole is None:
            raise LengthError(
                "How many samples there are is not recorded, and nothing but reading every shard "
                "would tell. dataset.count() does that; sum(1 for _ in dataset) counts in passing."
            )
        return length(share_of(left_of(whole, []), self._share))
