"""Shards open to be read by position: as files, ranges or copies."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from atdata._arrays import Bytes, Integers
from atdata.capabilities import ByteRanges
from atdata.dataset.reading.open_files import keep_open
from atdata.dataset.reading.shards import Shard
from atdata.errors import IntegrityError
from atdata.sources.byte_ranges import FileBytes, NoRangesError
from atdata.system.forks import ForkLock

_REQUESTS_AT_ONCE: Final = 16
"""Ranges that are asked for at the same time: as many connections to a host are kept."""
_REMOTE_READ_BYTES: Final = 16 << 20
"""Bytes of ranges that are asked for together."""
_MAX_GAP_BYTES: Final = 1 << 18
"""Bytes between two parts of a map that are read along, because asking twice costs more."""
_TWO_THREADS_BYTES: Final = 1 << 23
"""Bytes from which on two threads read from files: the system copies as fast as both can take."""
SHARD_DISTANCE: Final = 2**40
"""Bytes from the start of a shard to that of the next, where all count as one file."""


class WrongTableError(Exception):
    """A shard does not hold what its table says; or that was found damaged, and replaced."""

    def __init__(
        self, number: int, cause: IntegrityError | None, *, replaced: bool = False
    ) -> None:
        super().__init__(number)
        self.number = number
        self.cause = cause
        self.replaced = replaced


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """Spans of bytes that are read together, in few reads."""

    part: slice
    """Which spans."""
    at: Integers
    """Where each of them begins in memory."""
    size: int
    """Bytes of memory."""
    reads: list[list[int]]
    """Of each read: number of the shard, where it begins and ends in memory, its first byte."""


class ShardFiles:
    """Open shards, by their number. Safe with threads; a forked child opens its own pool.

    Args:
        shards: The shards.
        size_of: Bytes of a shard, as its table has it.
    """

    def __init__(self, shards: Sequence[Shard], size_of: Callable[[int], int]) -> None:
        self._shards = shards
        self._size_of = size_of
        self._open: dict[int, ByteRanges] = {}
        self._copies: dict[int, FileBytes] = {}
        self._kinds: dict[int, tuple[bool, int, int]] = {}
        self._pid = os.getpid()
        self._pool: ThreadPoolExecutor | None = None
        self._opening = ForkLock()

    def get(self, number: int) -> ByteRanges:
        """One shard, open.

        Raises:
            IntegrityError: It is not what is known of it.
            SourceError: It cannot be opened.
        """
        self._in_child()
        found = self._open.get(number)
        if found is not None:
            return found
        with self._opening:
            found = self._open.get(number)
            if found is None:
                found = self._open[number] = self._opened(number)
                # What a server was asked stays: it knows which version of a file is read.
                if isinstance(found, FileBytes) and number not in self._copies:
                    keep_open(self, number)
            return found

    def as_before(self, number: int) -> ByteRanges:
        """A shard, open, as `get`; a file of this machine must not have been overwritten since.

        Raises:
            IntegrityError: It was.
        """
        file = self.get(number)
        if isinstance(file, FileBytes) and number not in self._copies:
            self._shards[number].check_version(file.stat())
        return file

    def let_go(self, number: int) -> None:
        """See `Holder`."""
        self._open.pop(number, None)

    def _in_child(self) -> None:
        """In a forked child: files are open, but threads were not copied."""
        if self._pid != os.getpid():
            self._pid, self._pool = os.getpid(), None

    def are_local(self, numbers: Sequence[int]) -> bool:
        """Whether these shards are files of this machine."""
        return all(self._kind(number)[0] for number in numbers)

    def bytes_of(self, numbers: Sequence[int]) -> int:
        """Bytes of these shards together, as their tables have it."""
        return sum(map(self._size_of, numbers))

    def mapped(self, number: int) -> Bytes:
        """A shard that is a file of this machine, as memory, shape (bytes,); read-only.

        Raises:
            WrongTableError: It is shorter than when it was opened.
            SourceError: It cannot be opened.
        """
        try:
            file = self.as_before(number)
            assert isinstance(file, FileBytes)
            return np.frombuffer(file.mapped(), np.uint8)
        except IntegrityError as error:
            raise WrongTableError(number, error) from error

    def prefetch(self, starts: Integers, ends: Integers) -> None:
        """Have spans of maps read, without waiting for it; arguments as for `plan_reads`.

        Raises:
            WrongTableError: A shard is shorter than when it was opened.
        """
        new = np.flatnonzero(starts[1:] - ends[:-1] > _MAX_GAP_BYTES) + 1
        first, last = np.append(0, new), np.append(new, len(starts)) - 1
        spans = (
            starts[first] // SHARD_DISTANCE,
            starts[first] % SHARD_DISTANCE,
            ends[last] % SHARD_DISTANCE,
        )
        for number, start, end in zip(*(x.tolist() for x in spans), strict=True):
            self._file(number).prefetch(start, end)

    def release_pages(self) -> None:
        """Give the memory of maps back."""
        self._in_child()
        with self._opening:
            for file in list(self._open.values()):
                if isinstance(file, FileBytes):
                    file.release_pages()

    def _file(self, number: int) -> FileBytes:
        file = self.get(number)
        assert isinstance(file, FileBytes)
        return file

    def _kind(self, number: int) -> tuple[bool, int, int]:
        """Whether a shard is a file; its largest gap and read, in bytes."""
        if number not in self._kinds:
            if self._shards[number].path is not None:
                self._kinds[number] = True, FileBytes.max_gap_bytes, FileBytes.max_read_bytes
            else:
                file = self.get(number)
                limits = file.max_gap_bytes, file.max_read_bytes
                self._kinds[number] = isinstance(file, FileBytes), *limits
        return self._kinds[number]

    def plan_reads(
        self, starts: Integers, ends: Integers, portion: int | None, *, gap: int = SHARD_DISTANCE
    ) -> list[ReadPlan]:
        """How spans of bytes are read in few reads.

        Args:
            starts: Where each begins, shards counted as `SHARD_DISTANCE` apart; ascending.
            ends: Where each ends.
            portion: Bytes that are read at a time, about, more of what is on servers;
                None: all.
            gap: Most bytes between two spans that are read along, if a source allows so many.

        Raises:
            WrongTableError: Spans overlap.
        """
        if not len(starts):
            return []
        shard = starts // SHARD_DISTANCE
        numbers = np.flatnonzero(np.diff(shard, prepend=-1))
        local, gaps, mosts = zip(*map(self._kind, shard[numbers].tolist()), strict=True)
        if portion is not None and not all(local):
            portion = max(portion, _REMOTE_READ_BYTES)
        counts = np.diff(numbers, append=len(starts))
        between = starts[1:] - ends[:-1]
        if len(between) and int(between.min()) < 0:
            raise WrongTableError(int(shard[between.argmin()]), None)
        new = np.ones(len(starts), bool)
        new[1:] = between > np.repeat(np.minimum(gaps, gap), counts)[1:]
        # A read as long as one request should be is followed by another one.
        most = np.repeat([min(most, portion or most) for most in mosts], counts)[1:]
        new[1:] |= starts[1:] // most > starts[:-1] // most
        first = np.flatnonzero(new)
        stop = np.append(first[1:], len(starts))
        origin = starts[first]
        length = ends[stop - 1] - origin
        base = np.cumsum(length) - length
        at = starts + np.repeat(base - origin, stop - first)
        turn = np.flatnonzero(np.diff(base // (portion or SHARD_DISTANCE))) + 1
        found = []
        for a, b in pairwise([0, *turn.tolist(), len(first)]):
            zero = int(base[a])
            part = slice(int(first[a]), int(stop[b - 1]))
            to = base[a:b] - zero
            reads = (shard[first[a:b]], to, to + length[a:b], origin[a:b] % SHARD_DISTANCE)
            size = int(base[b - 1] + length[b - 1]) - zero
            found.append(ReadPlan(part, at[part] - zero, size, [x.tolist() for x in reads]))
        return found

    def load(self, plan: ReadPlan, data: Bytes) -> None:
        """Carry a plan out, into memory of its size; errors as for `read`."""
        view = memoryview(data)  # type: ignore[arg-type]
        self.read([(n, view[i:j], start) for n, i, j, start in zip(*plan.reads, strict=True)])

    def read(self, parts: Sequence[tuple[int, memoryview, int]]) -> None:
        """Fill memory with parts of shards: number of the shard, memory, first byte.

        Raises:
            WrongTableError: A shard is shorter than its table says, or was changed.
            SourceError: One cannot be read.
        """
        self._in_child()
        here = [part for part in parts if self._kind(part[0])[0]]
        half = len(here) // 2 if sum(len(view) for _, view, _ in here) >= _TWO_THREADS_BYTES else 0
        in_pool = [here[:half]] if half else []
        if len(here) < len(parts):
            in_pool += [[part] for part in parts if not self._kind(part[0])[0]]
        if in_pool and self._pool is None:
            self._pool = ThreadPoolExecutor(_REQUESTS_AT_ONCE, "atdata-read")
        waiting = [self._pool.submit(self._fill, some) for some in in_pool] if self._pool else []
        try:
            self._fill(here[half:])
            for future in waiting:
                future.result()
        finally:
            for future in waiting:
                future.cancel()

    def _fill(self, parts: Sequence[tuple[int, memoryview, int]]) -> None:
        number, file = -1, None
        try:
            for of, view, start in parts:
                if file is None or of != number:
                    number, file = of, self.as_before(of)
                try:
                    file.read_into(view, start)
                except NoRangesError:
                    self._copy(number).read_into(view, start)
        except IntegrityError as error:
            raise WrongTableError(number, error) from error

    def _opened(self, number: int) -> ByteRanges:
        shard = self._shards[number]
        if shard.path is not None:
            return shard.opened(FileBytes)
        made = shard.ranges()
        if made is None:
            return self._copy(number)
        made.size = self._size_of(number)
        return made

    def _copy(self, number: int) -> ByteRanges:
        """A shard that can be read from its start only, as a temporary file without a name."""
        with self._opening:
            if number not in self._copies:
                shard, wanted = self._shards[number], self._size_of(number)
                with shard.copied() as path:
                    file = FileBytes(path, name=shard.name)
                if file.size != wanted:
                    raise IntegrityError(
                        f"expected {wanted} bytes, as its table says, found {file.size}",
                        shard=shard.name,
                    )
                self._open[number] = self._copies[number] = file
            return self._copies[number]
