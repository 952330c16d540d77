"""The table of a shard's samples: where each begins, how long it is, what its key is.

A small file beside the shard, ``<shard>.idx``, laid out as `docs/formats.md` says. What a
table claims is checked when it is opened, and against the headers of the samples when they
are read, so that one that is wrong is found out and never believed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import numpy as np

from atdata._limits import limits
from atdata.errors import ShardError
from atdata.shards.header import BLOCK, number
from atdata.shards.reader import find_samples
from atdata.shards.scan import checksums_hold, octal

Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

SUFFIX: Final = ".idx"
"""What follows the name of the shard in the name of its table."""
_MAGIC: Final = b"ATDTABLE"
_VERSION: Final = 1
_HEAD: Final = struct.Struct("<8sII Q32sQQ I")
_CRC: Final = struct.Struct("<I")
HEAD_BYTES: Final = _HEAD.size + _CRC.size
"""Bytes before the columns."""
_ROW: Final = 24
_AT_ONCE: Final = 1024
"""Headers that are looked at together: what fits into the processor's cache."""
_UNKNOWN: Final = bytes(32)


@dataclass(frozen=True)
class TableHead:
    """What the first bytes of a table say."""

    shard_bytes: int
    sha256: str | None
    """Of the shard, in lower-case hex; None: not known."""
    samples: int
    key_bytes: int
    body_crc: int

    @property
    def table_bytes(self) -> int:
        """Size of the whole table."""
        return HEAD_BYTES + _ROW * self.samples + self.key_bytes

    def fits(self, shard_bytes: int | None, sha256: str | None) -> bool:
        """Whether this is a table of a shard with this size and hash, as far as they are known."""
        same_size = shard_bytes is None or shard_bytes == self.shard_bytes
        return same_size and (None in (sha256, self.sha256) or sha256 == self.sha256)


class SampleTable:
    """Where the samples of one shard are.

    Args:
        head: Size, hash and counts.
        body: Offsets, sizes and ends of keys, each n unsigned 64-bit integers in little-endian
            order, and the keys one behind the other. Kept, not copied.
    """

    def __init__(self, head: TableHead, body: memoryview) -> None:
        self.head = head
        n = head.samples
        self.offsets: Integers = np.frombuffer(body, "<i8", n, 0)
        """Where each payload begins, in bytes from the start of the shard."""
        self.sizes: Integers = np.frombuffer(body, "<i8", n, 8 * n)
        """Bytes of each payload."""
        self._ends: Integers = np.frombuffer(body, "<i8", n, 16 * n)
        self._keys = body[_ROW * n :]
        self._body = body

    def __len__(self) -> int:
        return self.head.samples

    def key(self, row: int) -> str:
        """The key of one sample."""
        start = int(self._ends[row - 1]) if row else 0
        try:
            return bytes(self._keys[start : int(self._ends[row])]).decode("utf-8")
        except UnicodeDecodeError:
            raise ShardError(f"a sample table whose key {row} is no text") from None

    def keys(self, rows: Integers) -> list[str]:
        """The keys of some samples."""
        length = self._key_length
        if length:
            text = np.frombuffer(self._keys, np.uint8).reshape(-1, length)[rows].tobytes()
            if text.isascii():
                whole = text.decode("ascii")
                return [whole[at : at + length] for at in range(0, len(whole), length)]
        return [self.key(row) for row in rows.tolist()]

    @cached_property
    def _key_length(self) -> int | None:
        """Bytes of every key, where all have as many."""
        lengths = np.diff(self._ends, prepend=0)
        return int(lengths[0]) if len(lengths) and (lengths == lengths[0]).all() else None

    def find(self, key: str) -> int | None:
        """The row of a key, or None."""
        raw, text = key.encode("utf-8", "surrogatepass"), self._key_text
        at = text.find(raw)
        while raw and at >= 0:
            row = int(np.searchsorted(self._ends, at, side="right"))
            start = int(self._ends[row - 1]) if row else 0
            if start == at and int(self._ends[row]) == at + len(raw):
                return row
            at = text.find(raw, at + 1)
        return None

    @cached_property
    def _key_text(self) -> bytes:
        return bytes(self._keys)

    def to_bytes(self) -> bytes:
        """The table as the file holds it."""
        return _head_bytes(self.head) + self._body

    def for_shard(self, shard_bytes: int, sha256: str | None) -> SampleTable:
        """The same for a shard of this size and hash."""
        head = replace(self.head, shard_bytes=shard_bytes, sha256=sha256)
        return SampleTable(head, self._body)

    @classmethod
    def of(
        cls,
        offsets: Sequence[int] | Integers,
        sizes: Sequence[int] | Integers,
        keys: Sequence[str],
        *,
        shard_bytes: int,
        sha256: str | None,
    ) -> SampleTable:
        """A table of what is known of a shard's samples, in order."""
        raw = [key.encode("utf-8") for key in keys]
        ends = np.cumsum([len(key) for key in raw], dtype="<i8")
        text = b"".join(raw)
        return cls.joined(offsets, sizes, ends, text, shard_bytes=shard_bytes, sha256=sha256)

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
    ) -> SampleTable:
        """The same, of keys one behind the other; ``ends`` says where each of them ends."""
        columns = (np.asarray(column, "<i8").tobytes() for column in (offsets, sizes, ends))
        body = b"".join((*columns, keys))
        head = TableHead(shard_bytes, sha256, len(offsets), len(keys), zlib.crc32(body))
        return cls(head, memoryview(body))

    @classmethod
    def parse(cls, data: bytes | memoryview) -> SampleTable:
        """A table from its file's bytes, which are kept.

        Raises:
            ShardError: It is damaged, or claims what cannot be.
        """
        head = parse_head(bytes(data[:HEAD_BYTES]), len(data))
        body = memoryview(data)[HEAD_BYTES:]
        if zlib.crc32(body) != head.body_crc:
            raise ShardError("a sample table with a wrong checksum")
        table = cls(head, body)
        table._check()
        return table

    def _check(self) -> None:
        offsets, sizes, ends = self.offsets, self.sizes, self._ends
        good = ((sizes >= 0) & (sizes <= limits.sample_bytes)).all()
        good &= ((offsets >= BLOCK) & (offsets % BLOCK == 0)).all()
        # Bounded first, so that no sum below goes over 64 bits.
        good &= (offsets <= self.head.shard_bytes).all()
        if not good:
            raise ShardError("a sample table with impossible offsets or sizes")
        behind = offsets + (sizes + BLOCK - 1) // BLOCK * BLOCK
        lengths = np.diff(ends, prepend=0)
        if (
            (behind[:-1] + BLOCK > offsets[1:]).any()
            or (len(behind) and int(behind[-1]) > self.head.shard_bytes)
            or (lengths < 1).any()
            or (lengths > limits.member_name).any()
            or int(ends[-1] if len(ends) else 0) != self.head.key_bytes
        ):
            raise ShardError("a sample table whose samples overlap or lie outside of the shard")


def largest_table() -> int:
    """Bytes of the largest table that is read."""
    return min(limits.table_bytes, HEAD_BYTES + limits.samples * (_ROW + 128))


def parse_head(data: bytes, size: int) -> TableHead:
    """The head of a table.

    Args:
        data: The first HEAD_BYTES of the file.
        size: Size of the file.

    Raises:
        ShardError: It is no table, of another version, or damaged.
    """
    if len(data) < HEAD_BYTES or not data.startswith(_MAGIC):
        raise ShardError("not a sample table")
    _, version, _, shard_bytes, sha256, samples, key_bytes, crc = _HEAD.unpack_from(data)
    if version != _VERSION:
        raise ShardError(f"a sample table of version {version}, which is not known")
    if _CRC.unpack_from(data, _HEAD.size)[0] != zlib.crc32(data[: _HEAD.size]):
        raise ShardError("a sample table with a damaged head")
    known = None if sha256 == _UNKNOWN else sha256.hex()
    head = TableHead(shard_bytes, known, samples, key_bytes, crc)
    if samples > limits.samples or shard_bytes >= 2**62 or head.table_bytes != size:
        raise ShardError(f"a sample table of {size:,} bytes that claims {samples:,} samples")
    return head


def _head_bytes(head: TableHead) -> bytes:
    sha256 = bytes.fromhex(head.sha256) if head.sha256 else _UNKNOWN
    numbers = (head.shard_bytes, sha256, head.samples, head.key_bytes, head.body_crc)
    packed = _HEAD.pack(_MAGIC, _VERSION, 0, *numbers)
    return packed + _CRC.pack(zlib.crc32(packed))


def scan_table(
    source: IO[bytes] | Path, *, shard: str, shard_bytes: int, sha256: str | None = None
) -> SampleTable:
    """Make the table of a shard by reading its headers.

    Args:
        source: The shard's file, or a stream of its bytes.
        shard: What errors call it.
        shard_bytes: Its size.
        sha256: Its hash, where it is known.

    Raises:
        ShardError: As in `read_blocks`.
    """
    offsets: list[Integers] = []
    sizes: list[Integers] = []
    keys: list[str] = []
    for found in find_samples(source, shard=shard):
        offsets.append(found.offsets)
        sizes.append(found.sizes)
        keys += found.keys
    none = np.empty(0, np.int64)
    return SampleTable.of(
        np.concatenate([none, *offsets]),
        np.concatenate([none, *sizes]),
        keys,
        shard_bytes=shard_bytes,
        sha256=sha256,
    )


def headers_agree(data: Bytes, at: Integers, sizes: Integers) -> bool:
    """Whether a header of a member of just this size lies before each payload.

    Args:
        data: Bytes of a shard, shape (n,).
        at: Where in them the payloads begin, each at least 512.
        sizes: What the table says of their sizes.
    """
    places = len(data) - BLOCK + 1
    overlapping = np.ndarray((max(0, places),), f"V{BLOCK}", data.data, 0, (1,))
    for start in range(0, len(at), _AT_ONCE):
        wanted = sizes[start : start + _AT_ONCE]
        headers = overlapping[at[start : start + _AT_ONCE] - BLOCK].view(np.uint8)
        headers = headers.reshape(-1, BLOCK)
        found, good = octal(headers[:, 124:135])
        good &= (headers[:, 135] == 0) & (found == wanted) & checksums_hold(headers)
        for row in np.flatnonzero(~good).tolist():
            if not header_agrees(headers[row].tobytes(), int(wanted[row])):
                return False
    return True


def header_agrees(header: bytes, size: int) -> bool:
    """The same for one header, in any notation."""
    try:
        want = number(header[148:156], 0)
        return number(header[124:136], 0) == size and (
            want == sum(header) - sum(header[148:156]) + 8 * 0x20
        )
    except ShardError:
        return False
