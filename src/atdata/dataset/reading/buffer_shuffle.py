"""Shuffling without tables: shards in random order, their samples mixed in a buffer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from atdata.dataset.reading.in_order import read_shard
from atdata.dataset.reading.rows import Run, SampleRows
from atdata.dataset.reading.shards import Shards
from atdata.dataset.reading.steps import Steps
from atdata.errors import OptionError, StateError
from atdata.system.forks import load_module

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
