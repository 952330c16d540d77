"""Samples by position: any of them, from any shards, in few reads, decoded as one block."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from atdata._protocols import DataSource
from atdata._shardlist import ShardInfo
from atdata.dataset.describe import local_path
from atdata.dataset.rows import Indices
from atdata.dataset.tables import ShardTables
from atdata.dataset.verify import Verify, check_file
from atdata.errors import DecodeError, IntegrityError, OptionError, SampleNotFoundError
from atdata.samples.batch import Column
from atdata.samples.codec import SampleCodec, codec_of
from atdata.shards.buffers import Buffers
from atdata.shards.columns import Payloads
from atdata.shards.header import BLOCK
from atdata.shards.offsets import header_agrees, headers_agree
from atdata.shards.reader import Block, block_of
from atdata.sources.ranges import FileBytes, NoRangesError, ShardBytes

Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

_AT_ONCE: Final = 8
"""Ranges that are asked for at the same time."""
_SHARD_BITS: Final = 2**40
"""Distance between the shards, where all of them are thought of as one file."""
_COPY: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class GatheredRows:
    """Samples that were read by their positions, in the order that was asked for."""

    gather: Gather
    block: Block[Any]
    shards: Integers
    """Number of the shard of each row."""
    rows: Integers
    """Number of each row within its shard."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def keys(self) -> list[str]:
        """Key of each sample in its shard."""
        return self.block.keys

    def samples(self) -> list[Any]:
        """The samples, decoded; their arrays own their memory."""
        try:
            return self.block.samples()
        except DecodeError:
            self._blame()
            raise

    def columns(self) -> dict[str, Column] | None:
        """The samples field by field, in memory of their own."""
        try:
            return self.block.columns()
        except DecodeError:
            self._blame()
            raise

    def take(self, indices: Indices) -> GatheredRows:
        """Some of the rows, in the order of ``indices``."""
        block = self.block.take(indices)
        return replace(self, block=block, shards=self.shards[indices], rows=self.rows[indices])

    def _blame(self) -> None:
        """Raise the error of the first row that cannot be decoded, told of its shard."""
        for row in range(len(self)):
            one = self.block.take(slice(row, row + 1))
            one.shard = self.gather.tables.shards[int(self.shards[row])]
            one.samples()


class Gather:
    """Reads samples of a dataset by position. One a process: it keeps files open.

    Args:
        source: Where the shards are.
        known: What is known of them, by URL.
        stored_type: What they hold.
        verify: How local shards are held against what is known of them when they are opened.
    """

    def __init__(
        self,
        source: DataSource,
        known: dict[str, ShardInfo],
        stored_type: type,
        verify: Verify | None = None,
    ) -> None:
        self._source = source
        self.known = known
        self._stored_type = stored_type
        self.verify = verify
        self._open: dict[int, ShardBytes] = {}
        self._pid = os.getpid()
        self._pool: ThreadPoolExecutor | None = None
        self._copying = threading.Lock()
        self._buffers = Buffers()

    def __reduce__(self) -> tuple[Any, ...]:
        return Gather, (self._source, self.known, self._stored_type, self.verify)

    @cached_property
    def tables(self) -> ShardTables:
        """The tables of the shards."""
        return ShardTables(self._source, self.known)

    @cached_property
    def ends(self) -> Integers:
        """Position behind the last sample of each shard, shape (number of shards,)."""
        return np.cumsum(self.tables.counts())

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def rows(self, positions: Integers) -> GatheredRows:
        """Read samples.

        Args:
            positions: From 0 to the number of samples, in any order, repeated or not.

        Raises:
            IntegrityError: A shard is not what it was when its samples were counted.
            ShardError: A shard is damaged.
            SourceError: One cannot be read.
        """
        wanted, back = np.unique(positions, return_inverse=True)
        shards = np.searchsorted(self.ends, wanted, side="right").astype(np.int64)
        rows = wanted - np.concatenate([[0], self.ends])[shards]
        while True:
            try:
                buffer, at, sizes = self._read(shards, rows)
                self._check(buffer, at, sizes, shards)
                break
            except _WrongTable as wrong:
                self._replace(wrong)
        tables = self.tables

        def keys() -> list[str]:
            if not len(rows):
                return []
            numbers, firsts = np.unique(shards, return_index=True)
            parts = zip(numbers.tolist(), np.split(rows, firsts[1:]), strict=True)
            return [key for number, part in parts for key in tables.table(number).keys(part)]

        names = [tables.shards[number] for number in np.unique(shards).tolist()[:1]]
        payloads = Payloads(memoryview(buffer).toreadonly(), at, at + sizes)
        block: Block[Any] = block_of(
            names[0] if names else "", codec_of(self._stored_type), payloads, keys
        )
        found = GatheredRows(self, block, shards, rows)
        in_order = len(wanted) == len(positions) and bool((back == np.arange(len(back))).all())
        return found if in_order else found.take(back.reshape(-1))

    def one(self, position: int) -> Any:
        """The sample at a position; `rows` of one, without what serves many.

        Raises:
            DecodeError: It is not a sample of the type.
            IntegrityError: As in `rows`.
        """
        number = int(np.searchsorted(self.ends, position, side="right"))
        table = self.tables.table(number)
        row = position - int(self.ends[number]) + len(table)
        size = int(table.sizes[row])
        data = bytearray(BLOCK + size)
        try:
            self._file(number).read_into(memoryview(data), int(table.offsets[row]) - BLOCK)
            if header_agrees(bytes(data[:BLOCK]), size):
                codec: SampleCodec[Any] = codec_of(self._stored_type)
                return codec.unpack(memoryview(data)[BLOCK:])
        except (IntegrityError, DecodeError, NoRangesError):
            # The longer way finds out what is wrong, and says where.
            pass
        return self.rows(np.array([position])).samples()[0]

    def find(self, key: str) -> int:
        """The position of the first sample with this key.

        Raises:
            SampleNotFoundError: There is none.
        """
        for number, end in enumerate(self.ends.tolist()):
            table = self.tables.table(number)
            row = table.find(key)
            if row is not None:
                return int(end) - len(table) + row
        raise SampleNotFoundError(
            f"No sample has the key {key!r}. Keys look like {self.tables.table(0).key(0)!r}."
            if len(self)
            else f"No sample has the key {key!r}: there are none."
        )

    def _read(self, shards: Integers, rows: Integers) -> tuple[Any, Integers, Integers]:
        """Bytes of the samples with the headers before them, in few reads.

        Returns:
            A buffer, where in it each payload begins, and its size.
        """
        numbers, firsts = np.unique(shards, return_index=True)
        self.tables.load(numbers.tolist())
        bounds = [*firsts.tolist(), len(rows)]
        offsets, sizes = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
        gaps = np.empty(len(rows), np.int64)
        mosts = np.empty(len(rows), np.int64)
        for number, first, last in zip(numbers.tolist(), bounds, bounds[1:], strict=False):
            table, file = self.tables.table(number), self._file(number)
            offsets[first:last] = table.offsets[rows[first:last]]
            sizes[first:last] = table.sizes[rows[first:last]]
            gaps[first:last], mosts[first:last] = file.gap, file.most
        starts = shards * _SHARD_BITS + offsets - BLOCK
        ends = starts + BLOCK + sizes
        new = np.ones(len(rows), bool)
        new[1:] = starts[1:] - ends[:-1] > gaps[1:]
        # A run as long as one request should be is followed by another one.
        new[1:] |= (np.diff(ends // mosts) > 0) & (mosts[1:] < FileBytes.most)
        run_of = np.cumsum(new) - 1
        run_first = np.flatnonzero(new)
        run_start = starts[run_first]
        run_end = ends[np.append(run_first[1:], len(rows)) - 1] if len(rows) else ends
        lengths = run_end - run_start
        bases = np.cumsum(lengths) - lengths
        buffer: Any = self._buffers.take(int(lengths.sum()))
        view = memoryview(buffer)
        parts = [
            (number, view[base : base + length], start)
            for number, base, length, start in zip(
                (run_start // _SHARD_BITS).tolist(),
                bases.tolist(),
                lengths.tolist(),
                (run_start % _SHARD_BITS).tolist(),
                strict=True,
            )
        ]
        self._read_parts(parts)
        at = bases[run_of] + (starts + BLOCK - run_start[run_of])
        return buffer, at, sizes

    def _read_parts(self, parts: Sequence[tuple[int, memoryview, int]]) -> None:
        remote = [part for part in parts if not isinstance(self._file(part[0]), FileBytes)]
        if remote and self._pool is None:
            self._pool = ThreadPoolExecutor(_AT_ONCE, "atdata-ranges")
        waiting = [self._pool.submit(self._read_part, part) for part in remote if self._pool]
        try:
            for part in parts:
                if isinstance(self._file(part[0]), FileBytes):
                    self._read_part(part)
            for future in waiting:
                future.result()
        except BaseException:
            for future in waiting:
                future.cancel()
            raise

    def _read_part(self, part: tuple[int, memoryview, int]) -> None:
        number, view, start = part
        try:
            try:
                self._file(number).read_into(view, start)
            except NoRangesError:
                self._copy(number).read_into(view, start)
        except IntegrityError as error:
            raise _WrongTable(number, error) from error

    def _file(self, number: int) -> ShardBytes:
        if self._pid != os.getpid():
            # Threads do not come along into a forked child; files may.
            self._pid, self._pool = os.getpid(), None
        if number not in self._open:
            self._open[number] = self._opened(number)
        return self._open[number]

    def _opened(self, number: int) -> ShardBytes:
        shard = self.tables.shards[number]
        path = local_path(self._source, shard)
        if path is not None:
            check_file(path, self.known.get(shard), self.verify)
            return FileBytes(path)
        # The protocol does not ask for this member: sources with ranges offer it.
        find = getattr(self._source, "ranges", None)
        made: ShardBytes | None = find(shard) if callable(find) else None
        if made is None:
            return self._copy(number)
        made.size = self.tables.table(number).head.shard_bytes
        return made

    def _copy(self, number: int) -> ShardBytes:
        """A shard that can be read from its start only, as a temporary file without a name."""
        import shutil
        import tempfile

        with self._copying, ExitStack() as cleanup:
            if isinstance(self._open.get(number), FileBytes):
                return self._open[number]
            folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="atdata-"))
            path = Path(folder) / "shard.tar"
            stream = cleanup.enter_context(
                closing(self._source.open_shard(self.tables.shards[number]))
            )
            with path.open("wb") as file:
                shutil.copyfileobj(stream, file, _COPY)
            self._open[number] = FileBytes(path)
            return self._open[number]

    def _check(self, buffer: Any, at: Integers, sizes: Integers, shards: Integers) -> None:
        """Hold what the tables say against the headers that were read."""
        if not len(at) or headers_agree(buffer, at, sizes):
            return
        for number in np.unique(shards).tolist():
            of = shards == number
            if not headers_agree(buffer, at[of], sizes[of]):
                raise _WrongTable(int(number), None)

    def _replace(self, wrong: _WrongTable) -> None:
        number = wrong.number
        before = len(self.tables.table(number))
        if self.tables.replace(number) and len(self.tables.table(number)) == before:
            return
        raise wrong.cause or IntegrityError(
            "the samples are not where they were when this dataset was opened: the shard was "
            "changed. Open the dataset again",
            shard=self.tables.shards[number],
        )


class _WrongTable(Exception):
    """A shard does not hold what its table says."""

    def __init__(self, number: int, cause: IntegrityError | None) -> None:
        super().__init__(number)
        self.number = number
        self.cause = cause


def positions_of(index: Any, samples: int) -> Integers:
    """The positions that an index means.

    Args:
        index: A number, a slice, or numbers; negative ones count from the end.
        samples: Samples of the dataset.

    Raises:
        SampleNotFoundError: One is out of range.
        OptionError: Not numbers.
    """
    if isinstance(index, slice):
        return np.arange(samples, dtype=np.int64)[index]
    wanted = np.atleast_1d(np.asarray(index, np.int64 if not np.size(index) else None))
    if wanted.dtype.kind not in "iu" or wanted.ndim != 1:
        raise OptionError(
            f"dataset[{index!r:.80}]: expected a whole number, a slice, or a list of numbers. "
            "Samples by key: dataset.by_key(key)."
        )
    positions = wanted.astype(np.int64)
    wrong = (positions < -samples) | (positions >= samples)
    if wrong.any():
        raise SampleNotFoundError(
            f"There is no sample {positions[wrong][0]}: the dataset has {samples:,}."
        )
    return np.where(positions < 0, positions + samples, positions)
