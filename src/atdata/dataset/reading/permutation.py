"""The order of an epoch: a permutation computed window by window, never stored.

Neither NumPy's generators nor Python's promise the same numbers in the next version, and a
state may be loaded then: the numbers here come from splitmix64, which is written out.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from atdata._arrays import Integers, distinct

VERSION: Final = 3
"""Of the order that a seed gives; part of every state."""
SHORT_LAST_WINDOW: Final = 2
"""The version before: all windows but the last one as long as they may be."""
_MASK: Final = 2**64 - 1
BLOCK_BYTES: Final = 16 << 10
"""Bytes of samples that stay together on their way into a window, by default."""
WINDOW_BYTES: Final = 32 << 20
"""Bytes of samples that are mixed with each other, by default: 2,048 blocks."""
LARGE_WINDOW_BYTES: Final = 16 << 20
"""The same for samples that are each a block, which mix no better in larger windows."""
SEQUENTIAL_BYTES: Final = 4 << 20
"""Bytes of samples that are read at once in the order they are stored in."""
_MAX_SAMPLES: Final = 1 << 20
_WINDOWS_KEPT: Final = 2
_NUMBERS_AT_ONCE: Final = 1 << 15
"""Numbers that are made at once: what the processor's cache has room for."""


class Order(Protocol):
    """In which order the samples of a dataset come, in one epoch."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def ascending(self, places: Integers) -> tuple[Integers, Integers]:
        """The positions of the samples at some places of the order, ascending.

        Returns:
            The positions, and for each the index of its place in ``places``; both of shape (n,).
        """
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

    def ascending(self, places: Integers) -> tuple[Integers, Integers]:
        numbers = np.arange(len(places))
        if len(places) > 1 and not (places[1:] > places[:-1]).all():
            numbers = np.argsort(places, kind="stable")
        return places[numbers], numbers

    def piece_end(self, place: int) -> int:
        return min(self.samples, (place // self.piece + 1) * self.piece)


class Permutation:
    """A true permutation of a dataset: blocks permuted globally, then mixed within windows.

    Args:
        counts: Samples of each shard.
        seed: Any whole number.
        epoch: From 0 on.
        block: Samples that are neighbours in a shard and come into the same window.
        window: Most samples that are mixed with each other, where a block is not longer. Windows
            have equally many blocks, or one less, so that the last one mixes as well as the others.
        version: Of the order.
    """

    def __init__(
        self,
        counts: Integers,
        *,
        seed: int,
        epoch: int,
        block: int,
        window: int,
        version: int = VERSION,
    ) -> None:
        self._seed, self._epoch, self._block = seed, epoch, block
        self._ends = np.cumsum(counts)
        self._starts = self._ends - counts
        blocks = (counts + block - 1) // block
        self._first = np.cumsum(blocks) - blocks
        total = int(blocks.sum())
        # Of each block its number alone is kept: small samples come in many millions of blocks.
        self._order = mixed(total, seed, epoch, 0).astype(np.int32 if total < 2**31 else np.int64)
        # Any window may be asked for; none has more blocks than there are.
        most = max(1, min(window // block, total))
        number = -(-total // most)
        if version == SHORT_LAST_WINDOW:
            self._cuts: Integers = np.minimum(np.arange(number + 1) * most, total)
        else:
            self._cuts = -(-np.arange(number + 1) * total // max(1, number))
        lengths = np.diff(self._cuts) * block
        last = (self._first + blocks - 1)[counts > 0]
        places = np.flatnonzero(np.isin(self._order, last))
        short = np.zeros(len(self._first), np.int64)
        short[counts > 0] = (blocks * block - counts)[counts > 0]
        numbers = self._order[places].astype(np.int64)
        windows = np.searchsorted(self._cuts, places, side="right") - 1
        np.subtract.at(lengths, windows, short[self._shard_of(numbers)])
        self._windows: Integers = np.concatenate([[0], np.cumsum(lengths)])
        self._kept: OrderedDict[int, tuple[Integers, Integers]] = OrderedDict()

    def __len__(self) -> int:
        return int(self._windows[-1])

    def ascending(self, places: Integers) -> tuple[Integers, Integers]:
        windows = np.searchsorted(self._windows, places, side="right") - 1
        if not len(places) or windows[0] == windows[-1] == windows.min() == windows.max():
            return self._of_window(int(windows[0]), places) if len(places) else (places, places)
        positions, numbers = np.empty_like(places), np.empty_like(places)
        at = 0
        for window in distinct(windows).tolist():
            mine = np.flatnonzero(windows == window)
            found, which = self._of_window(window, places[mine])
            positions[at : at + len(mine)], numbers[at : at + len(mine)] = found, mine[which]
            at += len(mine)
        # Timsort: these are a few ascending runs.
        order = np.argsort(positions, kind="stable")
        return positions[order], numbers[order]

    def piece_end(self, place: int) -> int:
        return int(self._windows[np.searchsorted(self._windows, place, side="right")])

    def _of_window(self, window: int, places: Integers) -> tuple[Integers, Integers]:
        stored, order = self._window(window)
        chosen = order[places - int(self._windows[window])]
        # Which place each sample of the window has among those asked for: no need to sort.
        number = np.full(len(stored), -1, np.int64)
        number[chosen] = np.arange(len(chosen))
        there = np.flatnonzero(number >= 0)
        if len(there) < len(chosen):
            order = np.argsort(chosen, kind="stable")
            return stored[chosen[order]], order
        return stored[there], number[there]

    def _shard_of(self, numbers: Integers) -> Integers:
        """The shard that each block is in."""
        return np.searchsorted(self._first, numbers, side="right") - 1

    def _window(self, window: int) -> tuple[Integers, Integers]:
        """The samples of a window, ascending, and which of them comes first, second, …"""
        if window not in self._kept:
            first, last = self._cuts[window : window + 2].tolist()
            numbers = np.sort(self._order[first:last]).astype(np.int64)
            shard = self._shard_of(numbers)
            starts = self._starts[shard] + (numbers - self._first[shard]) * self._block
            lengths = np.minimum(self._block, self._ends[shard] - starts)
            before = np.cumsum(lengths) - lengths
            stored = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
            self._kept[window] = stored, mixed(len(stored), self._seed, self._epoch, window + 1)
            while len(self._kept) > _WINDOWS_KEPT:
                self._kept.popitem(last=False)
        return self._kept[window]


def sizes_for(total_bytes: int, samples: int) -> tuple[int, int, int]:
    """Samples of a block, of a window, and of what is read at once in order, by default."""
    each = max(1, total_bytes // max(1, samples))
    large = each > BLOCK_BYTES // 2
    window = LARGE_WINDOW_BYTES if large else WINDOW_BYTES
    sizes = (BLOCK_BYTES, window, SEQUENTIAL_BYTES)
    block, window, piece = (min(_MAX_SAMPLES, max(1, size // each)) for size in sizes)
    return block, window, piece


def mixed(count: int, seed: int, epoch: int, purpose: int) -> Integers:
    """The numbers from 0 to before ``count`` in random order, the same on every machine."""
    # The number takes the lowest bits of its key: no two are equal, and sorting alone,
    # which is much faster than finding out the order, gives the numbers.
    mask = np.uint64((1 << max(1, count - 1).bit_length()) - 1)
    keys = np.empty(count, np.uint64)
    for start in range(0, count, _NUMBERS_AT_ONCE):
        part = keys[start : start + _NUMBERS_AT_ONCE]
        part[:] = scrambled(len(part), seed, epoch, purpose, start)
        part &= ~mask
        part |= np.arange(start, start + len(part), dtype=np.uint64)
    keys.sort()
    keys &= mask
    return keys.view(np.int64)


def scrambled(
    count: int, seed: int, epoch: int, purpose: int, first: int = 0
) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """``count`` numbers of 64 bits, from the ``first`` one of their series on.

    As good as random, and the same on every machine.
    """
    start = 0
    for value in (seed, epoch, purpose):
        start = _mixed((start + value + 0x9E3779B97F4A7C15) & _MASK)
    values = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    # Steps of splitmix64: https://prng.di.unimi.it/splitmix64.c
    values *= np.uint64(0x9E3779B97F4A7C15)
    values += np.uint64(start)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values ^= values >> np.uint64(shift)
        values *= np.uint64(factor)
    values ^= values >> np.uint64(31)
    return values


def _mixed(value: int) -> int:
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)
