"""Shuffling without tables: shards in random order, their samples mixed in a buffer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from atdata.dataset.reading.rows import SampleRows
from atdata.errors import OptionError

DEFAULT_BUFFER_SAMPLES: Final = 10_000
DEFAULT_BUFFER_SHARDS: Final = 8


@dataclass(frozen=True, slots=True)
class ShuffleOrder:
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
        random = np.random.default_rng(self.seed)
        held: list[Any] = []
        count = 0
        for rows in self._interleave(shards, random):
            held.append(rows)
            count += len(rows)
            if count >= self.buffer_samples:
                # Half stays behind, so that each sample meets those of later rows.
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
