"""Samples by position, from any shards, in few reads, decoded as one block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np

from atdata._arrays import Indices, Integers, distinct
from atdata._secrets import redacted_repr
from atdata._shardlist import Layout
from atdata.dataset.reading.header_checks import HeaderChecks
from atdata.dataset.reading.linked import with_links
from atdata.dataset.reading.mixed_rows import MixedFetch, MixedRows, numbered
from atdata.dataset.reading.payloads import Located
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.shard_files import SHARD_DISTANCE, WrongTableError
from atdata.errors import DecodeError, OptionError, SampleNotFoundError, ShardError
from atdata.samples.codec import SampleCodec
from atdata.shards.columns.column import Keys, LazyColumn
from atdata.shards.columns.decode import Block, Payloads
from atdata.shards.layouts.decode import members_decoder
from atdata.shards.reader import in_layout
from atdata.shards.tar.check import (
    header_agrees,
)
from atdata.shards.tar.header import BLOCK, key_of, name_of
from atdata.shards.tar.inside import Inside
from atdata.shards.tar.keys import KeyMatrix, key_list
from atdata.shards.tar.table import SampleTable
from atdata.sources.byte_ranges import NoRangesError

X = TypeVar("X")

_MANY_SAMPLES: Final = 4096
"""Samples that are worth checking whole tables for."""
_FEW_TABLES: Final = 16
"""Tables that may stay in memory: what is near an entry is mapped with it."""


@redacted_repr
@dataclass(frozen=True, slots=True)
class PositionedRows:
    """Samples that were read by their positions, in the order that was asked for."""

    access: RandomAccess = field(repr=False)
    block: Block[Any]
    positions: Integers
    """Position of each row in the dataset."""
    key_matrix: KeyMatrix | None
    """Key of each row in UTF-8, padded with zeros, if none is long."""
    keys: Sequence[str]
    """Key of each sample in its shard, made when one is asked for."""

    def __len__(self) -> int:
        return len(self.positions)

    def samples(self) -> list[Any]:
        """The samples, decoded; their arrays own their memory."""
        samples: list[Any] = self._decoded(self.block.samples)
        return samples

    def each(self) -> Iterator[Any]:
        """The samples, one after the other."""
        return iter(self.samples())

    def payloads(self) -> Iterator[memoryview] | None:
        """The msgpack bytes of each sample; None: they are stored in another layout."""
        return self.block.payloads()

    def columns(self) -> dict[str, LazyColumn] | None:
        """The samples field by field, in memory of their own."""
        columns: dict[str, LazyColumn] = self._decoded(self.block.columns)
        return columns

    def place(self, row: int) -> tuple[str, int]:
        """The shard that a row is in, and where in it its payload begins."""
        return self.access.place_of(int(self.positions[row]))

    def take(self, indices: Indices) -> PositionedRows:
        """Some of the rows, in the order of ``indices``."""
        matrix = None if self.key_matrix is None else self.key_matrix[indices]
        positions = self.positions[indices]
        return PositionedRows(
            self.access,
            self.block.take(indices),
            positions,
            matrix,
            self.access.lazy_keys(positions, matrix),
        )

    def _decoded(self, decode: Callable[[], Any]) -> Any:
        """What decoding gives, or the first row's error, with its shard and place."""
        try:
            return decode()
        except DecodeError:
            for row, position in enumerate(self.positions.tolist()):
                try:
                    self.block.take(slice(row, row + 1)).samples()
                except DecodeError as error:
                    shard, offset = self.access.place_of(position)
                    raise error.in_shard(shard, offset=offset) from None
            raise


@dataclass(frozen=True, slots=True)
class LocatedRows:
    """Samples in maps, whose payloads are taken out of these when some are asked for."""

    access: RandomAccess = field(repr=False)
    positions: Integers
    found: Located

    def take(self, indices: Indices) -> PositionedRows | MixedRows:
        """Some of the rows, in the order of ``indices``.

        Raises:
            IntegrityError: As in `RandomAccess.rows`.
        """
        try:
            return self.taken(indices)
        except WrongTableError:
            # Another table may have replaced it since.
            return self.access.rows(self.positions[indices])

    def taken(self, indices: Indices) -> PositionedRows:
        """The same, once.

        Raises:
            WrongTableError: They are not where a table says.
        """
        return self.access.taken(self.positions[indices], self.found.take(indices))


class RandomAccess:
    """Reads samples of a dataset by position.

    Args:
        shards: The shards.
        codec: Codec of their samples.
    """

    def __init__(self, shards: PositionedShards, codec: SampleCodec[Any]) -> None:
        self._shards = shards
        self._codec = codec
        self._checks = HeaderChecks(shards, codec)

    def place_of(self, position: int) -> tuple[str, int]:
        """The shard that a sample is in, and where in it its payload begins."""
        number, table, row = self._row(position)
        head = BLOCK if table.head.layout == "members" else 0
        return self._shards.each[number].name, table.span(row)[0] - head

    def keys(self, positions: Integers) -> list[str]:
        """The keys of samples."""
        numbers = self._shards.numbers_of(positions)
        out: list[str] = [""] * len(positions)
        for number in distinct(numbers).tolist():
            mine = np.flatnonzero(numbers == number)
            table = self._shards.tables.peek(number)
            rows = positions[mine] - (int(self._shards.ends[number]) - len(table))
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

    def rows(self, positions: Integers) -> PositionedRows | MixedRows:
        """Read samples.

        Args:
            positions: From 0 to the number of samples, in any order, repeated or not.

        Raises:
            IntegrityError: A shard is not what it was when its samples were counted.
            ShardError: A shard is damaged.
            SourceError: One cannot be read.
        """
        groups = self._by_layout(positions)
        if groups is None:
            return self._rows(positions)
        parts = tuple(self._rows(positions[group]) for group in groups)
        return MixedRows(parts, *numbered(groups, len(positions)))

    def _rows(self, positions: Integers) -> PositionedRows:
        """`rows`, of one layout."""
        wanted, back = np.unique(positions, return_inverse=True)
        back = back.reshape(-1)
        in_order = len(wanted) == len(positions) and bool((back == np.arange(len(back))).all())

        def read() -> PositionedRows:
            found = self._found(wanted, np.arange(len(wanted)))
            if isinstance(found, LocatedRows):
                return found.taken(back)
            return found if in_order else found.take(back)

        return self._with_right_tables(read)

    def ascending(
        self, positions: Integers, places: Integers
    ) -> PositionedRows | LocatedRows | MixedFetch:
        """Read samples whose positions ascend, none of them twice, or find them in maps.

        Args:
            positions: Shape (n,).
            places: Which row each of them becomes: the numbers from 0 to before n.

        Raises:
            IntegrityError: As in `rows`.
        """
        groups = self._by_layout(positions)
        if groups is None:
            return self._with_right_tables(lambda: self._found(positions, places))
        parts = []
        for group in groups:
            found = partial(self._found, positions[group], np.arange(len(group)))
            parts.append(self._with_right_tables(found))
        part, row = numbered(groups, len(positions))
        order = np.argsort(places)
        return MixedFetch(tuple(parts), part[order], row[order])

    def _by_layout(self, positions: Integers) -> list[Integers] | None:
        """Which of these samples are in shards of each layout; None: all are in one."""
        by_members = self._shards.tables.by_members()
        if by_members.all() or not by_members.any():
            return None
        mine = by_members[self._shards.numbers_of(positions)]
        groups = [np.flatnonzero(mine), np.flatnonzero(~mine)]
        return groups if all(map(len, groups)) else None

    def taken(self, positions: Integers, found: Located) -> PositionedRows:
        """Samples taken out of maps, in any order.

        Raises:
            WrongTableError: They are not where a table says.
        """
        return self._rows_of(
            positions, found, self._shards.payloads.taken(found, self._checks.samples)
        )

    def _with_right_tables(self, read: Callable[[], X]) -> X:
        """What reading gives, with other tables in the places of wrong ones."""
        while True:
            try:
                return read()
            except WrongTableError as wrong:
                number = wrong.number
                table = self._shards.tables.peek(number)
                if wrong.replaced or self._shards.tables.table(number) is not table:
                    # A scan has taken the place of a damaged one.
                    continue
                if not self._shards.tables.replace(number):
                    raise wrong.cause or self._shards.each[number].changed() from None

    def one(self, position: int) -> Any:
        """The sample at a position; `rows` of one, without what serves many.

        Raises:
            DecodeError: It is not a sample of the type.
            IntegrityError: As in `rows`.
        """
        number, table, row = self._row(position)
        if table.head.layout == "members":
            # Perhaps not all of its members are read.
            return self.rows(np.array([position])).samples()[0]
        try:
            offset, size = table.span(row)
            self._shards.tables.used(1)
            data = bytearray(BLOCK + size)
            # What was checked in full must be so still; else, the header tells enough.
            hashed, files = self._shards.each[number].verify == "full", self._shards.files
            file = files.as_before(number) if hashed else files.get(number)
            file.read_into(memoryview(data), offset - BLOCK)
            header, key = bytes(data[:BLOCK]), table.key_bytes(row)
            if header_agrees(header, size) and key_of(name_of(header)) == key:
                return self._codec.unpack(memoryview(data)[BLOCK:])
        except (ShardError, DecodeError, NoRangesError):
            # The longer way finds out what is wrong, and says where.
            pass
        return self.rows(np.array([position])).samples()[0]

    def by_key(self, key: str) -> PositionedRows:
        """The first sample with this key.

        A key that no table has is looked for in the headers of local shards, once a process.

        Raises:
            SampleNotFoundError: Not found.
            IntegrityError: As in `rows`.
            OptionError: The key is not a str.
        """
        if not isinstance(key, str):
            raise OptionError(
                f"by_key({key!r:.80}): expected a str. Samples by position: dataset[number]."
            )
        while True:
            rows = self._rows(np.array([self._find(key)]))
            # Another table may have taken the place of the one that had it there.
            if rows.keys[0] == key:
                return rows

    def _find(self, key: str) -> int:
        tables = self._shards.tables
        # What a wrong table hides is found when all of them are checked.
        for check in (
            tables.peek,
            tables.table,
            tables.confirm,
        ):
            for number, end in enumerate(self._shards.ends.tolist()):
                check(number)
                if tables.peek(number).find(key) is None:
                    continue
                table = tables.table(number)
                row = table.find(key)
                if row is not None:
                    return int(end) - len(table) + row
        raise SampleNotFoundError(
            f"No sample has the key {key!r}. Keys look like {tables.table(0).key(0)!r}."
            if self._shards.samples
            else f"No sample has the key {key!r}: there are none."
        )

    def _row(self, position: int) -> tuple[int, SampleTable, int]:
        """The number of a sample's shard, that shard's table, and the sample's row in it."""
        number = int(np.searchsorted(self._shards.ends, position, side="right"))
        table = self._shards.tables.peek(number)
        return number, table, position - int(self._shards.ends[number]) + len(table)

    def _found(self, positions: Integers, places: Integers) -> PositionedRows | LocatedRows:
        found = self._located(positions)
        order = np.empty_like(places)
        order[places] = np.arange(len(places))
        ordered, positions = found.take(order), positions[order]
        if any(table.names for table in found.tables):
            return self._rows_of(positions, ordered, self._linked(ordered))
        if self._shards.payloads.maps(found):
            self._shards.payloads.prefetch(found)
            return LocatedRows(self, positions, ordered)
        payloads = None
        by_members = self._layout(found) == "members"
        if by_members:
            wanted, check = members_decoder(self._codec).wanted, self._checks.members
            payloads = self._shards.payloads.read_members(found, places, check, wanted)
        if payloads is None:
            head = BLOCK if by_members else 0
            payloads = self._shards.payloads.read(found, places, self._checks.samples, head=head)
        return self._rows_of(positions, ordered, payloads)

    def _linked(self, found: Located) -> Payloads:
        """Payloads of shards with links, read once each."""
        starts, first, back = np.unique(found.starts, return_index=True, return_inverse=True)
        once = Located(starts, found.sizes[first], found.shards, found.tables, None)
        payloads = self._shards.payloads.read(once, np.arange(len(starts)), self._checks.samples)
        return payloads.take(back.reshape(-1))

    def _rows_of(self, positions: Integers, found: Located, payloads: Payloads) -> PositionedRows:
        keys = self.lazy_keys(positions, found.keys)
        name = self._shards.each[found.shards[0]].name if found.shards else ""

        def url_of(row: int) -> str:
            return self._shards.each[int(self._shards.numbers_of(positions[row : row + 1])[0])].name

        decoder = in_layout(self._codec, self._layout(found))
        if any(table.links or table.refused for table in found.tables):
            payloads = with_links(payloads, positions, self._row, self._shards.files)
        block: Block[Any] = Block(name, decoder, payloads, lambda: keys, url_of=url_of)
        return PositionedRows(self, block, positions, found.keys, keys)

    def _layout(self, found: Located) -> Layout:
        """The layout of shards that are read together.

        Raises:
            ShardError: They have several.
        """
        first: Layout = "msgpack"
        for number, table in zip(found.shards, found.tables, strict=True):
            layout = table.head.layout
            if number != found.shards[0] and layout != first:
                raise ShardError(
                    f"its samples are of the layout {layout}, those of "
                    f"{self._shards.each[found.shards[0]].name} of the layout {first}. Read them "
                    "in stored order, or open them as two datasets",
                    shard=self._shards.each[number].name,
                )
            first = layout
        return first

    def _located(self, positions: Integers) -> Located:
        """What the tables say of samples.

        Raises:
            WrongTableError: It cannot be.
        """
        count = len(positions)
        bounds = np.searchsorted(positions, self._shards.ends)
        firsts = np.concatenate([[0], bounds[:-1]]) if len(bounds) else bounds
        numbers = np.flatnonzero(bounds > firsts)
        shards = numbers.tolist()
        if count >= _MANY_SAMPLES:
            self._shards.tables.load(shards)
        starts, sizes = np.empty(count, np.int64), np.empty(count, np.int64)
        keys: list[KeyMatrix | None] = []
        tables: list[SampleTable] = []
        insides: list[Inside] = []
        spans = list(zip(shards, firsts[numbers].tolist(), bounds[numbers].tolist(), strict=True))
        for number, first, last in spans:
            table = self._shards.tables.peek(number)
            rows = positions[first:last] - (int(self._shards.ends[number]) - len(table))
            try:
                offsets, sizes[first:last] = table.spans(rows)
                inside = table.inside(rows, sizes[first:last])
            except ShardError:
                raise WrongTableError(number, None) from None
            starts[first:last] = number * SHARD_DISTANCE + offsets - BLOCK
            keys.append(table.key_matrix(rows))
            tables.append(table)
            insides += [] if inside is None else [inside]
            if count >= _MANY_SAMPLES or len(spans) > _FEW_TABLES:
                self._shards.tables.release_pages(number)
        self._shards.tables.used(count)
        known = [part for part in keys if part is not None]
        matrix = None
        if known and len(known) == len(keys):
            matrix = np.zeros((count, max(part.shape[1] for part in known)), np.uint8)
            for (_, first, last), part in zip(spans, known, strict=True):
                matrix[first:last, : part.shape[1]] = part
        all_inside = Inside.joined(insides) if insides and len(insides) == len(spans) else None
        return Located(starts, sizes, shards, tables, matrix, all_inside)
