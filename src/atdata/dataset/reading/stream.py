"""The ways an epoch is read: by places in its order, or, without tables, as it comes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np

from atdata.dataset.reading.buffer_shuffle import ShuffleOrder
from atdata.dataset.reading.epoch import Epoch, Shuffle, runs_of
from atdata.dataset.reading.permutation import VERSION
from atdata.dataset.reading.plan import Plan, Run
from atdata.dataset.reading.random_access import Gather
from atdata.dataset.reading.ranks import Share, left_for, length
from atdata.dataset.reading.state import History, same_or_raise
from atdata.errors import StateError
from atdata.system.once import once

X = TypeVar("X")


class EpochStream(Generic[X]):
    """Reads by places in the order of an epoch.

    Args:
        epoch_of: Makes the epoch, shuffled or not.
        shuffle: How it is shuffled.
        share: Whose samples.
        cut: Makes items of the rows.
        size: Samples of a batch.
    """

    def __init__(
        self,
        epoch_of: Callable[[Shuffle | None], Epoch],
        shuffle: Shuffle | None,
        share: Share,
        cut: Callable[[Iterator[Run]], Iterator[tuple[X, int]]],
        size: int | None,
    ) -> None:
        self._epoch_of = epoch_of
        self._shuffle = shuffle
        self.share = share
        self._cut = cut
        self._size = size

    def __getstate__(self) -> dict[str, Any]:
        # A worker makes the epoch of what decides over it, which is much less to send.
        state = dict(self.__dict__)
        epoch: Epoch | None = state.pop("epoch", None)
        if epoch is not None:
            state["_shuffle"] = epoch.shuffle
        return state

    @once
    def epoch(self) -> Epoch:
        """The epoch; its seed is chosen here, where none was given."""
        return self._epoch_of(self._shuffle)

    def samples_left(self, history: History) -> int:
        """Stored samples that are still to be read."""
        return length(left_for(len(self.epoch), history, self.share))

    def runs(
        self, history: History, *, worker: int = 0, workers: int = 1, single: bool = False
    ) -> Iterator[Run]:
        """What one of several workers reads of it; ``single`` as in `runs_of`."""
        ranges = left_for(len(self.epoch), history, self.share)
        return runs_of(
            self.epoch, ranges, size=self._size, worker=worker, workers=workers, single=single
        )

    def begin(self, history: History) -> Iterator[tuple[X, int]]:
        """See `Stream`."""
        return self._cut(self.runs(history))

    @property
    def version(self) -> int:
        """See `Stream`."""
        return VERSION if self._shuffle is None else self._shuffle.version

    def describe(self) -> dict[str, Any]:
        """See `Stream`."""
        shuffle = self.epoch.shuffle
        return {
            "samples": len(self.epoch),
            "data": self.epoch.fingerprint,
            "shuffle": None if shuffle is None else shuffle.to_json(),
        }

    def adopt(self, state: Mapping[str, Any]) -> None:
        """See `Stream`."""
        said = state.get("shuffle")
        if is_of_buffer(state):
            raise StateError(
                "The state is of a whole dataset that was shuffled in a buffer, for want of sample "
                "tables. Load it into dataset.shuffled(), not split among ranks, until that epoch "
                "ends. batches(), to_torch() and ranks have an order of their own: begin an epoch "
                "with them."
            )
        found = self
        if self._shuffle is not None:
            found = self.in_epoch(self._shuffle.loaded(said, state["atdata_state"]))
        elif said is not None:
            raise StateError("The state is of shuffled samples; these come as they are stored.")
        # Epochs of a mixture differ in length.
        same_or_raise({"samples": len(found.epoch), "data": found.epoch.fingerprint}, state)
        self.__dict__.update(found.__dict__)

    def set_shuffle(self, shuffle: Shuffle | None) -> None:
        """Read another epoch from now on."""
        if shuffle is not None and shuffle != self._shuffle:
            self._shuffle = shuffle
            self.__dict__.pop("epoch", None)

    def in_epoch(self, shuffle: Shuffle | None) -> EpochStream[X]:
        """Another stream of the same samples."""
        made: EpochStream[X] = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made.set_shuffle(shuffle)
        return made


class StoredStream(EpochStream[X]):
    """Reads in the order that samples are stored in; from the start, shard by shard as it is."""

    def __init__(
        self,
        plan: Plan,
        epoch_of: Callable[[Shuffle | None], Epoch],
        share: Share,
        cut: Callable[[Iterator[Run]], Iterator[tuple[X, int]]],
        size: int | None,
        *,
        gather: Gather,
        copy: bool,
    ) -> None:
        super().__init__(epoch_of, None, share, cut, size)
        self._plan = plan
        self._gather = gather
        self._copy = copy

    def begin(self, history: History) -> Iterator[tuple[X, int]]:
        """See `Stream`."""
        if history or self.share.world_size > 1:
            return super().begin(history)
        tables = self._gather.tables
        return self._cut(self._plan.runs(self._size, tables=tables, copy=self._copy))


class BufferStream(Generic[X]):
    """Shuffles what comes in a buffer, where nothing tells how many samples there are.

    Args:
        plan: What is read.
        order: The buffer.
        shuffle: Its seed and epoch.
        cut: Makes items of the rows.
        gather: Keeps what members are not read.
    """

    def __init__(
        self,
        plan: Plan,
        order: ShuffleOrder,
        shuffle: Shuffle,
        cut: Callable[[Iterator[Run]], Iterator[tuple[X, int]]],
        gather: Gather,
    ) -> None:
        self.share = Share()
        self.version = VERSION
        self._gather = gather
        self._plan = plan
        self._order = order
        self._shuffle = shuffle.with_seed()
        self._cut = cut

    def begin(self, history: History) -> Iterator[tuple[X, int]]:
        """See `Stream`. What was read before is read again, and passed over."""
        done = sum(taken if isinstance(taken, int) else sum(taken) for _, taken in history)
        return self._cut(self._runs(done))

    def _runs(self, done: int) -> Iterator[Run]:
        order = replace(self._order, seed=[self._shuffle.seed or 0, self._shuffle.epoch])
        tables = self._gather.tables
        before = 0
        with tables.unread.reading():
            rows_of = [partial(self._plan.rows_of, n, tables) for n in range(len(tables.shards))]
            for rows in order.mix(rows_of):
                skipped = min(len(rows), max(0, done - before))
                left = rows.take(slice(skipped, len(rows))) if skipped else rows
                yield left, np.arange(before + skipped + 1, before + len(rows) + 1) - done
                before += len(rows)

    def describe(self) -> dict[str, Any]:
        """See `Stream`."""
        sizes = {"buffer": [self._order.buffer_samples, self._order.buffer_shards]}
        return {**self._mine(), "shuffle": {**self._shuffle.to_json(), **sizes}}

    def adopt(self, state: Mapping[str, Any]) -> None:
        """See `Stream`."""
        said = dict(state["shuffle"])
        if state.get("data") != self._mine()["data"]:
            raise StateError(
                "The state is of a dataset with other shards, or with shards of other names."
            )
        mine, found = self.describe()["shuffle"]["buffer"], said.pop("buffer")
        if found != mine:
            raise StateError(
                f"The state is of a buffer with [buffer_samples, buffer_shards]={found!r:.80}; "
                f"here it is {mine}. Pass these to shuffled()."
            )
        self._shuffle = self._shuffle.loaded(said, VERSION)

    def _mine(self) -> dict[str, Any]:
        names = "\n".join(self._plan.source.shard_list)
        return {"samples": None, "data": hashlib.sha256(names.encode()).hexdigest()[:16]}


class ShuffledStream(Generic[X]):
    """A permutation or what comes out of a buffer: whichever it begins as or its state is of.

    Args:
        permuted: The one.
        buffered: The other.
        begins: Which of them it is without a state.
    """

    def __init__(
        self,
        permuted: EpochStream[X],
        buffered: BufferStream[X],
        begins: EpochStream[X] | BufferStream[X],
    ) -> None:
        self.share = permuted.share
        self._permuted = permuted
        self._buffered = buffered
        self._stream = begins

    @property
    def version(self) -> int:
        """See `Stream`."""
        return self._stream.version

    def begin(self, history: History) -> Iterator[tuple[X, int]]:
        """See `Stream`."""
        return self._stream.begin(history)

    def describe(self) -> dict[str, Any]:
        """See `Stream`."""
        return self._stream.describe()

    def adopt(self, state: Mapping[str, Any]) -> None:
        """See `Stream`."""
        found = self._buffered if is_of_buffer(state) else self._permuted
        found.adopt(state)
        self._stream = found


def is_of_buffer(state: Mapping[str, Any]) -> bool:
    """Whether a state is of samples that were shuffled in a buffer."""
    shuffle = state.get("shuffle")
    return isinstance(shuffle, dict) and "buffer" in shuffle
