"""Many payloads → columns: vectorised where layouts agree, else row by row.

A layout is the bytes between the values: the map's header, and the field names in their order.
Rows with the first row's layout are decoded together; the others form groups of their own, or
are decoded one by one. Then everything is put back in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from atdata._arrays import AnyArray, Integers
from atdata._shardlist import Layout
from atdata.errors import DecodeError
from atdata.samples.codec import SampleCodec
from atdata.samples.kinds import Misfit
from atdata.shards.columns.column import (
    Keys,
    LazyColumn,
    StridedRows,
    as_list,
    column_of,
    copied_column,
)
from atdata.shards.columns.cursor import Cursor, OddRows
from atdata.shards.columns.readers import ColumnReader, pass_over, reader_of
from atdata.shards.tar.inside import Inside
from atdata.shards.tar.window import MappedFile

T = TypeVar("T")

_FEW_ROWS: Final = 8
"""Fewer rows than this are decoded faster one by one, unless they are large."""
_FEW_BYTES: Final = 1 << 16
_LONGEST_KEY_BYTES: Final = 1024
"""Bytes of the longest field name that is compared in many rows at once."""
_MOST_ATTEMPTS: Final = 8
"""Layouts that are tried in one block; the rows left over are decoded one by one."""


Linked: TypeAlias = Callable[[int, int], memoryview]
"""Takes a row, and where in its bytes, head included, the header of a link begins; gives what the
link leads to, or raises a `DecodeError`."""


@dataclass(frozen=True)
class Payloads:
    """Payloads in one buffer."""

    buffer: memoryview
    """Read-only."""
    starts: Integers
    """Where in the buffer each begins, shape (n,)."""
    ends: Integers
    file: MappedFile | None = None
    """The file that the buffer is a map of."""
    base: int | None = None
    """Where in the shard the buffer begins; None: the payloads were copied from several places."""
    inside: Inside | None = None
    """The members of samples that have several, if these were found before."""
    refused: Mapping[int, str] = field(default_factory=dict)
    """Rows that cannot be decoded, and why."""
    linked: Linked | None = None
    """If members of samples are links: what they lead to."""

    def take(self, rows: slice | Integers) -> Payloads:
        """Some of the payloads, in the order of ``rows``."""
        inside = None if self.inside is None else self.inside.take(rows)
        places = self.starts[rows], self.ends[rows]
        part = Payloads(self.buffer, *places, self.file, self.base, inside)
        if not self.refused and self.linked is None:
            return part
        numbers, follow = np.arange(len(self.starts))[rows].tolist(), self.linked
        refused = {i: self.refused[n] for i, n in enumerate(numbers) if n in self.refused}
        linked = follow and (lambda row, at: follow(numbers[row], at))
        return replace(part, refused=refused, linked=linked)

    def cursor(self) -> Cursor:
        """A cursor at the start of each payload, at least one."""
        starts, sizes = self.starts, self.ends - self.starts
        stride = int(starts[1] - starts[0]) if len(starts) > 1 else int(sizes[0])
        regular = stride >= int(sizes.max()) and bool((starts[1:] - starts[:-1] == stride).all())
        file, known = (self.file, stride) if regular else (None, None)
        return Cursor(self.buffer, starts, sizes, stride=known, file=file)


@dataclass(frozen=True)
class Group:
    """Rows that were decoded together."""

    rows: Integers
    """Which rows, in order."""
    columns: dict[str, LazyColumn]
    """Field name → the values of these rows; fields in the order of the type."""


class LayoutDecoder(Protocol[T]):
    """Decodes samples of one type, as they lie in shards of one layout."""

    @property
    def head(self) -> int:
        """Bytes before a recorded payload that belong to it."""
        ...

    def unpack(
        self, payload: memoryview, url: str, linked: Callable[[int], memoryview] | None = None
    ) -> T:
        """One sample of the shard ``url``, from its head on; raises a DecodeError.

        Args:
            payload: Its bytes.
            url: The shard.
            linked: As `Linked`, of this row.
        """
        ...

    def unpack_row(self, payloads: Payloads, row: int, key: str, url: str) -> T:
        """The same, of many; ``key`` is its key."""
        ...

    def samples(
        self, payloads: Payloads, unpack: Callable[[int], T], keys: Sequence[str]
    ) -> Iterable[T]:
        """As `Decoder.samples`."""
        ...

    def columns(
        self, payloads: Payloads, unpack: Callable[[int], T], keys: Sequence[str]
    ) -> dict[str, LazyColumn]:
        """As `Decoder.columns`."""
        ...


class Decoder(Generic[T]):
    """Decodes payloads of one sample type, many at once."""

    head: Final = 0

    def __init__(self, codec: SampleCodec[T]) -> None:
        self.codec = codec
        self._stacking = self._readers(own=False)
        self._owning = self._readers(own=True)

    def _readers(self, *, own: bool) -> dict[str, ColumnReader] | None:
        """Field name → its reader; None if the kind of a field has none."""
        readers = {field.name: reader_of(field, own=own) for field in self.codec.fields}
        known = {name: read for name, read in readers.items() if read is not None}
        return known if known and len(known) == len(readers) else None

    def unpack(
        self, payload: memoryview, url: str, linked: Callable[[int], memoryview] | None = None
    ) -> T:
        """One sample, as the codec gives it."""
        return self.codec.unpack(payload)

    def unpack_row(self, payloads: Payloads, row: int, key: str, url: str) -> T:
        """See `LayoutDecoder`."""
        return self.codec.unpack(payloads.buffer[int(payloads.starts[row]) : payloads.ends[row]])

    def samples(
        self, payloads: Payloads, unpack: Callable[[int], T], keys: Sequence[str] = ()
    ) -> Iterable[T]:
        """Every payload as a sample; arrays own their memory.

        Args:
            payloads: The payloads.
            unpack: Decodes the payload of one row by itself.
            keys: The key of each, for layouts in which a key can be a field.

        Returns:
            A list, or an iterator that builds them one by one.
        """
        groups, left = self._groups(payloads, own=True)
        if len(groups) == 1 and not len(left):
            return self._build(groups[0])
        out: list[Any] = [None] * len(payloads.starts)
        for row in left.tolist():
            out[row] = unpack(row)
        for group in groups:
            for row, sample in zip(group.rows.tolist(), self._build(group), strict=True):
                out[row] = sample
        return out

    def columns(
        self, payloads: Payloads, unpack: Callable[[int], T], keys: Sequence[str] = ()
    ) -> dict[str, LazyColumn]:
        """Every field as a column; arrays at a constant stride are not copied yet.

        Arguments as for `samples`.
        """
        if self.codec.untyped:
            return columns_of(list(self.samples(payloads, unpack)))
        groups, left = self._groups(payloads, own=False)
        if len(groups) == 1 and not len(left):
            return groups[0].columns
        samples = [(row, unpack(row)) for row in left.tolist()]
        merged: dict[str, LazyColumn] = {}
        for name in self.codec.by_name:
            if not samples and (stacked := _interleave(groups, name, len(payloads.starts))):
                merged[name] = stacked[0]
                continue
            values: list[Any] = [None] * len(payloads.starts)
            for group in groups:
                column = as_list(group.columns[name], self.codec.by_name[name].kind)
                for row, value in zip(group.rows.tolist(), column, strict=True):
                    values[row] = value
            for row, sample in samples:
                values[row] = getattr(sample, name)
            merged[name] = column_of(values)
        return merged

    def _build(self, group: Group) -> Iterator[T]:
        kinds = [field.kind for field in self.codec.fields]
        columns = group.columns.values()
        values = [
            column.each() if isinstance(column, StridedRows) else as_list(column, kind)
            for column, kind in zip(columns, kinds, strict=True)
        ]
        if self.codec.positional:
            return map(self.codec.sample_type, *values)
        names = tuple(group.columns)
        build = self.codec.build
        return (build(dict(zip(names, row, strict=True))) for row in zip(*values, strict=True))

    def _groups(self, payloads: Payloads, *, own: bool) -> tuple[list[Group], Integers]:
        """Decode what can be decoded together.

        Args:
            payloads: The payloads.
            own: Give lists of arrays that each own their memory, instead of stacking them.

        Returns:
            The groups, and the rows left to decode one by one, in order.
        """
        everything = np.arange(len(payloads.starts))
        readers = self._owning if own else self._stacking
        if readers is None:
            return [], everything
        groups: list[Group] = []
        left: list[Integers] = []
        pending = [everything]
        attempts = 0
        while pending:
            rows = pending.pop()
            part = payloads if rows is everything else payloads.take(rows)
            few = len(rows) < _FEW_ROWS and int((part.ends - part.starts).sum()) < _FEW_BYTES
            if few or attempts >= _MOST_ATTEMPTS:
                left.append(rows)
                continue
            # Hostile rows could each have a layout of their own: attempts are limited.
            attempts += 1
            try:
                groups.append(Group(rows, self._decode(part.cursor(), readers, own)))
            except OddRows as odd:
                if odd.rows.all():
                    left.append(rows)
                else:
                    pending += [rows[odd.rows], rows[~odd.rows]]
        return groups, np.sort(np.concatenate(left)) if left else everything[:0]

    def _decode(
        self, cursor: Cursor, readers: dict[str, ColumnReader], own: bool
    ) -> dict[str, LazyColumn]:
        """Decode all rows in the layout of the first one.

        Raises:
            OddRows: Rows of another layout, or that must be decoded one by one.
        """
        count, header = _map_header(cursor)
        cursor.expect(header)
        found: dict[str, LazyColumn] = {}
        unknown: set[str] = set()
        for _ in range(count):
            name, key = _key(cursor)
            if name in found or name in unknown:
                raise cursor.only_first()
            cursor.expect(key)
            if name in readers:
                found[name] = readers[name](cursor)
            else:
                pass_over(cursor)
                unknown.add(name)
        cursor.settle()
        longer = cursor.sizes != cursor.at
        if longer.any():
            raise OddRows(longer)
        columns: dict[str, LazyColumn] = {}
        for name in readers:
            if name in found:
                columns[name] = found[name]
                continue
            try:
                defaults = [self.codec.missing(name) for _ in range(len(cursor))]
            except Misfit:
                raise cursor.all_rows() from None
            columns[name] = defaults if own else column_of(defaults)
        if unknown:
            self.codec.warn_of_unknown(unknown)
        return columns


class Block(Generic[T]):
    """Consecutive samples of a shard, decoded when asked for.

    Keeps the memory that they are in: the map of a file, or one chunk of a stream.

    Args:
        shard: The shard's name in errors.
        decoder: Decodes the samples; or their codec, where each is one msgpack member.
        payloads: Where they are in memory.
        keys: Gives their keys.
        copy: Whether columns are copied to memory of their own.
        url_of: Gives the shard that a row is in; None: they all are in ``shard``.
        check_row: Called with the row of a sample that cannot be decoded; raises another error
            if the bytes are not a sample at all.
    """

    def __init__(
        self,
        shard: str,
        decoder: LayoutDecoder[T] | SampleCodec[T],
        payloads: Payloads,
        keys: Callable[[], Sequence[str]],
        *,
        copy: bool = True,
        url_of: Callable[[int], str] | None = None,
        check_row: Callable[[int], None] | None = None,
    ) -> None:
        self.shard = shard
        self.decoder: LayoutDecoder[T] = (
            decoder_of(decoder) if isinstance(decoder, SampleCodec) else decoder
        )
        self._payloads = payloads
        self.keys: Sequence[str] = Keys(keys, len(payloads.starts))
        """The key of each sample, made when one is first asked for."""
        self._copy = copy
        self._check_row = check_row
        self._url_of = url_of

    def __len__(self) -> int:
        return len(self._payloads.starts)

    def take(self, indices: slice | Integers) -> Block[T]:
        """Some of the samples, in the order of ``indices``. The bytes are not copied."""
        rows, whole, check = np.arange(len(self))[indices], self.keys, self._check_row

        def keys() -> list[str]:
            return [whole[i] for i in rows.tolist()]

        def check_row(row: int) -> None:
            if check is not None:
                check(int(rows[row]))

        def url_of(row: int) -> str:
            return self._url(int(rows[row]))

        payloads = self._payloads.take(indices)
        options: dict[str, Any] = {"copy": self._copy, "url_of": url_of, "check_row": check_row}
        return Block(self.shard, self.decoder, payloads, keys, **options)

    def _url(self, row: int) -> str:
        return self.shard if self._url_of is None else self._url_of(row)

    def payloads(self) -> Iterator[memoryview] | None:
        """The msgpack bytes of each sample: read-only views that keep the block's memory.

        None: the samples are of another layout.
        """
        return None if self.decoder.head else self.stored()

    @property
    def layout(self) -> Layout:
        """How the samples lie in their shard."""
        return "members" if self.decoder.head else "msgpack"

    def ranges(self) -> Iterator[tuple[memoryview, Callable[[int], memoryview] | None]]:
        """The bytes of each sample, from its head on, and what links in them lead to."""
        linked, starts = self._payloads.linked, self._payloads.starts - self.decoder.head
        for row, (start, end) in enumerate(zip(starts, self._payloads.ends, strict=True)):
            follow = None if linked is None else partial(linked, row)
            yield self._payloads.buffer[start:end], follow

    def stored(self) -> Iterator[memoryview]:
        """The recorded payload of each sample, in any layout."""
        for data, _ in self.ranges():
            yield data[self.decoder.head :]

    def each(self) -> Iterator[T]:
        """The samples one by one; their arrays are writable and own their memory.

        Raises:
            DecodeError: A sample is not of this type; names shard, offset, key and path. Raised
                before the first sample is given.
            ShardError: The shard was cut short while it was read.
        """
        return iter(self.decoder.samples(self._payloads, self._unpack, self.keys))

    def samples(self) -> list[T]:
        """`each` as a list."""
        return list(self.each())

    def columns(self) -> dict[str, LazyColumn]:
        """Every field as a column of n values, in memory of its own.

        Arrays of one dtype and shape (*S) are stacked to (n, *S), others are a list of
        arrays. Integers are int64 (uint64 where needed, a list where neither holds them),
        floats float64, bools bool. Everything else is a list, and so is a field with a None.

        Large arrays at a constant stride are not copied yet, and texts not decoded; see
        `copied_column`. Without ``copy``, all arrays at a constant stride are read-only views.

        Raises:
            DecodeError: As in `each`.
        """
        columns = self.decoder.columns(self._payloads, self._unpack, self.keys)
        for name, column in columns.items():
            if isinstance(column, StridedRows) and not (self._copy and column.is_large):
                columns[name] = copied_column(column, copy=self._copy)
        return columns

    def place(self, row: int) -> tuple[str, int] | None:
        """The shard that a row is in, and where in it its bytes begin; None: unknown."""
        whole = self._payloads
        if whole.base is None:
            return None
        return self.shard, whole.base + int(whole.starts[row]) - self.decoder.head

    def _unpack(self, row: int) -> T:
        whole = self._payloads
        start = int(whole.starts[row]) - self.decoder.head
        try:
            if row in whole.refused:
                raise DecodeError(whole.refused[row])
            return self.decoder.unpack_row(whole, row, self.keys[row], self._url(row))
        except DecodeError as error:
            if self._check_row is not None:
                self._check_row(row)
            offset = None if whole.base is None else whole.base + start
            raise error.in_shard(self.shard, offset=offset, key=self.keys[row]) from None


@lru_cache(maxsize=64)
def decoder_of(codec: SampleCodec[T]) -> Decoder[T]:
    """The decoder of samples that are one msgpack member each."""
    return Decoder(codec)


def columns_of(samples: list[Any]) -> dict[str, LazyColumn]:
    """The fields of samples without a type: those that any sample has."""
    found = dict.fromkeys(name for sample in samples for name in sample)
    return {name: column_of([sample.get(name) for sample in samples]) for name in found}


def _interleave(groups: list[Group], name: str, count: int) -> tuple[AnyArray] | None:
    """The columns of several groups as one array, if they have one dtype and shape."""
    columns = [copied_column(group.columns[name]) for group in groups]
    arrays = [column for column in columns if isinstance(column, np.ndarray)]
    if len(arrays) < len(columns) or len({(a.dtype, a.shape[1:]) for a in arrays}) != 1:
        return None
    out = np.empty((count, *arrays[0].shape[1:]), arrays[0].dtype)
    for group, array in zip(groups, arrays, strict=True):
        out[group.rows] = array
    return (out,)


def _map_header(cursor: Cursor) -> tuple[int, bytes]:
    """Number of pairs in the first row's map, and the bytes of its header."""
    raw = cursor.first(5)
    if raw and 0x80 <= raw[0] <= 0x8F:
        return raw[0] & 0x0F, raw[:1]
    size = {0xDE: 3, 0xDF: 5}.get(raw[0]) if raw else None
    if size is None or len(raw) < size:
        raise cursor.only_first()
    return int.from_bytes(raw[1:size], "big"), raw[:size]


def _key(cursor: Cursor) -> tuple[str, bytes]:
    """The first row's next key, and its bytes."""
    raw = cursor.first(_LONGEST_KEY_BYTES)
    first = raw[0] if raw else 0
    if 0xA0 <= first <= 0xBF:
        start, size = 1, first & 0x1F
    elif first in (0xD9, 0xDA):
        start = first - 0xD9 + 2
        size = int.from_bytes(raw[1:start], "big")
    else:
        raise cursor.only_first()
    key = raw[: start + size]
    try:
        name = key[start:].decode("utf-8")
    except UnicodeDecodeError:
        raise cursor.only_first() from None
    if len(key) < start + size:
        raise cursor.only_first()
    return name, key
