"""The sample table of a shard: offset, size and key of each sample.

A small file next to the shard, ``<shard>.idx``; `docs/formats.md` has its layout. A table may come
from anyone, so each entry is checked when it is used, and against the sample's header when that
is read; the table's checksum is checked before many samples are read by it. Samples that it leaves
out are looked for when it is opened: see `ShardTables`.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from atdata._arrays import Integers
from atdata._limits import limits
from atdata._shardlist import Layout
from atdata.errors import OptionError, ShardError
from atdata.shards.tar.header import BLOCK, padded
from atdata.shards.tar.inside import Inside
from atdata.shards.tar.keys import KeyMatrix, key_list, key_text
from atdata.shards.tar.stored_members import StoredMembers, stored
from atdata.system.files import open_file
from atdata.system.forks import once

SUFFIX: Final = ".idx"
"""What follows the name of the shard in the name of its table."""
_MAGIC: Final = b"ATDTABLE"
_VERSION: Final = 1
_VERSION_OF_LAYOUTS: Final = 2
"""Of tables that name a layout: readers that know none must not take such a table for theirs."""
_HEAD: Final = struct.Struct("<8sII Q32sQQ I")
_CRC: Final = struct.Struct("<I")
HEAD_BYTES: Final = _HEAD.size + _CRC.size
"""Bytes before the columns."""
_ROW_BYTES: Final = 24
_ROWS_AT_ONCE: Final = 8192
"""Rows that are checked together: as many as the processor's cache holds."""
_LONGEST_KEY_BYTES: Final = 100
"""Bytes of the longest key in a matrix of keys."""
_UNKNOWN: Final = bytes(32)
_LAYOUTS: Final[tuple[Layout, ...]] = get_args(Layout)


def is_of_another_program(beginning: bytes) -> bool:
    """Whether a file with the name of a table, which begins so, was not written by atdata.

    Megatron-Energon writes files of this name, too. They are never overwritten.
    """
    return bool(beginning) and beginning[: len(_MAGIC)] != _MAGIC[: len(beginning)]


def is_foreign_file(path: Path) -> bool:
    """The same of a file, which may not exist."""
    try:
        with open_file(path) as file:
            return is_of_another_program(file.read(len(_MAGIC)))
    except FileNotFoundError:
        return False
    except OSError:
        # Not a regular file.
        return True


def check_layout(layout: object) -> None:
    """Refuse what is no layout, with an OptionError."""
    if layout not in _LAYOUTS:
        raise OptionError(f'layout={layout!r:.80}: expected "msgpack" or "members".')


@dataclass(frozen=True)
class TableHead:
    """The first bytes of a table."""

    shard_bytes: int
    sha256: str | None
    """SHA-256 of the shard, in lower-case hex; None: not known."""
    samples: int
    key_bytes: int
    body_crc: int
    layout: Layout = "msgpack"

    @property
    def table_bytes(self) -> int:
        """Size of the whole table, but for the members of samples."""
        return HEAD_BYTES + _ROW_BYTES * self.samples + self.key_bytes

    def fits(self, shard_bytes: int | None, sha256: str | None) -> bool:
        """Whether this is a table of a shard with this size and hash, as far as they are known."""
        same_size = shard_bytes is None or shard_bytes == self.shard_bytes
        return same_size and (None in (sha256, self.sha256) or sha256 == self.sha256)


@dataclass(slots=True)
class Compared:
    """What a process has compared of one version of a table with one version of its shard."""

    rows: int = 0
    """Rows, from the first on, that are samples of the shard by the names in their headers."""
    complete: bool = False
    """Whether the shard has no other samples."""


class SampleTable:
    """Where the samples of one shard are.

    Args:
        head: Size, hash and counts.
        body: Offsets, sizes and ends of keys, each n unsigned 64-bit integers in little-endian
            order, then the keys, joined; in the members layout, then the members, see `stored`.
            Kept, not copied.

    Raises:
        ShardError: It does not have the parts of a table.
    """

    def __init__(self, head: TableHead, body: memoryview) -> None:
        self.head = head
        n = head.samples
        self.offsets: Integers = np.frombuffer(body, "<i8", n, 0)
        """Where each payload begins, in bytes from the start of the shard."""
        self.sizes: Integers = np.frombuffer(body, "<i8", n, 8 * n)
        """Bytes of each payload."""
        self._ends: Integers = np.frombuffer(body, "<i8", n, 16 * n)
        end = _ROW_BYTES * n + head.key_bytes
        self._keys = body[_ROW_BYTES * n : end]
        self._members = None if head.layout == "msgpack" else StoredMembers(body[end:], n)
        self._body = body
        self.checked = False
        """Whether `check` has passed."""
        self.compared = Compared()
        """What of it was compared with its shard."""
        self.alone = True
        """Whether all members of the shard are samples with payloads of their own. Only then is
        the table kept: it would hide members that are not read, and has no room for links."""
        self.names: Mapping[int, bytes] = {}
        """If samples are links: offset of each payload → the name in its header. Offsets need not
        ascend then, and samples may share a payload."""
        self.links: Mapping[int, tuple[int, int] | str] = {}
        """Of the members layout: offset of a link's header → where the file that it leads to
        begins, and its size; or why it leads to none."""
        self.refused: Mapping[int, str] = {}
        """Rows that cannot be decoded, and why."""

    def __len__(self) -> int:
        return self.head.samples

    def end_of(self, row: int) -> int:
        """Where the padding after a payload ends; for row -1, where the shard begins."""
        return int(self.offsets[row]) + padded(int(self.sizes[row])) if row >= 0 else 0

    def end_without_gaps(self) -> int | None:
        """Where the padding after the last payload ends: the end-of-archive marker is there.

        None: another member could lie between the samples, or before the first one.

        Raises:
            ShardError: Samples overlap, or would not lie in the shard.
        """
        room, end = False, 0
        for first in range(0, len(self), _ROWS_AT_ONCE):
            offsets = self.offsets[first : first + _ROWS_AT_ONCE]
            sizes = self.sizes[first : first + _ROWS_AT_ONCE]
            _check_places(offsets, sizes, self.head.shard_bytes)
            ends = (sizes + (BLOCK - 1)) // BLOCK * BLOCK + offsets
            between = offsets - BLOCK
            between[1:] -= ends[:-1]
            between[0] -= end
            end = int(ends[-1])
            if int(between.min()) < 0:
                raise ShardError("a sample table whose samples overlap")
            room |= bool(between.any())
        return None if room else end

    def spans(self, rows: Integers) -> tuple[Integers, Integers]:
        """Where some payloads begin, and how many bytes they have; copies.

        Raises:
            ShardError: One of them, with its header and padding, would not lie in the shard.
        """
        offsets, sizes = self.offsets[rows], self.sizes[rows]
        # Another process may overwrite a mapped table after it was checked.
        if not self.checked or isinstance(self._body.obj, mmap.mmap):
            _check_places(offsets, sizes, self.head.shard_bytes)
        return offsets, sizes

    def span(self, row: int) -> tuple[int, int]:
        """`spans` of one row, without the cost of arrays."""
        offset, size = int(self.offsets[row]), int(self.sizes[row])
        end = offset + padded(size)
        fits = offset >= BLOCK and end <= self.head.shard_bytes and not offset % BLOCK
        if not fits or not 0 <= size <= limits.sample_bytes:
            raise ShardError("a sample table whose samples lie outside of the shard")
        return offset, size

    def inside(self, rows: Integers, sizes: Integers) -> Inside | None:
        """The members of some samples, as far as they are recorded; None: the layout has none.

        Args:
            rows: Which samples.
            sizes: Bytes of each payload.

        Raises:
            ShardError: They do not fill their samples.
        """
        if self._members is None:
            return None
        return self._members.of_rows(rows, sizes + BLOCK)

    def key(self, row: int) -> str:
        """The key of one sample.

        Raises:
            ShardError: It is not UTF-8.
        """
        try:
            return self.key_bytes(row).decode("utf-8")
        except UnicodeDecodeError:
            raise ShardError(f"a sample table whose key {row} is not UTF-8") from None

    def key_bytes(self, row: int) -> bytes:
        """The key of one sample in UTF-8."""
        start = int(self._ends[row - 1]) if row else 0
        return bytes(self._keys[start : int(self._ends[row])])

    def key_lengths(self, first: int, end: int) -> Integers:
        """Bytes of the keys of consecutive samples, from ``first`` to before ``end``."""
        lengths = self._ends[first:end].copy()
        lengths[1:] -= self._ends[first : max(first, end - 1)]
        lengths[:1] -= self._ends[first - 1] if first else 0
        return lengths

    def key_matrix(self, rows: Integers) -> KeyMatrix | None:
        """The keys of some samples in UTF-8, zeros after shorter ones; a copy.

        None: there are no rows, or a key is empty, too long, or contains a zero.
        """
        stops = self._ends[rows]
        starts = self._ends[np.maximum(rows, 1) - 1]
        starts[rows == 0] = 0
        lengths = stops - starts
        longest = int(lengths.max()) if len(rows) else 0
        good = 0 < longest <= _LONGEST_KEY_BYTES and int(lengths.min()) > 0
        if not good or int(starts.min()) < 0 or int(stops.max()) > len(self._keys):
            return None
        # A view whose items overlap: indexing it reads all keys in one call.
        last = len(self._keys) - longest
        overlapping = np.ndarray((last + 1,), f"V{longest}", self._keys, 0, (1,))
        matrix: KeyMatrix = overlapping[np.minimum(starts, last)].view(np.uint8)
        matrix = matrix.reshape(-1, longest)
        if int(lengths.min()) < longest:
            for row in np.flatnonzero(starts > last).tolist():
                matrix[row, : lengths[row]] = np.frombuffer(
                    self._keys, np.uint8, int(lengths[row]), int(starts[row])
                )
            matrix[np.arange(longest) >= lengths[:, None]] = 0
        return matrix if np.count_nonzero(matrix) == int(lengths.sum()) else None

    def key_bytes_of(self, rows: Integers) -> KeyMatrix | list[bytes]:
        """The keys of some samples in UTF-8: `key_matrix`, or a list where it cannot be."""
        matrix = self.key_matrix(rows)
        return [self.key_bytes(row) for row in rows.tolist()] if matrix is None else matrix

    def keys(self, rows: Integers) -> list[str]:
        """The keys of some samples.

        Raises:
            ShardError: One is not UTF-8.
        """
        matrix = self.key_matrix(rows)
        if matrix is not None and (matrix < 0x80).all():
            return key_list([matrix])
        return [self.key(row) for row in rows.tolist()]

    @once
    def _key_length(self) -> int | None:
        """Bytes of each key if all have the same number; else None."""
        ends, count = self._ends, len(self)
        length = int(ends[0]) if count else 0
        if length < 1 or length * count != len(self._keys):
            return None
        for start in range(0, count, _ROWS_AT_ONCE):
            part = ends[start : start + _ROWS_AT_ONCE]
            if (part != np.arange(start + 1, start + 1 + len(part)) * length).any():
                return None
        return length

    def find(self, key: str) -> int | None:
        """The row of a key, or None."""
        raw = key.encode("utf-8", "surrogatepass")
        length = self._key_length
        if length is None:
            return self._find_text(raw)
        if len(raw) != length:
            return None
        # Keys of one length, such as numbers, differ most at their ends.
        width = next(width for width in (8, 4, 2, 1) if width <= length)
        ends = np.ndarray((len(self),), f"<u{width}", self._keys, length - width, (length,))
        for row in np.flatnonzero(ends == int.from_bytes(raw[-width:], "little")).tolist():
            if bytes(self._keys[row * length : (row + 1) * length]) == raw:
                return int(row)
        return None

    def _find_text(self, raw: bytes) -> int | None:
        text = self._key_text
        at = text.find(raw)
        while raw and at >= 0:
            row = int(np.searchsorted(self._ends, at, side="right"))
            start = int(self._ends[row - 1]) if row else 0
            if start == at and int(self._ends[row]) == at + len(raw):
                return row
            at = text.find(raw, at + 1)
        return None

    @once
    def _key_text(self) -> bytes:
        return bytes(self._keys)

    def rest(self) -> None:
        """Give back the memory of a mapped table; its pages are read again when they are used."""
        mapped = self._body.obj
        if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)

    def to_bytes(self) -> bytes:
        """The bytes of the table's file."""
        return _head_bytes(self.head) + self._body

    def for_shard(self, shard_bytes: int, sha256: str | None) -> SampleTable:
        """The same table for a shard of this size and hash."""
        head = replace(self.head, shard_bytes=shard_bytes, sha256=sha256)
        table = SampleTable(head, self._body)
        table.alone, table.names = self.alone, self.names
        table.links, table.refused = self.links, self.refused
        return table

    @classmethod
    def of(
        cls,
        offsets: Sequence[int] | Integers,
        sizes: Sequence[int] | Integers,
        keys: Iterable[KeyMatrix | list[str]],
        *,
        shard_bytes: int,
        sha256: str | None,
        inside: Inside | None = None,
    ) -> SampleTable:
        """A table of a shard's samples, in order; the keys in several arrays or lists.

        ``inside`` has the members of samples of that layout.
        """
        text, lengths = key_text(keys)
        ends = np.cumsum(lengths)
        known: dict[str, Any] = {"shard_bytes": shard_bytes, "sha256": sha256, "inside": inside}
        return cls.joined(offsets, sizes, ends, text, **known)

    @classmethod
    def joined(
        cls,
        offsets: Sequence[int] | Integers,
        sizes: Sequence[int] | Integers,
        ends: Sequence[int] | Integers,
        keys: bytes | bytearray,
        *,
        shard_bytes: int,
        sha256: str | None,
        inside: Inside | None = None,
    ) -> SampleTable:
        """A table with the keys joined; ``ends`` has where each of them ends."""
        columns = (np.asarray(column, "<i8").tobytes() for column in (offsets, sizes, ends))
        body = b"".join((*columns, keys, b"" if inside is None else stored(inside)))
        layout: Layout = "msgpack" if inside is None else "members"
        crc = zlib.crc32(body)
        head = TableHead(shard_bytes, sha256, len(offsets), len(keys), crc, layout)
        return cls(head, memoryview(body))

    @classmethod
    def opened(cls, data: bytes | memoryview) -> SampleTable:
        """A table from the bytes of its file, which are kept. Only its head is checked.

        Raises:
            ShardError: Not a table, or its head is damaged.
        """
        head = parse_head(bytes(data[:HEAD_BYTES]), len(data))
        return cls(head, memoryview(data)[HEAD_BYTES:])

    @classmethod
    def parse(cls, data: bytes | memoryview) -> SampleTable:
        """A table from the bytes of its file, all of it checked.

        Raises:
            ShardError: It is damaged, or makes impossible claims.
        """
        table = cls.opened(data)
        table.check()
        return table

    def check(self) -> None:
        """Check the whole table.

        Raises:
            ShardError: It is damaged, or makes impossible claims.
        """
        if zlib.crc32(self._body) != self.head.body_crc:
            raise ShardError("a sample table with a wrong checksum")
        offsets, sizes, ends = self.offsets, self.sizes, self._ends
        _check_places(offsets, sizes, self.head.shard_bytes)
        lengths = self.key_lengths(0, len(self))
        if (
            (offsets[:-1] + sizes[:-1] + BLOCK > offsets[1:]).any()
            or (lengths < 1).any()
            or (lengths > limits.member_name).any()
            or int(ends[-1] if len(ends) else 0) != self.head.key_bytes
        ):
            raise ShardError("a sample table whose samples or keys overlap")
        self.checked = True


def _check_places(offsets: Integers, sizes: Integers, shard_bytes: int) -> None:
    """Check that samples lie within the shard: header, payload and padding.

    Raises:
        ShardError: One does not.
    """
    if not len(offsets):
        return
    # As unsigned numbers, negative ones are the largest. Bounded first, their sum cannot overflow.
    good = int(sizes.view(np.uint64).max()) <= limits.sample_bytes
    good = good and int(offsets.min()) >= BLOCK and int(offsets.max()) <= shard_bytes
    good = good and not int(np.bitwise_or.reduce(offsets)) % BLOCK
    if not good or int((offsets + (sizes + BLOCK - 1) // BLOCK * BLOCK).max()) > shard_bytes:
        raise ShardError("a sample table whose samples lie outside of the shard")


def largest_table() -> int:
    """Most bytes of a table that is read."""
    return min(limits.table_bytes, HEAD_BYTES + limits.samples * (_ROW_BYTES + 128))


def parse_head(data: bytes, size: int) -> TableHead:
    """The head of a table.

    Args:
        data: The first HEAD_BYTES of the file.
        size: Size of the file.

    Raises:
        ShardError: Not a table, of another version, or damaged.
    """
    if len(data) < HEAD_BYTES or not data.startswith(_MAGIC):
        raise ShardError("not a sample table")
    _, version, layout, shard_bytes, sha256, samples, key_bytes, crc = _HEAD.unpack_from(data)
    known = {_VERSION: (0,), _VERSION_OF_LAYOUTS: range(1, len(_LAYOUTS))}
    if layout not in known.get(version, ()):
        raise ShardError(f"a sample table of the unknown version {version}, layout {layout}")
    if _CRC.unpack_from(data, _HEAD.size)[0] != zlib.crc32(data[: _HEAD.size]):
        raise ShardError("a sample table with a damaged head")
    sha = None if sha256 == _UNKNOWN else sha256.hex()
    head = TableHead(shard_bytes, sha, samples, key_bytes, crc, _LAYOUTS[layout])
    fits = head.table_bytes <= size if layout else head.table_bytes == size
    if samples > limits.samples or shard_bytes >= 2**62 or not fits:
        raise ShardError(f"a sample table of {size:,} bytes that claims {samples:,} samples")
    return head


def _head_bytes(head: TableHead) -> bytes:
    sha256 = bytes.fromhex(head.sha256) if head.sha256 else _UNKNOWN
    numbers = (head.shard_bytes, sha256, head.samples, head.key_bytes, head.body_crc)
    layout = _LAYOUTS.index(head.layout)
    version = _VERSION_OF_LAYOUTS if layout else _VERSION
    packed = _HEAD.pack(_MAGIC, version, layout, *numbers)
    return packed + _CRC.pack(zlib.crc32(packed))
