"""Samples by position: any of them, from any shards, in few reads, decoded as one block."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from atdata._arrays import Bytes, Indices, Integers
from atdata._limits import limits
from atdata._protocols import DataSource
from atdata._secrets import redacted_repr
from atdata._shardlist import ShardInfo
from atdata.dataset.reading.payloads import Located, Part, Placer
from atdata.dataset.reading.shard_files import APART, ShardFiles, WrongTableError
from atdata.dataset.reading.tables import ShardTables
from atdata.dataset.reading.verify import Verify
from atdata.errors import DecodeError, IntegrityError, SampleNotFoundError, ShardError
from atdata.samples.codec import SampleCodec, codec_of
from atdata.shards.columns.column import LazyColumn
from atdata.shards.columns.decode import Payloads
from atdata.shards.reader import Block
from atdata.shards.tar.check import header_agrees, headers_agree, key_agrees, names_agree
from atdata.shards.tar.header import BLOCK, key_of, name_of
from atdata.shards.tar.keys import KeyMatrix, Keys, key_list
from atdata.shards.tar.table import SampleTable
from atdata.sources.byte_ranges import NoRangesError
from atdata.system.once import once

X = TypeVar("X")

_MANY: Final = 4096
"""Samples that are worth checking whole tables for."""
_FEW: Final = 16
"""Tables that may stay in memory: what is near an entry is mapped with it."""


@redacted_repr
@dataclass(frozen=True, slots=True)
class GatheredRows:
    """Samples that were read by their positions, in the order that was asked for."""

    gather: Gather
    block: Block[Any]
    positions: Integers
    """Position of each row in the dataset."""
    key_matrix: KeyMatrix | None
    """Key of each row in UTF-8, zeros behind shorter ones, where none is long."""
    keys: Sequence[str]
    """Key of each sample in its shard, made when one is asked for."""

    def __len__(self) -> int:
        return len(self.positions)

    def samples(self) -> list[Any]:
        """The samples, decoded; their arrays own their memory."""
        samples: list[Any] = self._told(self.block.samples)
        return samples

    def columns(self) -> dict[str, LazyColumn] | None:
        """The samples field by field, in memory of their own."""
        columns: dict[str, LazyColumn] = self._told(self.block.columns)
        return columns

    def take(self, indices: Indices) -> GatheredRows:
        """Some of the rows, in the order of ``indices``."""
        matrix = None if self.key_matrix is None else self.key_matrix[indices]
        positions = self.positions[indices]
        return GatheredRows(
            self.gather,
            self.block.take(indices),
            positions,
            matrix,
            self.gather.lazy_keys(positions, matrix),
        )

    def _told(self, decode: Callable[[], Any]) -> Any:
        """What decoding gives, or the error of the first row that cannot be, told of its shard."""
        try:
            return decode()
        except DecodeError:
            for row, position in enumerate(self.positions.tolist()):
                try:
                    self.block.take(slice(row, row + 1)).samples()
                except DecodeError as error:
                    shard, offset = self.gather.place_of(position)
                    raise error.in_shard(shard, offset=offset) from None
            raise


@dataclass(frozen=True, slots=True)
class LocatedRows:
    """Samples in maps, whose payloads are taken out of these when some are asked for."""

    gather: Gather
    positions: Integers
    found: Located

    def take(self, indices: Indices) -> GatheredRows:
        """Some of the rows, in the order of ``indices``.

        Raises:
            IntegrityError: As in `Gather.rows`.
        """
        try:
            return self.taken(indices)
        except WrongTableError:
            # Another one may have taken its place meanwhile.
            return self.gather.rows(self.positions[indices])

    def taken(self, indices: Indices) -> GatheredRows:
        """The same, once.

        Raises:
            WrongTableError: They are not where a table says.
        """
        return self.gather.taken(self.positions[indices], self.found.take(indices))


class Gather:
    """Reads samples of a dataset by position. One a process: it keeps files open.

    Args:
        source: Where the shards are.
        known: What is known of them, by URL.
        stored_type: What they hold.
        verify: How local shards are held against what is known of them when they are opened.
        counts: Tells how many samples each shard had in the process that this one was sent from;
            None: they were not counted there.
    """

    def __init__(
        self,
        source: DataSource,
        known: dict[str, ShardInfo],
        stored_type: type,
        verify: Verify | None = None,
        counts: str | None = None,
    ) -> None:
        self._source = source
        self.known = known
        self._stored_type = stored_type
        self.verify = verify
        self._counts = counts

    def __reduce__(self) -> tuple[Any, ...]:
        counts = digest_of(self.ends) if "ends" in self.__dict__ else self._counts
        return Gather, (self._source, self.known, self._stored_type, self.verify, counts)

    @once
    def tables(self) -> ShardTables:
        """The tables of the shards."""
        return ShardTables(self._source, self.known, full=self.verify == "full")

    @once
    def _files(self) -> ShardFiles:
        tables = self.tables
        return ShardFiles(
            self._source,
            tables.shards,
            self.known,
            self.verify,
            lambda number: tables.glance(number).head.shard_bytes,
            tables.versions,
        )

    @once
    def _placer(self) -> Placer:
        return Placer(self._files)

    @once
    def ends(self) -> Integers:
        """Position behind the last sample of each shard, shape (number of shards,).

        Raises:
            IntegrityError: This was sent here, and they were others where it came from.
        """
        ends = np.cumsum(self.tables.counts())
        if self._counts not in (None, digest_of(ends)):
            raise IntegrityError(
                "the dataset was opened before its shards were changed: in the process that it was "
                "sent from, they had other numbers of samples. Open the dataset again"
            )
        return ends

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def shards_of(self, positions: Integers) -> Integers:
        """Number of the shard that each position is in."""
        return np.searchsorted(self.ends, positions, side="right").astype(np.int64)

    def place_of(self, position: int) -> tuple[str, int]:
        """The shard that a sample is in, and where in it its payload begins."""
        number, table, row = self._row(position)
        return self.tables.shards[number], table.span(row)[0]

    def keys(self, positions: Integers) -> list[str]:
        """The keys of samples."""
        numbers = self.shards_of(positions)
        out: list[str] = [""] * len(positions)
        for number in np.unique(numbers).tolist():
            mine = np.flatnonzero(numbers == number)
            table = self.tables.glance(number)
            rows = positions[mine] - (int(self.ends[number]) - len(table))
            for row, key in zip(mine.tolist(), table.keys(rows), strict=True):
                out[row] = key
        return out

    def lazy_keys(self, positions: Integers, matrix: KeyMatrix | None) -> Sequence[str]:
        """The same, made when one is asked for; of their bytes, where those are known."""

        def make() -> list[str]:
            if matrix is not None and (matrix < 0x80).all():
                return key_list([matrix])
            return self.keys(positions)

        return Keys(make, len(positions))

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
        back = back.reshape(-1)
        in_order = len(wanted) == len(positions) and bool((back == np.arange(len(back))).all())

        def read() -> GatheredRows:
            found = self._found(wanted, np.arange(len(wanted)))
            if isinstance(found, LocatedRows):
                return found.taken(back)
            return found if in_order else found.take(back)

        return self._settled(read)

    def ascending(self, positions: Integers, places: Integers) -> GatheredRows | LocatedRows:
        """Read samples whose positions ascend, none of them twice, or find them in maps.

        Args:
            positions: Shape (n,).
            places: Which row each of them becomes: the numbers from 0 to before n.

        Raises:
            IntegrityError: As in `rows`.
        """
        return self._settled(lambda: self._found(positions, places))

    def taken(self, positions: Integers, found: Located) -> GatheredRows:
        """Samples taken out of maps, in any order.

        Raises:
            WrongTableError: They are not where a table says.
        """
        return self._gathered(positions, found, self._placer.taken(found, self._check))

    def _settled(self, read: Callable[[], X]) -> X:
        """What reading gives, with other tables in the places of wrong ones."""
        while True:
            try:
                return read()
            except WrongTableError as wrong:
                number = wrong.number
                table = self.tables.glance(number)
                if wrong.replaced or self.tables.table(number) is not table:
                    # A scan has taken the place of a damaged one.
                    continue
                if not self.tables.replace(number):
                    raise wrong.cause or self.tables.versions.changed(number) from None

    def one(self, position: int) -> Any:
        """The sample at a position; `rows` of one, without what serves many.

        Raises:
            DecodeError: It is not a sample of the type.
            IntegrityError: As in `rows`.
        """
        number, table, row = self._row(position)
        try:
            offset, size = table.span(row)
            self.tables.used(1)
            data = bytearray(BLOCK + size)
            self._files.get(number).read_into(memoryview(data), offset - BLOCK)
            header, key = bytes(data[:BLOCK]), table.key_bytes(row)
            if header_agrees(header, size) and key_of(name_of(header)) == key:
                codec: SampleCodec[Any] = codec_of(self._stored_type)
                return codec.unpack(memoryview(data)[BLOCK:])
        except (ShardError, DecodeError, NoRangesError):
            # The longer way finds out what is wrong, and says where.
            pass
        return self.rows(np.array([position])).samples()[0]

    def by_key(self, key: str) -> GatheredRows:
        """The first sample with this key.

        A key that no table has is looked for in the headers of local shards, once a process.

        Raises:
            SampleNotFoundError: There is none.
            IntegrityError: As in `rows`.
        """
        while True:
            rows = self.rows(np.array([self._find(key)]))
            # Another table may have taken the place of the one that had it there.
            if rows.keys[0] == key:
                return rows

    def _find(self, key: str) -> int:
        # What a wrong table hides is found when all of them are checked.
        for check in (self.tables.glance, self.tables.table, self.tables.confirm):
            for number, end in enumerate(self.ends.tolist()):
                check(number)
                if self.tables.glance(number).find(key) is None:
                    continue
                table = self.tables.table(number)
                row = table.find(key)
                if row is not None:
                    return int(end) - len(table) + row
        raise SampleNotFoundError(
            f"No sample has the key {key!r}. Keys look like {self.tables.table(0).key(0)!r}."
            if len(self)
            else f"No sample has the key {key!r}: there are none."
        )

    def _row(self, position: int) -> tuple[int, SampleTable, int]:
        """The number of a sample's shard, that shard's table, and the sample's row in it."""
        number = int(np.searchsorted(self.ends, position, side="right"))
        table = self.tables.glance(number)
        return number, table, position - int(self.ends[number]) + len(table)

    def _found(self, positions: Integers, places: Integers) -> GatheredRows | LocatedRows:
        found = self._located(positions)
        order = np.empty_like(places)
        order[places] = np.arange(len(places))
        ordered, positions = found.take(order), positions[order]
        if any(self.tables.glance(number).names for number in found.shards):
            return self._gathered(positions, ordered, self._linked(ordered))
        if self._placer.maps(found):
            self._placer.expect(found)
            return LocatedRows(self, positions, ordered)
        return self._gathered(positions, ordered, self._placer.read(found, places, self._check))

    def _linked(self, found: Located) -> Payloads:
        """Payloads of shards with links, read once each."""
        starts, first, back = np.unique(found.starts, return_index=True, return_inverse=True)
        once = Located(starts, found.sizes[first], found.shards, None)
        payloads = self._placer.read(once, np.arange(len(starts)), self._check)
        return payloads.take(back.reshape(-1))

    def _gathered(self, positions: Integers, found: Located, payloads: Payloads) -> GatheredRows:
        keys = self.lazy_keys(positions, found.keys)
        name = self.tables.shards[found.shards[0]] if found.shards else ""
        block: Block[Any] = Block(name, codec_of(self._stored_type), payloads, lambda: keys)
        return GatheredRows(self, block, positions, found.keys, keys)

    def _located(self, positions: Integers) -> Located:
        """What the tables say of samples.

        Raises:
            WrongTableError: It cannot be.
        """
        count = len(positions)
        bounds = np.searchsorted(positions, self.ends)
        firsts = np.concatenate([[0], bounds[:-1]]) if len(bounds) else bounds
        numbers = np.flatnonzero(bounds > firsts)
        shards = numbers.tolist()
        if count >= _MANY:
            self.tables.load(shards)
        starts, sizes = np.empty(count, np.int64), np.empty(count, np.int64)
        keys: list[KeyMatrix | None] = []
        spans = list(zip(shards, firsts[numbers].tolist(), bounds[numbers].tolist(), strict=True))
        for number, first, last in spans:
            table = self.tables.glance(number)
            rows = positions[first:last] - (int(self.ends[number]) - len(table))
            try:
                offsets, sizes[first:last] = table.spans(rows)
            except ShardError:
                raise WrongTableError(number, None) from None
            starts[first:last] = number * APART + offsets - BLOCK
            keys.append(table.key_matrix(rows))
            if count >= _MANY or len(spans) > _FEW:
                self.tables.rest(number)
        self.tables.used(count)
        known = [part for part in keys if part is not None]
        matrix = None
        if known and len(known) == len(keys):
            matrix = np.zeros((count, max(part.shape[1] for part in known)), np.uint8)
            for (_, first, last), part in zip(spans, known, strict=True):
                matrix[first:last, : part.shape[1]] = part
        return Located(starts, sizes, shards, matrix)

    def _check(self, found: Located, part: Part, data: Bytes, at: Integers) -> None:
        """Hold what the tables say of some samples against the headers that were read."""
        sizes = found.sizes[part]
        if found.keys is not None and names_agree(data, at, sizes, found.keys[part]):
            return
        # Headers that do not tell the keys: the table has to be right as a whole.
        shards = found.starts[part] // APART
        for number in np.unique(shards).tolist():
            table = self.tables.glance(number)
            if self.tables.table(number) is not table:
                raise WrongTableError(number, None, replaced=True)
            of = shards == number
            if not headers_agree(data, at[of], sizes[of]):
                raise WrongTableError(number, None)
            offsets = found.starts[part][of] - number * APART + BLOCK
            if table.names:
                _check_linked(number, table, offsets, data, at[of])
            else:
                self._check_keys(number, table, offsets, data, at[of])

    def _check_keys(
        self, number: int, table: SampleTable, offsets: Integers, data: Bytes, at: Integers
    ) -> None:
        """One by one, where names are too long for their headers.

        Args:
            number: Number of the shard.
            table: Its table.
            offsets: Where payloads begin in the shard.
            data: Memory that they were read into.
            at: Where they begin there.
        """
        local = self._files.are_local([number])
        rows = np.searchsorted(table.offsets, offsets)
        for row, place in zip(rows.tolist(), at.tolist(), strict=True):
            header = data[place - BLOCK : place].tobytes()

            def before(row: int = row) -> bytes:
                # On a server it would be one more request a sample.
                return self._between(number, table, row) if local else b""

            if not key_agrees(header, table.key_bytes(row), before):
                raise WrongTableError(number, None)

    def _between(self, number: int, table: SampleTable, row: int) -> bytes:
        """What is between the sample before one and the header of this one; at most 1 MB of it."""
        start, end = table.end_of(row - 1), int(table.offsets[row]) - BLOCK
        if not 0 < end - start <= limits.extended_bytes:
            return b""
        data = bytearray(end - start)
        self._files.get(number).read_into(memoryview(data), start)
        return bytes(data)


def digest_of(ends: Integers) -> str:
    """16 hex digits that tell numbers of samples from others."""
    return hashlib.sha256(ends.astype("<i8").tobytes()).hexdigest()[:16]


def _check_linked(
    number: int, table: SampleTable, offsets: Integers, data: Bytes, at: Integers
) -> None:
    """As `Gather._check_keys`, of a shard in which links lead to some of the payloads."""
    for offset, place in zip(offsets.tolist(), at.tolist(), strict=True):
        if table.names.get(offset) != name_of(data[place - BLOCK : place].tobytes()):
            raise WrongTableError(number, None)
