"""One epoch: samples by position in its order, prefetched."""

from __future__ import annotations

import os
import secrets
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Final, Protocol

import numpy as np

from atdata._arrays import Indices, Integers
from atdata.dataset.reading.mixed_rows import Fetched
from atdata.dataset.reading.permutation import VERSION, Order, Permutation, Stored, sizes_for
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.random_access import RandomAccess
from atdata.dataset.reading.ranks import Ranges, cut
from atdata.dataset.reading.rows import Rows, Run
from atdata.dataset.reading.steps import Steps
from atdata.errors import OptionError, StateError
from atdata.system.forks import once

_ROWS_AT_ONCE: Final = 4096
"""Rows that are decoded together if samples are read one by one."""
_FIRST_SAMPLES: Final = 64
"""Samples that are read first, so that the first one comes soon."""
_MAX_BLOCK_SAMPLES: Final = 2**32
"""Many more than a block has by default; the blocks of all shards together stay below 2**63."""


@dataclass(frozen=True, slots=True)
class Shuffle:
    """How an epoch is shuffled."""

    seed: int | None = None
    """None: chosen when reading begins."""
    epoch: int = 0
    block: int | None = None
    """Samples that stay neighbours on their way into a window; None: about 16 kB of them."""
    window: int | None = None
    """Samples that are mixed with each other; None: about 32 MB of them."""
    version: int = VERSION
    """Of the order that a seed gives."""

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("epoch", 0), ("block", 1), ("window", 1)):
            value = getattr(self, name)
            if value is None and name != "epoch":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"{name}={value!r}: expected a whole number from {least} on.")
        if self.block is not None and self.block > _MAX_BLOCK_SAMPLES:
            raise OptionError(f"block={self.block}: expected {_MAX_BLOCK_SAMPLES} at most.")

    def with_seed(self) -> Shuffle:
        """The same, with a seed."""
        return self if self.seed is not None else replace(self, seed=secrets.randbits(48))

    def to_json(self) -> dict[str, Any]:
        """For a state."""
        return {
            "seed": self.seed,
            "epoch": self.epoch,
            "block": self.block,
            "window": self.window,
        }

    def following(self, epoch: int | None = None) -> Shuffle:
        """The same in another epoch, by default the next, with the newest version of the order."""
        return replace(self, epoch=self.epoch + 1 if epoch is None else epoch, version=VERSION)

    def loaded(self, data: Any, version: int) -> Shuffle:
        """The shuffle of a state, which must have this one's seed where one was given.

        Args:
            data: What `to_json` gave.
            version: Of the state's order.

        Raises:
            StateError: It has not, or is no shuffle.
        """
        if not isinstance(data, dict) or set(data) != set(self.to_json()):
            raise StateError("The state is of samples in the order they are stored in.")
        try:
            found = Shuffle(**data, version=version)
        except OptionError as error:
            raise StateError(f"The state is not one of ours: {error}") from None
        if found.seed is None or self.seed not in (None, found.seed):
            raise StateError(f"The state is of seed={found.seed}; here it is seed={self.seed}.")
        return found


class Epoch(Protocol):
    """The samples of an epoch, in its order.

    A *place* is an index into that order, a *position* one into the dataset.
    """

    def __len__(self) -> int:
        """Number of stored samples."""
        ...

    def check_sendable(self) -> None:
        """See `Steps.check_sendable`."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash that differs for other samples."""
        ...

    @property
    def shuffle(self) -> Shuffle | None:
        """How it is shuffled, sizes included."""
        ...

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Samples of a block, of a window, and of what is read at once in order, by default."""
        ...

    @property
    def at_once(self) -> int:
        """Samples that are best decoded together: what the processor's cache has room for."""
        ...

    def piece_end(self, place: int) -> int:
        """Where the samples end that are best read together with the one at ``place``."""
        ...

    def fetch(self, places: Integers) -> Any:
        """Read samples; in a thread of its own."""
        ...

    def finish(self, fetched: Any, part: Indices) -> tuple[Rows, Integers]:
        """Part of what was fetched, steps applied, and the indices of rows that filters kept."""
        ...


class PermutedEpoch(ABC):
    """An epoch whose order is a permutation of positions; see `Epoch`.

    Args:
        steps: The steps applied to samples.
        shuffle: How it is shuffled; None: in the order of positions.
    """

    def __init__(self, steps: Steps, shuffle: Shuffle | None) -> None:
        self._steps = steps
        self._shuffle = shuffle

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def sizes(self) -> tuple[int, int, int]:
        """See `Epoch`."""

    @property
    @abstractmethod
    def _counts(self) -> Integers:
        """Samples of each run of positions that a block does not reach beyond."""

    @once
    def shuffle(self) -> Shuffle | None:
        """See `Epoch`."""
        if self._shuffle is None:
            return None
        block, window, _ = self.sizes
        asked = self._shuffle.with_seed()
        window = asked.window or window
        # A small window would hold a few blocks only, and mix badly.
        block = asked.block or max(1, min(block, window // 64))
        return replace(asked, block=block, window=window)

    @once
    def order(self) -> Order:
        """The order."""
        chosen = self.shuffle
        if chosen is None:
            return Stored(len(self), self.sizes[2])
        assert chosen.seed is not None
        assert chosen.block is not None
        assert chosen.window is not None
        return Permutation(
            self._counts,
            seed=chosen.seed,
            epoch=chosen.epoch,
            block=chosen.block,
            window=chosen.window,
            version=chosen.version,
        )

    @property
    def at_once(self) -> int:
        """See `Epoch`."""
        return min(_ROWS_AT_ONCE, self.sizes[2])

    def piece_end(self, place: int) -> int:
        """See `Epoch`."""
        return self.order.piece_end(place)


class DatasetEpoch(PermutedEpoch):
    """An epoch of the samples of shards.

    Args:
        shards: The shards.
        steps: The steps applied to samples.
        shuffle: How it is shuffled; None: in the order in which samples are stored.
    """

    def __init__(self, shards: PositionedShards, steps: Steps, shuffle: Shuffle | None) -> None:
        super().__init__(steps, shuffle)
        self._shards = shards

    def __len__(self) -> int:
        return self._shards.samples

    def check_sendable(self) -> None:
        """See `Epoch`."""
        self._steps.check_sendable()

    @property
    def fingerprint(self) -> str:
        """See `Epoch`."""
        len(self)
        return self._shards.tables.fingerprint()

    @once
    def sizes(self) -> tuple[int, int, int]:
        """See `Epoch`."""
        samples = len(self)
        return sizes_for(self._shards.tables.total_bytes(), samples)

    @property
    def _counts(self) -> Integers:
        return np.diff(self._shards.ends, prepend=0)

    def fetch(self, places: Integers) -> Fetched:
        """See `Epoch`."""
        access = RandomAccess(self._shards, self._steps.codec)
        return access.ascending(*self.order.ascending(places))

    def finish(self, fetched: Fetched, part: Indices) -> tuple[Rows, Integers]:
        """See `Epoch`."""
        return self._steps.apply(fetched.take(part))


def read_epoch(
    epoch: Epoch,
    ranges: Ranges,
    *,
    size: int | None,
    worker: int = 0,
    workers: int = 1,
    single: bool = False,
) -> Iterator[Run]:
    """The rows at some places of an epoch, in their order.

    Args:
        epoch: The epoch.
        ranges: The places.
        size: Samples of a batch: workers take turns by them, and runs end where they do, but for
            the last run of what is read together.
        worker: Number of this worker.
        workers: Number of workers.
        single: Whether each run is the stored samples of one batch, even if none is left.
    """
    step = size or 1
    most = step if single else max(1, epoch.at_once // step) * step
    first = max(step * workers, _FIRST_SAMPLES)
    pieces = _pieces(epoch, ranges, step, worker, workers, first=first, whole=single)
    places, following = next(pieces, (None, None))
    if places is not None and following is not None and len(places) < _rest(epoch, ranges):
        # Nothing else is read during a small first piece, so that the first batch comes soon.
        fetched, samples_taken = epoch.fetch(places), following
        for at in _cuts(samples_taken, step, most):
            yield _finished(epoch, fetched, at, samples_taken)
        places, following = next(pieces, (None, None))
    with closing(_Ahead(epoch)) as ahead:
        if places is not None:
            ahead.begin(places)
        while places is not None and following is not None:
            # Nothing of the last piece is held while the one after the next is read.
            fetched, samples_taken = None, following
            fetched = ahead.result()
            places, following = next(pieces, (None, None))
            if places is not None:
                ahead.begin(places)
            for at in _cuts(samples_taken, step, most):
                yield _finished(epoch, fetched, at, samples_taken)


def _rest(epoch: Epoch, ranges: Ranges) -> int:
    """Samples from the first place to where it is best to read to."""
    return epoch.piece_end(ranges[0][0]) - ranges[0][0]


class _Ahead:
    """Fetches one piece while another is used. A forked child fetches it again.

    Args:
        epoch: What is read.
    """

    def __init__(self, epoch: Epoch) -> None:
        self._epoch = epoch
        self._pid = os.getpid()
        self._pool = ThreadPoolExecutor(1, "atdata-ahead")
        self._places: Integers | None = None
        self._waiting: Future[Any] | None = None

    def begin(self, places: Integers) -> None:
        """Fetch these, in a thread."""
        self._places = places
        self._waiting = self._pool.submit(self._epoch.fetch, places)

    def result(self) -> Any:
        """What was fetched; nothing of it is held here afterwards."""
        assert self._places is not None
        if self._pid != os.getpid():
            # A fork does not copy threads.
            self._pid, self._pool = os.getpid(), ThreadPoolExecutor(1, "atdata-ahead")
            self.begin(self._places)
        waiting, self._waiting = self._waiting, None
        assert waiting is not None
        return waiting.result()

    def close(self) -> None:
        """Wait for what is being fetched."""
        if self._pid == os.getpid():
            self._pool.shutdown()


def _finished(epoch: Epoch, fetched: Any, part: slice, samples_taken: Integers) -> Run:
    rows, kept = epoch.finish(fetched, part)
    return rows, samples_taken[part][kept]


def _cuts(samples_taken: Integers, size: int, most: int) -> Iterator[slice]:
    """Parts of at most ``most`` rows that end where a batch of ``size`` does."""
    at = 0
    while at < len(samples_taken):
        end = at + min(len(samples_taken) - at, most - (int(samples_taken[at]) - 1) % size)
        yield slice(at, end)
        at = end


def _pieces(
    epoch: Epoch,
    ranges: Ranges,
    step: int,
    worker: int,
    workers: int,
    *,
    first: int,
    whole: bool,
) -> Iterator[tuple[Integers, Integers]]:
    """Places that are read together; with each, the samples taken once it is read.

    Args:
        epoch: The epoch.
        ranges: All places.
        step: Samples of a batch.
        worker: Number of the worker that reads them.
        workers: Number of workers.
        first: Most samples of the first piece.
        whole: Whether a piece ends where a batch does, so that every batch is within one.
    """
    ends = list(accumulate(stop - start for start, stop in ranges))
    total, before, most = ends[-1] if ends else 0, 0, first
    while before < total:
        # After ranks that stopped in the middle of their parts, there are many ranges.
        number = bisect_right(ends, before)
        start, stop = ranges[number]
        skipped = ends[number] - (stop - start)
        start += before - skipped
        end = min(before + min(stop, epoch.piece_end(start)) - start, before + most)
        if whole:
            end = min(total, -(-end // step) * step)
        some = ranges[number : bisect_left(ends, end) + 1]
        of_piece = cut(some, before - skipped, end - skipped)
        places = np.concatenate([np.arange(*part) for part in of_piece])
        samples_taken = np.arange(before, end)
        if workers > 1:
            mine = samples_taken // step % workers == worker
            places, samples_taken = places[mine], samples_taken[mine]
        if len(places):
            yield places, samples_taken + 1
        before = end
        # Small at first, so that the first batch comes soon; then as large as is best.
        most *= 64
