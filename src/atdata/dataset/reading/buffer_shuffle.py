"""Shuffling without tables: shards in random order, their samples mixed in a buffer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Generic, TypeVar

import numpy as np

from atdata.dataset.reading.epoch import Shuffle
from atdata.dataset.reading.in_order import read_shard
from atdata.dataset.reading.permutation import VERSION
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.ranks import Share
from atdata.dataset.reading.rows import ItemsOf, Run, SampleRows
from atdata.dataset.reading.shards import Shards
from atdata.dataset.reading.state import History, is_of_buffer
from atdata.dataset.reading.steps import Steps
from atdata.dataset.reading.stream import EpochStream, in_epoch
from atdata.errors import OptionError, StateError
from atdata.system.forks import load_module

X = TypeVar("X")

DEFAULT_BUFFER_SAMPLES: Final = 10_000
DEFAULT_BUFFER_SHARDS: Final = 8


@dataclass(frozen=True, slots=True)
class ShuffleBuffer:
    """Shards in random order, several read at a time, their samples mixed in a buffer."""

    buffer_samples: int = DEFAULT_BUFFER_SAMPLES
    """Samples held and drawn from at random; the memory that shuffling takes."""
    buffer_shards: int = DEFAULT_BUFFER_SHARDS
    """Shards that are open and read in turn."""
    seed: list[int] | None = None
    """Same numbers, same order, every time; None: another order each time."""

    def __post_init__(self) -> None:
        for name in ("buffer_samples", "buffer_shards"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; it must be 1 or more.")

    def mix(self, shards: Sequence[Callable[[], Iterator[Any]]]) -> Iterator[Any]:
        """Rows of all shards in random order.

        Args:
            shards: For each shard, a function that begins to read its rows.

        Yields:
            Rows; each sample of each shard exactly once.
        """
        random: np.random.Generator = load_module("numpy.random").default_rng(self.seed)
        held: list[Any] = []
        count = 0
        for rows in self._interleave(shards, random):
            held.append(rows)
            count += len(rows)
            if count >= self.buffer_samples:
                # Half stays, so that each sample meets those of later rows.
                out, held = _draw(held, count - self.buffer_samples // 2, random)
                count = self.buffer_samples // 2
                yield from out
        if held:
            yield from _draw(held, count, random)[0]

    def _interleave(
        self, shards: Sequence[Callable[[], Iterator[Any]]], random: np.random.Generator
    ) -> Iterator[Any]:
        waiting = [shards[i] for i in random.permutation(len(shards))][::-1]
        reading: list[Iterator[Any]] = []
        try:
            while waiting or reading:
                while waiting and len(reading) < self.buffer_shards:
                    reading.append(waiting.pop()())
                at = int(random.integers(len(reading)))
                rows = next(reading[at], None)
                if rows is None:
                    reading.pop(at)
                else:
                    yield rows
        finally:
            for stream in reading:
                close = getattr(stream, "close", None)
                if close is not None:
                    close()


def read_through_buffer(
    shards: Shards, steps: Steps, buffer: ShuffleBuffer, done: int = 0
) -> Iterator[Run]:
    """Every row in random order, without tables.

    Args:
        shards: What is read.
        steps: What is done to it.
        buffer: What it is mixed in.
        done: Rows that were read before, and are skipped.

    Raises:
        StateError: There are fewer rows than that.
    """
    before = 0
    with shards.unread.reading():
        each = [partial(read_shard, shards, shard.number, steps) for shard in shards.each]
        for rows in buffer.mix(each):
            skipped = min(len(rows), max(0, done - before))
            left = rows.take(slice(skipped, len(rows))) if skipped else rows
            yield left, np.arange(before + skipped + 1, before + len(rows) + 1) - done
            before += len(rows)
    if before < done:
        raise StateError(
            f"The state is of an epoch of which {done} samples were read, and there are {before}: "
            "it is damaged, or the shards or the steps are others. Begin another epoch."
        )


def _draw(
    held: Sequence[Any], count: int, random: np.random.Generator
) -> tuple[list[Any], list[Any]]:
    """Take ``count`` random rows out of ``held``: those, in random order, and what is left."""
    keys = [key for rows in held for key in rows.keys]
    samples = [sample for rows in held for sample in rows.samples()]
    order = random.permutation(len(samples))
    everything = SampleRows(keys, samples)
    taken, left = everything.take(order[:count]), everything.take(order[count:])
    return ([taken] if len(taken) else []), ([left] if len(left) else [])


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
    shards: PositionedShards,
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
