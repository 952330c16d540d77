"""The stream of an epoch: how its rows are read, and what its state has to agree with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeAlias, TypeVar

from atdata.dataset.reading.buffer_shuffle import ShuffleBuffer, read_through_buffer
from atdata.dataset.reading.epoch import Epoch, Shuffle, read_epoch
from atdata.dataset.reading.permutation import VERSION
from atdata.dataset.reading.ranks import Share, check_history, left_for, length
from atdata.dataset.reading.rows import OfEpoch, Run
from atdata.dataset.reading.shards import Shards
from atdata.dataset.reading.state import History, same_or_raise
from atdata.dataset.reading.steps import Steps
from atdata.errors import StateError
from atdata.system.once import once

X = TypeVar("X")


ItemsOf: TypeAlias = Callable[[Iterator[Run]], Iterator[tuple[X, int]]]
"""Makes samples or batches of runs of rows: each item, with the number of stored samples used up
by then."""
SequentialRead: TypeAlias = Callable[[], "Iterator[Run] | None"]
"""Reads everything from its start, in stored order; None: reading by position is faster."""


def in_epoch(items_of: ItemsOf[X], shuffle: Shuffle | None) -> ItemsOf[X]:
    """What makes items in an epoch; see `OfEpoch`."""
    if not isinstance(items_of, OfEpoch):
        return items_of
    if shuffle is None:
        return items_of.in_epoch(0, 0)
    return items_of.in_epoch(shuffle.seed or 0, shuffle.epoch)


class EpochStream(Generic[X]):
    """Reads an epoch by position: its order decides which sample comes next.

    Args:
        epoch_of: Makes the epoch of a shuffle; of None, the one in stored order.
        shuffle: How it is shuffled.
        share: Which rank's samples.
        items_of: Makes samples or batches of the rows.
        size: Samples in a batch; None: one by one.
        sequential: Reads a whole epoch that is not shuffled, from its start.
    """

    def __init__(
        self,
        epoch_of: Callable[[Shuffle | None], Epoch],
        shuffle: Shuffle | None,
        share: Share,
        items_of: ItemsOf[X],
        size: int | None,
        *,
        sequential: SequentialRead | None = None,
    ) -> None:
        self._epoch_of = epoch_of
        self._shuffle = shuffle
        self.share = share
        self.items_of = items_of
        self._size = size
        self._sequential = sequential

    def __getstate__(self) -> dict[str, Any]:
        # A worker makes the epoch again from its seed, which is much less to send.
        state = dict(self.__dict__)
        epoch: Epoch | None = state.pop("epoch", None)
        if epoch is not None:
            state["_shuffle"] = epoch.shuffle
        return state

    @once
    def epoch(self) -> Epoch:
        """The epoch; if no seed was given, one is chosen here."""
        return self._epoch_of(self._shuffle)

    def samples_left(self, history: History) -> int:
        """Stored samples that are still to be read."""
        return length(left_for(len(self.epoch), history, self.share))

    def runs(
        self, history: History, *, worker: int = 0, workers: int = 1, single: bool = False
    ) -> Iterator[Run]:
        """The runs that one of several workers reads; ``single`` as in `read_epoch`."""
        ranges = left_for(len(self.epoch), history, self.share)
        return read_epoch(
            self.epoch, ranges, size=self._size, worker=worker, workers=workers, single=single
        )

    def begin(self, history: History) -> Iterator[tuple[X, int]]:
        """Samples or batches from where the history ends."""
        from_start = self._sequential and not history and self.share.world_size == 1
        found = self._sequential() if self._sequential and from_start else None
        items_of = in_epoch(self.items_of, self.epoch.shuffle)
        return items_of(self.runs(history) if found is None else found)

    @property
    def version(self) -> int:
        """Version of the order."""
        return VERSION if self._shuffle is None else self._shuffle.version

    def describe(self) -> dict[str, Any]:
        """What a state has to agree with, as JSON."""
        shuffle = self.epoch.shuffle
        return {
            "samples": len(self.epoch),
            "data": self.epoch.fingerprint,
            "shuffle": None if shuffle is None else shuffle.to_json(),
        }

    def adopt(self, state: Mapping[str, Any], history: History) -> None:
        """Continue as a state says. A StateError changes nothing."""
        said = state.get("shuffle")
        if is_of_buffer(state):
            raise StateError(
                "The state is of a whole dataset that was shuffled in a buffer, since it has no "
                "sample tables. Load it into dataset.shuffled(), not split among ranks, until that "
                "epoch ends. batches(), to_torch() and ranks have an order of their own: begin an "
                "epoch with them."
            )
        found = self
        if self._shuffle is not None:
            found = self.in_epoch(self._shuffle.loaded(said, state["atdata_state"]))
        elif said is not None:
            raise StateError("The state is of shuffled samples; these come as they are stored.")
        # Epochs of a mixture differ in length.
        same_or_raise({"samples": len(found.epoch), "data": found.epoch.fingerprint}, state)
        check_history(len(found.epoch), history)
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


class BufferStream(Generic[X]):
    """Shuffles in a buffer: for shards without tables, whose number of samples is unknown.

    Args:
        shards: The shards.
        steps: The steps applied to samples.
        buffer: The buffer.
        shuffle: Its seed and epoch.
        items_of: Makes samples or batches of the rows.
    """

    def __init__(
        self,
        shards: Shards,
        steps: Steps,
        buffer: ShuffleBuffer,
        shuffle: Shuffle,
        items_of: ItemsOf[X],
    ) -> None:
        self.share = Share()
        self.version = VERSION
        self._shards = shards
        self._steps = steps
        self._buffer = buffer
        self._asked = shuffle
        self._shuffle = shuffle.with_seed()
        self._items_of = items_of

    def begin(self, history: History) -> Iterator[tuple[X, int]]:
        """Begin where the history ends: what was read before is read again, and skipped."""
        done = sum(taken if isinstance(taken, int) else sum(taken) for _, taken in history)
        buffer = replace(self._buffer, seed=[self._shuffle.seed or 0, self._shuffle.epoch])
        items_of = in_epoch(self._items_of, self._shuffle)
        return items_of(read_through_buffer(self._shards, self._steps, buffer, done))

    def describe(self) -> dict[str, Any]:
        """What a state has to agree with, as JSON."""
        sizes = {"buffer": [self._buffer.buffer_samples, self._buffer.buffer_shards]}
        return {**self._mine(), "shuffle": {**self._shuffle.to_json(), **sizes}}

    def adopt(self, state: Mapping[str, Any], history: History) -> None:
        """Continue as a state says. A StateError changes nothing."""
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
        if any(world_size != 1 or not isinstance(taken, int) for world_size, taken in history):
            raise StateError("The state is damaged: a buffer is not split among ranks.")
        # A seed that was chosen here gives way to that of the state, as for a permutation.
        self._asked = self._shuffle = self._asked.loaded(said, VERSION)

    def _mine(self) -> dict[str, Any]:
        names = "\n".join(shard.name for shard in self._shards.each)
        return {"samples": None, "data": hashlib.sha256(names.encode()).hexdigest()[:16]}


class ShuffledStream(Generic[X]):
    """A permutation or a buffer: as it begins, or as the state that is loaded was saved.

    Args:
        permuted: The permutation.
        buffered: The buffer.
        begins: Which of the two is read if no state is loaded.
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
        """Version of the order."""
        return self._stream.version

    def begin(self, history: History) -> Iterator[tuple[X, int]]:
        """Samples or batches from where the history ends."""
        return self._stream.begin(history)

    def describe(self) -> dict[str, Any]:
        """What a state has to agree with, as JSON."""
        return self._stream.describe()

    def adopt(self, state: Mapping[str, Any], history: History) -> None:
        """Continue as a state says. A StateError changes nothing."""
        found = self._buffered if is_of_buffer(state) else self._permuted
        found.adopt(state, history)
        self._stream = found


def shuffled_stream(
    permuted: EpochStream[X],
    shards: Shards,
    steps: Steps,
    buffer: ShuffleBuffer,
    shuffle: Shuffle,
) -> EpochStream[X] | ShuffledStream[X]:
    """A permutation, or, where shards have no tables and are not split, a buffer."""
    share = permuted.share
    if share.world_size > 1:
        return permuted
    buffered = BufferStream(shards, steps, buffer, shuffle, permuted.items_of)
    # One rank reads in the order of many, so that many can resume where it stopped.
    is_permuted = share.is_split or shards.tables.are_next_to_shards()
    return ShuffledStream(permuted, buffered, permuted if is_permuted else buffered)


def is_of_buffer(state: Mapping[str, Any]) -> bool:
    """Whether a state was saved while reading through a shuffle buffer."""
    shuffle = state.get("shuffle")
    return isinstance(shuffle, dict) and "buffer" in shuffle
