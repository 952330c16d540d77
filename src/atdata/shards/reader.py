"""A shard read in order, by its table or by a scan, in blocks of samples; what was not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Final, TypeAlias, TypeVar

import numpy as np

from atdata._arrays import Bytes, Integers
from atdata._limits import limits
from atdata._shardlist import Layout
from atdata._warnings import warn
from atdata.errors import ShardError, UnreadMembersWarning
from atdata.samples.codec import SampleCodec
from atdata.shards.columns.column import READ_ROW_BYTES
from atdata.shards.columns.decode import Block, LayoutDecoder, Payloads, decoder_of
from atdata.shards.layouts.check import members_in, members_match
from atdata.shards.layouts.decode import members_decoder, members_of
from atdata.shards.layouts.linked import linked_in
from atdata.shards.layouts.sniff import layout_of
from atdata.shards.layouts.walk import APART, MembersWalker
from atdata.shards.tar.check import (
    header_agrees,
    headers_match,
    key_agrees,
    plain_headers_agree,
    suffixes_agree,
)
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.inside import Inside
from atdata.shards.tar.keys import KeyMatrix, key_list
from atdata.shards.tar.links import LinksError
from atdata.shards.tar.members import listed
from atdata.shards.tar.scan import Found
from atdata.shards.tar.table import SUFFIX, SampleTable
from atdata.shards.tar.walk import Walker, check_tail
from atdata.shards.tar.window import MappedFile, StreamChunks, Window, open_window

T = TypeVar("T")

_MOST_ROWS: Final = 8192
_SCANNED_BYTES: Final = 1 << 24
"""Bytes of a block that is scanned: the more headers at once, the less each costs."""
_TABLE_BYTES: Final = 1 << 22
"""Bytes of a block that is read by a table: it stays in the processor's cache."""
_LARGE_TABLE_BYTES: Final = 1 << 25
"""The same of large samples, which are copied one by one, or once to their batch."""
OpenWhole: TypeAlias = Callable[[], MappedFile]
"""Opens the whole of a shard that is read as a stream: only there can links be followed."""
_AnyWalker: TypeAlias = Walker | MembersWalker


def read_blocks(
    source: IO[bytes] | Path | MappedFile | StreamChunks,
    *,
    shard: str,
    codec: SampleCodec[T],
    table: SampleTable | None = None,
    rows: int | None = None,
    first: int | None = None,
    copy: bool = True,
    unread: Unread | None = None,
    whole: OpenWhole | None = None,
) -> Iterator[Block[T]]:
    """Read a shard in order: a mapped file that has a table without looking for headers.

    A file is mapped into memory, so it must not be truncated while blocks of it are in use: the
    system kills a process that reads a map after the file's end. Where another program may
    truncate it, open it and pass the stream.

    Args:
        source: The shard's file, perhaps mapped, a stream of its bytes, or chunks of one; read to
            its end and left open.
        shard: Its name in errors.
        codec: Codec of its samples.
        table: Its table, all of it checked, which agrees with its headers as far as
            `table_matches` tells.
        rows: Each block has this many samples or a multiple of them; the last one of a file, and
            of each chunk of a stream, may be shorter. None: any number. A block has at most 8,192
            samples and about 16 MB, unless ``rows`` are more.
        first: Samples in the first block, where it is to be shorter; None: ``rows``.
        copy: As for `Block`.
        unread: Collects the members that were not read. None: a warning names them at the end.
        whole: Opens the whole shard if a sample in a stream is a link. None: that is an error.

    Raises:
        ShardError: Damaged, cut short, not a tar; or it has members, but no samples. Or the table
            is wrong, which may be found only after other samples have been read by it.
    """
    if table is not None and isinstance(source, MappedFile):
        by_table = _read_by_table(source, table, shard, codec, rows or 1, first or 0, copy)
        if (yield from by_table):
            return
    for window, spans in _read(source, shard, unread, whole, rows or 1, first or 0):
        decoder = in_layout(codec, spans.walker.layout)
        file = window if isinstance(window, MappedFile) else None
        links = spans.walker.links
        linked = linked_in(links, spans.view, spans.starts, window.base) if links else None
        payloads = replace(spans.payloads, file=file, base=window.base, linked=linked)
        yield Block(shard, decoder, payloads, partial(key_list, spans.keys), copy=copy)


def _read_by_table(
    file: MappedFile,
    table: SampleTable,
    shard: str,
    codec: SampleCodec[T],
    rows: int,
    first: int,
    copy: bool,
) -> Generator[Block[T], None, bool]:
    """The blocks of a local shard by its table; arguments as for `read_blocks`.

    Each block is compared with the suffixes of all its names: only so is no other member taken for
    a sample. This is done once a process, as long as neither file changes. Decoding compares what
    is between the values of every payload; the rest of a header is checked where a key is used, or
    a payload cannot be decoded.

    Returns:
        False: nothing was read by it, since the first block disagrees, or has long names.
    """
    count, size = len(table), table.head.shard_bytes
    # A table may be older than the limit: the scan raises the error.
    if size != len(file.view) or not 0 < count <= limits.samples:
        return False
    data: Bytes = np.frombuffer(file.view, np.uint8)
    done, compared = 0, table.compared
    typical = max(BLOCK, size // count)
    most = _LARGE_TABLE_BYTES if typical >= READ_ROW_BYTES else _TABLE_BYTES
    decoder, by_members = in_layout(codec, table.head.layout), table.head.layout == "members"
    while done < count:
        end = min(count, done + _block_rows(typical, rows, done - first, most))
        # Copies: a mapped table may be overwritten after it was compared.
        starts, sizes = table.spans(np.arange(done, end))
        refused = {row - done: table.refused[row] for row in table.refused if done <= row < end}
        linked = linked_in(table.links, file.view, starts, 0) if table.links else None
        place = (file.view, starts, starts + sizes, file, 0)
        payloads = Payloads(*place, refused=refused, linked=linked)
        if by_members:
            rows_of = np.arange(done, end)
            inside = members_in(table, rows_of, sizes, data, starts, members_decoder(codec).wanted)
            payloads = replace(payloads, inside=inside)
            if inside is None:
                if not done:
                    return False
                raise _disagree(shard, done, int(starts[0]) - BLOCK)
            names = partial(table.keys, rows_of)
            yield Block(shard, decoder, payloads, names, copy=copy)
            done = end
            file.release(int(payloads.ends[-1]))
            continue
        if end > compared.rows:
            if not suffixes_agree(data, starts, table.key_lengths(done, end)):
                if not done:
                    return False
                _check_keys(payloads, table, done, shard)
            if done <= compared.rows:
                compared.rows = end
        check_row = partial(_check_header, payloads, shard, done)
        keys = partial(_keys, payloads, table, done, shard)
        yield Block(shard, decoder, payloads, keys, copy=copy, check_row=check_row)
        done = end
        file.release(int(payloads.ends[-1]))
    return True


def _block_rows(size: int, rows: int, done: int, most: int) -> int:
    """Samples of the next block.

    Args:
        size: Bytes of a sample.
        rows: The block ends after this many samples, or a multiple of them.
        done: Samples before it, counted from such an end.
        most: Bytes of a block.
    """
    fitting = min(_MOST_ROWS, 1 + most // size)
    return max(1, fitting // rows) * rows - done % rows


def _keys(payloads: Payloads, table: SampleTable, first: int, shard: str) -> list[str]:
    """The keys of consecutive samples.

    Raises:
        ShardError: Their headers have other keys.
    """
    starts = payloads.starts
    rows = np.arange(first, first + len(starts))
    data: Bytes = np.frombuffer(payloads.buffer, np.uint8)
    matrix = table.key_matrix(rows)
    if matrix is None or not plain_headers_agree(data, starts, payloads.ends - starts, matrix):
        _check_keys(payloads, table, first, shard)
    return table.keys(rows)


def _check_keys(payloads: Payloads, table: SampleTable, first: int, shard: str) -> None:
    """Raise if the names of consecutive samples, of any length, are not of the table's keys."""
    buffer = payloads.buffer
    for row, start in enumerate(payloads.starts.tolist(), first):
        before = partial(_bytes, buffer, table.end_of(row - 1), start - BLOCK)
        if not key_agrees(_bytes(buffer, start - BLOCK, start), table.key_bytes(row), before):
            raise _disagree(shard, row, start - BLOCK)


def _bytes(buffer: memoryview, start: int, end: int) -> bytes:
    return bytes(buffer[start:end]) if end - start <= limits.extended_bytes else b""


def _check_header(payloads: Payloads, shard: str, first: int, row: int) -> None:
    """Raise if the header of a payload that could not be decoded is not of its size."""
    start, end = int(payloads.starts[row]), int(payloads.ends[row])
    if not header_agrees(bytes(payloads.buffer[start - BLOCK : start]), end - start):
        raise _disagree(shard, first + row, start - BLOCK)


def _disagree(shard: str, row: int, offset: int) -> ShardError:
    return ShardError(
        f"the shard and the sample table next to it, its {SUFFIX} file, disagree at sample {row}: "
        "one of them was changed. atdata verify checks the shard. If it is whole, remove the "
        f"{SUFFIX} file, and the shard is read without it; else get the shard again",
        shard=shard,
        offset=offset,
    )


def in_layout(codec: SampleCodec[T], layout: Layout) -> LayoutDecoder[T]:
    """The decoder of samples in a layout."""
    return decoder_of(codec) if layout == "msgpack" else members_decoder(codec)


def table_matches(table: SampleTable, read: Callable[[int, int], bytes]) -> bool:
    """Whether a table of any layout, which fits by size, also agrees with the shard's headers.

    A small shard is read, and all its headers are checked; of a larger one a few are, the first
    and the last among them.

    Args:
        table: The table, whose samples lie in the shard.
        read: Reads from an offset of the shard a number of bytes.
    """
    match = members_match if table.head.layout == "members" else headers_match
    return match(table, read)


def count_samples(
    source: IO[bytes] | Path,
    *,
    shard: str,
    unread: Unread | None = None,
    whole: OpenWhole | None = None,
    apart: bool = True,
) -> int:
    """Count the samples of a shard without decoding them; arguments as for `read_blocks`.

    Args:
        source: As for `read_blocks`.
        shard: As for `read_blocks`.
        unread: As for `read_blocks`.
        whole: As for `read_blocks`.
        apart: Whether parts of samples that are apart from each other are counted, too.

    Raises:
        ShardError: As in `read_blocks`; or without ``apart``, the members of a sample are apart.
    """
    count = 0
    for window, spans in _read(source, shard, unread, whole):
        count += len(spans.starts)
        for row, why in spans.refused.items() if not apart else ():
            offset, key = window.base + int(spans.starts[row]) - BLOCK, key_list(spans.keys)[row]
            raise ShardError(why, shard=shard, offset=offset, key=key)
    return count


def scan_table(
    source: IO[bytes] | Path,
    *,
    shard: str,
    shard_bytes: int,
    sha256: str | None = None,
    unread: Unread | None = None,
    whole: OpenWhole | None = None,
) -> SampleTable:
    """Make the sample table of a shard by reading its headers.

    Args:
        source: The shard's file, or a stream of its bytes.
        shard: Its name in errors.
        shard_bytes: Its size.
        sha256: Its hash, if known.
        unread: As for `read_blocks`.
        whole: As for `read_blocks`.

    Raises:
        ShardError: As in `read_blocks`.
    """
    offsets, sizes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    keys: list[KeyMatrix | list[str]] = []
    inside = [Inside.unknown(0)]
    walker = None
    for window, spans in _read(source, shard, unread, whole):
        offsets.append(window.base + spans.starts)
        sizes.append(spans.ends - spans.starts)
        keys += spans.keys
        walker = spans.walker
        if walker.layout == "members":
            inside.append(members_of(spans.payloads))
    table = SampleTable.of(
        np.concatenate(offsets),
        np.concatenate(sizes),
        keys,
        shard_bytes=shard_bytes,
        sha256=sha256,
        inside=None if walker is None or walker.layout == "msgpack" else Inside.joined(inside),
    )
    if walker is not None:
        table.alone, table.names, table.links = walker.alone, walker.names, walker.links
        if walker.apart:
            found = enumerate(key_list(keys))
            table.refused = {row: APART for row, key in found if key in walker.apart}
    return table


def _read(
    source: IO[bytes] | Path | MappedFile | StreamChunks,
    shard: str,
    unread: Unread | None,
    whole: OpenWhole | None,
    rows: int = 1,
    first: int = 0,
) -> Iterator[tuple[Window, _BlockSpans]]:
    """The samples of a shard, with the window that they are in; arguments as for `read_blocks`."""
    collected, done = unread or Unread(), 0
    walker: _AnyWalker = Walker()
    try:
        window = open_window(source)
        if layout_of(window) == "members":
            walker = MembersWalker()
        try:
            for spans in _block_spans(walker, window, rows, first):
                yield window, spans
                done += len(spans.starts)
        except LinksError:
            if whole is None:
                raise ShardError(
                    "a sample is a link, which is followed in files only, not in a stream"
                ) from None
            window, walker = whole(), type(walker)()
            for spans in _block_spans(walker, window, rows, first):
                known, done = done, max(0, done - len(spans.starts))
                if known < len(spans.starts):
                    yield window, spans.after(known)
    except ShardError as error:
        raise error.in_shard(shard) from None
    except GeneratorExit:
        _report(collected, unread, shard, walker)
        raise
    _report(collected, unread, shard, walker)


def _report(collected: Unread, unread: Unread | None, shard: str, walker: _AnyWalker) -> None:
    collected.add(shard, walker.others)
    if unread is None:
        collected.warn()


class Unread:
    """Members that were not read of the shards of one dataset, each reported once. Thread-safe."""

    def __init__(self) -> None:
        self._found: dict[str, Counter[str]] = {}
        self._warned_of: dict[str, int] = {}

    def add(self, shard: str, counts: Counter[str]) -> None:
        """Add the members that were not read of a shard, in one reading of it."""
        if counts.total() > self._warned_of.get(shard, 0):
            self._found[shard] = Counter(counts)

    def of(self, shard: str) -> dict[str, int]:
        """Members of a shard that were added and not reported yet."""
        return dict(self._found.get(shard, ()))

    def join(self, other: Unread) -> None:
        """Add what ``other`` has."""
        for shard, counts in other._found.items():
            self.add(shard, counts)

    @contextmanager
    def reading(self) -> Iterator[Unread]:
        """Warn at the end of the block, or when its generator is closed; not after an error."""
        try:
            yield self
        except GeneratorExit:
            self.warn()
            raise
        self.warn()

    def warn(self) -> None:
        """Warn of what was added since the last call, if anything was."""
        found, self._found = self._found, {}
        if not found:
            return
        total: Counter[str] = Counter()
        for shard, counts in found.items():
            self._warned_of[shard] = counts.total()
            total += counts
        first, more = next(iter(found)), len(found) - 1
        where = f"{first} and {more:,} more shard{'s' * (more > 1)}" if more else first
        number = total.total()
        what = (
            "1 member is not a sample and was"
            if number == 1
            else (f"{number:,} members are not samples and were")
        )
        warn(
            UnreadMembersWarning(
                f"{where}: {what} not read: {listed(total)}. A sample is a file KEY.msgpack, .mp "
                "or .msg; of a WebDataset, the files that share a key: KEY.jpg, KEY.txt"
            ),
        )


@dataclass(frozen=True, slots=True)
class _BlockSpans:
    """Where the samples of one block are, and their keys."""

    view: memoryview
    starts: Integers
    ends: Integers
    keys: list[KeyMatrix | list[str]]
    walker: _AnyWalker
    """What found it."""
    inside: Inside | None = None
    """See `Payloads`."""
    refused: Mapping[int, str] = field(default_factory=dict)
    """See `Payloads`."""

    @property
    def payloads(self) -> Payloads:
        """The samples in the window."""
        places = self.view, self.starts, self.ends
        return Payloads(*places, inside=self.inside, refused=self.refused)

    def after(self, row: int) -> _BlockSpans:
        """The rows from ``row`` on, their keys as text."""
        if not row:
            return self
        keys: list[KeyMatrix | list[str]] = [key_list(self.keys)[row:]]
        refused = {n - row: why for n, why in self.refused.items() if n >= row}
        spans = (self.view, self.starts[row:], self.ends[row:])
        return _BlockSpans(*spans, keys, self.walker, refused=refused)


def _block_spans(
    walker: _AnyWalker, window: Window, rows: int, first: int
) -> Iterator[_BlockSpans]:
    at = 0
    pending: list[Found] = []
    count = before = 0
    while True:
        most = _block_rows(walker.typical, rows, before - first, _SCANNED_BYTES)
        found = walker.find(
            window.view, at, base=window.base, final=window.final, most=max(1, most - count)
        )
        if len(found.offsets):
            pending.append(found)
            count += len(found.offsets)
        at = found.end
        more = bool(found.need) or at > len(window.view)
        if pending and (count >= most or more or found.over):
            yield _joined(walker, window.view, pending)
            window.release(at)
            before += count
            pending, count = [], 0
        if found.over:
            check_tail(window.rest(at), window.base + at)
            walker.finish()
            return
        if more:
            window.move(at, found.need)
            at = 0


def _joined(walker: _AnyWalker, view: memoryview, pending: list[Found]) -> _BlockSpans:
    starts = np.concatenate([np.asarray(found.offsets, np.int64) for found in pending])
    sizes = np.concatenate([np.asarray(found.sizes, np.int64) for found in pending])
    keys = [found.keys for found in pending]
    inside = None
    if walker.layout == "members":
        parts = [found.inside or Inside.unknown(len(found.offsets)) for found in pending]
        inside = Inside.joined(parts)
    refused, done = {}, 0
    for found in pending:
        refused.update({done + row: why for row, why in found.refused.items()})
        done += len(found.offsets)
    return _BlockSpans(view, starts, starts + sizes, keys, walker, inside, refused)
