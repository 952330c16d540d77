"""The order of an epoch as a permutation that is computed, window by window, never stored.

Neither NumPy's generators nor Python's promise the same numbers in the next version, and a
state may be loaded then: the numbers here come from splitmix64, which is written out.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

_MASK: Final = 2**64 - 1
BLOCK_BYTES: Final = 32 << 10
"""Bytes of samples that stay together on their way into a window, by default."""
WINDOW_BYTES: Final = 64 << 20
"""Bytes of samples that are mixed with each other, by default."""
SEQUENTIAL_BYTES: Final = 4 << 20
"""Bytes of samples that are read at once in the order they are stored in."""
_MOST: Final = 1 << 20
_WINDOWS_KEPT: Final = 2


class Order(Protocol):
    """In which order the samples of a dataset come, in one epoch."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def positions(self, places: Integers) -> Integers:
        """Where in the dataset the samples at these places of the order are."""
        ...

    def piece_end(self, place: int) -> int:
        """Where the samples end that are best read together with the one at ``place``."""
        ...


@dataclass(frozen=True, slots=True)
class Stored:
    """The order in which samples are stored.

    Args:
        samples: Number of samples.
        piece: Samples that are read at once.
    """

    samples: int
    piece: int

    def __len__(self) -> int:
        return self.samples

    def positions(self, places: Integers) -> Integers:
        return places

    def piece_end(self, place: int) -> int:
        return min(self.samples, (place // self.piece + 1) * self.piece)


class Permutation:
    """A true permutation of a dataset: blocks permuted globally, then mixed within windows.

    Args:
        counts: Samples of each shard.
        seed: Any whole number.
        epoch: From 0 on.
        block: Samples that are neighbours in a shard and come into the same window.
        window: Samples that are mixed with each other, about.
    """

    def __init__(self, counts: Integers, *, seed: int, epoch: int, block: int, window: int) -> None:
        self._seed, self._epoch = seed, epoch
        ends = np.cumsum(counts)
        blocks = (counts + block - 1) // block
        shard = np.repeat(np.arange(len(counts)), blocks)
        number = np.arange(int(blocks.sum())) - np.repeat(np.cumsum(blocks) - blocks, blocks)
        starts = (ends - counts)[shard] + number * block
        stops = np.minimum(starts + block, ends[shard])
        order = np.argsort(scrambled(len(starts), seed, epoch, 0), kind="stable")
        self._starts, self._lengths = starts[order], (stops - starts)[order]
        self._per_window = max(1, window // block)
        places = np.concatenate([[0], np.cumsum(self._lengths)])
        self._windows: Integers = np.append(places[: -1 : self._per_window], places[-1])
        self._kept: OrderedDict[int, Integers] = OrderedDict()

    def __len__(self) -> int:
        return int(self._windows[-1])

    def positions(self, places: Integers) -> Integers:
        out = np.empty(len(places), np.int64)
        windows = np.searchsorted(self._windows, places, side="right") - 1
        for window in np.unique(windows).tolist():
            of = windows == window
            out[of] = self._window(window)[places[of] - int(self._windows[window])]
        return out

    def piece_end(self, place: int) -> int:
        return int(self._windows[np.searchsorted(self._windows, place, side="right")])

    def _window(self, window: int) -> Integers:
        if window not in self._kept:
            blocks = slice(window * self._per_window, (window + 1) * self._per_window)
            starts, lengths = self._starts[blocks], self._lengths[blocks]
            first = np.cumsum(lengths) - lengths
            inside = np.arange(int(lengths.sum())) + np.repeat(starts - first, lengths)
            order = np.argsort(
                scrambled(len(inside), self._seed, self._epoch, window + 1), kind="stable"
            )
            self._kept[window] = inside[order]
            while len(self._kept) > _WINDOWS_KEPT:
                self._kept.popitem(last=False)
        return self._kept[window]


def sizes_for(total_bytes: int, samples: int) -> tuple[int, int, int]:
    """Samples of a block, of a window, and of what is read at once in order, by default."""
    each = max(1, total_bytes // max(1, samples))
    block, window, piece = (
        min(_MOST, max(1, size // each)) for size in (BLOCK_BYTES, WINDOW_BYTES, SEQUENTIAL_BYTES)
    )
    return block, window, piece


def scrambled(
    count: int, seed: int, epoch: int, purpose: int
) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """``count`` numbers of 64 bits, as good as random, the same on every machine."""
    start = 0
    for value in (seed, epoch, purpose):
        start = _mixed((start + value + 0x9E3779B97F4A7C15) & _MASK)
    values = np.arange(1, count + 1, dtype=np.uint64)
    # Steps of splitmix64: https://prng.di.unimi.it/splitmix64.c
    values *= np.uint64(0x9E3779B97F4A7C15)
    values += np.uint64(start)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values ^= values >> np.uint64(shift)
        values *= np.uint64(factor)
    return values ^ (values >> np.uint64(31))


def _mixed(value: int) -> int:
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)
