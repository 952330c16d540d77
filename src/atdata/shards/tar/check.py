"""Many headers at once: their numbers and checksums, and whether a table agrees with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from atdata._arrays import Bytes, Integers, Mask
from atdata.errors import ShardError
from atdata.shards.tar.header import (
    BLOCK,
    GNU_LINK,
    GNU_NAME,
    PAX_NEXT,
    SUFFIXES,
    WITHOUT_DATA,
    Extended,
    key_of,
    name_of,
    number,
    padded,
    read_extended,
)
from atdata.shards.tar.keys import KeyMatrix
from atdata.shards.tar.table import SampleTable

WHOLE_BYTES: Final = 1 << 18
"""Bytes of a shard up to which a table is compared with every header."""
HEADERS: Final = 8
"""Headers of a larger shard that a table is compared with."""
_HEADERS_AT_ONCE: Final = 1024
"""Headers that are checked together: as many as the processor's cache holds."""
_USTAR: Final = b"ustar\x0000"
_GNU: Final = b"ustar  \0"
_NAME_BYTES: Final = 100
"""Bytes of a header's name."""
_CUT_NAME_BYTES: Final = 97
"""Bytes from which on a name may be the start of a longer one, cut before a four-byte character."""
_MSGPACK: Final = np.frombuffer(b".msgpack\0", np.uint8)
_ENDING_BYTES: Final = len(_MSGPACK)
"""Bytes of the longest suffix of a sample's name, with the dot and the zero."""


class BytesAt:
    """The same bytes after each of many offsets.

    Args:
        data: Shape (n,).
        at: The offsets, shape (m,), m at least 1. At a constant stride they are read faster.
    """

    def __init__(self, data: Bytes, at: Integers) -> None:
        self._data, self._at = data, at
        stride = int(at[1] - at[0]) if len(at) > 1 else 1
        self._stride = stride if stride > 0 and (at[1:] - at[:-1] == stride).all() else 0

    def read(self, offset: int, size: int) -> np.ndarray[Any, np.dtype[np.void]]:
        """``size`` bytes that begin ``offset`` bytes after each, shape (m,): a view, or a copy.

        Raises:
            IndexError: They are not all in the data.
        """
        at = self._at
        first = int(at[0]) + offset
        if first < 0 or (self._stride and int(at[-1]) + offset + size > len(self._data)):
            raise IndexError("an offset outside of the data")
        if self._stride:
            return np.ndarray((len(at),), f"V{size}", self._data.data, first, (self._stride,))
        # A view whose items overlap: indexing it reads all offsets in one call.
        room = max(0, len(self._data) - size + 1)
        overlapping = np.ndarray((room,), f"V{size}", self._data.data, 0, (1,))
        return overlapping[at + offset]

    def matrix(self, offset: int, size: int) -> Bytes:
        """The same, a copy of shape (m, size)."""
        return np.frombuffer(self.read(offset, size).tobytes(), np.uint8).reshape(-1, size)


def octal(digits: Bytes) -> tuple[Integers, Mask]:
    """Rows of ASCII octal digits as numbers, and which rows are nothing but digits."""
    values = digits - np.uint8(ord("0"))
    # Exact: eleven octal digits are 33 bits. Products of floats are much faster than of ints.
    weights = 8.0 ** np.arange(digits.shape[1] - 1, -1, -1)
    good: Mask = np.less(values, 8).all(axis=1)
    return (values @ weights).astype(np.int64), good


def checksums_hold(headers: Bytes) -> Mask:
    """Which headers have the right checksum, in the usual notation."""
    field = np.ascontiguousarray(headers[:, 148:156])
    total = headers.sum(axis=1, dtype=np.uint32) - field.sum(axis=1, dtype=np.uint32) + 8 * 0x20
    found, good = octal(field[:, :6])
    good &= (found == total) & (field[:, 6] == 0) & (field[:, 7] == 0x20)
    return good


def headers_agree(data: Bytes, at: Integers, sizes: Integers) -> bool:
    """Whether the header before each payload is that of a member of this size.

    Args:
        data: Bytes of a shard, shape (n,).
        at: Where in them the payloads begin, each at least 512.
        sizes: Their sizes, as the table has them.
    """
    for start in range(0, len(at), _HEADERS_AT_ONCE):
        wanted = sizes[start : start + _HEADERS_AT_ONCE]
        headers = BytesAt(data, at[start : start + _HEADERS_AT_ONCE]).matrix(-BLOCK, BLOCK)
        found, good = octal(headers[:, 124:135])
        good &= (headers[:, 135] == 0) & (found == wanted) & checksums_hold(headers)
        for row in np.flatnonzero(~good).tolist():
            if not header_agrees(headers[row].tobytes(), int(wanted[row])):
                return False
    return True


def plain_headers_agree(data: Bytes, at: Integers, sizes: Integers, keys: KeyMatrix) -> bool:
    """Whether all headers are plain ustar or GNU ones, with these sizes and keys.

    Magic, size and name of each are compared, its checksum is not. Faster than `headers_agree`
    where it returns true, as in shards that we write.

    Args:
        data: Bytes of a shard, shape (n,).
        at: Where in them the payloads begin, each at least 512; shape (m,).
        sizes: Their sizes, as the table has them.
        keys: Their keys, shape (m, length), zeros after shorter ones.
    """
    count, length = keys.shape
    if length >= _NAME_BYTES or not count:
        return not count
    headers = BytesAt(data, at)
    # Compared as bytes of all headers at once: many times faster than row by row.
    magic = headers.read(257 - BLOCK, 8).tobytes()
    if magic not in (_USTAR * count, _GNU * count):
        return False
    if magic[:8] == _USTAR and headers.read(345 - BLOCK, 1).tobytes().strip(b"\0"):
        return False
    digits = headers.read(124 - BLOCK, 12)
    if (sizes == sizes[0]).all():
        if digits.tobytes() != b"%011o\0" % int(sizes[0]) * count:
            return False
    else:
        field = np.frombuffer(digits.tobytes(), np.uint8).reshape(-1, 12)
        found, good = octal(field[:, :11])
        if not (good & (found == sizes) & (field[:, 11] == 0)).all():
            return False
    inside = keys != 0
    if inside[:, -1].all():
        if headers.read(-BLOCK, length).tobytes() != keys.tobytes():
            return False
        return suffixes_agree(data, at, np.full(count, length))
    names = headers.matrix(-BLOCK, _NAME_BYTES)
    wanted = np.zeros((count, length + _ENDING_BYTES), np.uint8)
    wanted[:, :length] = keys
    rows, lengths = np.arange(count)[:, None], inside.sum(axis=1)[:, None]
    wanted[rows, lengths + np.arange(_ENDING_BYTES)] = _MSGPACK
    fits = length + _ENDING_BYTES <= _NAME_BYTES
    return fits and bool((names[:, : wanted.shape[1]] == wanted).all())


def suffixes_agree(data: Bytes, at: Integers, lengths: Integers) -> bool:
    """Whether all headers have names of samples, with one suffix, after keys of these lengths.

    The least that tells samples from other members; false also where a name is too long for it.

    Args:
        data: Bytes of a shard, shape (n,).
        at: Where in them the payloads begin, each at least 512; shape (m,), m at least 1.
        lengths: Bytes of each key, shape (m,).
    """
    if int(lengths.min()) < 1 or int(lengths.max()) >= _NAME_BYTES:
        return False
    ends = at + (lengths - BLOCK)
    ending = bytes(data[int(ends[0]) :][:_ENDING_BYTES]).partition(b"\0")[0] + b"\0"
    if not ending.startswith(b".") or ending[1:-1].lower() not in SUFFIXES:
        return False
    endings: bytes = BytesAt(data, ends).read(0, len(ending)).tobytes()
    return bool(endings == ending * len(at))


def key_agrees(header: bytes, key: bytes, before: Callable[[], bytes]) -> bool:
    """Whether a header is that of the sample with this key.

    Args:
        header: The header right before the payload.
        key: In UTF-8.
        before: Gives the bytes between the previous sample and this header, which hold the name
            if it is too long for the header. Empty if they were not read: then the start of the
            name decides.
    """
    name = name_of(header)
    if key_of(name) == key:
        return True
    extended = before()
    if extended:
        return key_of(_name_after(extended, name)) == key
    return starts_with_name(key, header)


def starts_with_name(key: bytes, header: bytes) -> bool:
    """Whether a header has the start of this key, which is too long for it."""
    name = name_of(header)
    return len(name) >= _CUT_NAME_BYTES and key.startswith(name[:_NAME_BYTES])


def _name_after(before: bytes, name: bytes) -> bytes:
    """The name of the member after these bytes, whose own header has ``name``."""
    at, found = 0, Extended()
    while at + BLOCK <= len(before):
        header = before[at : at + BLOCK]
        size, flag = number(header[124:136], at), header[156]
        at += BLOCK
        if flag in (PAX_NEXT, GNU_NAME, GNU_LINK):
            found = read_extended(flag, before[at : at + size], at).over(found)
        else:
            size = 0 if flag in WITHOUT_DATA else size if found.size is None else found.size
            found = Extended()
        at += padded(size)
    return name if found.name is None else found.name


def header_agrees(header: bytes, size: int) -> bool:
    """Whether one header has this size, in any notation."""
    try:
        want = number(header[148:156], 0)
        return number(header[124:136], 0) == size and (
            want == sum(header) - sum(header[148:156]) + 8 * 0x20
        )
    except ShardError:
        return False


def headers_match(table: SampleTable, read: Callable[[int, int], bytes]) -> bool:
    """`table_matches` for a table of the msgpack layout."""
    count, size = len(table), table.head.shard_bytes
    if not count:
        return True
    few = sorted({n * (count - 1) // (HEADERS - 1) for n in range(HEADERS)})
    rows: Integers = np.arange(count) if size <= WHOLE_BYTES else np.array(few)
    places, sizes = table.offsets[rows], table.sizes[rows]
    if size <= WHOLE_BYTES:
        data = read(0, size)
    else:
        data = b"".join(read(at - BLOCK, BLOCK) for at in places.tolist())
        places = BLOCK * np.arange(1, len(rows) + 1)
    matrix, array = table.key_matrix(rows), np.frombuffer(data, np.uint8)
    if (
        matrix is not None
        and plain_headers_agree(array, places, sizes, matrix)
        and checksums_hold(BytesAt(array, places).matrix(-BLOCK, BLOCK)).all()
    ):
        if len(rows) == count:
            table.compared.rows = count
        return True
    # A long name is in an extended header before this one; reading it is not worth a request.
    for row, at, want in zip(rows.tolist(), places.tolist(), sizes.tolist(), strict=True):
        header = data[at - BLOCK : at]
        if not header_agrees(header, want) or not key_agrees(header, table.key_bytes(row), bytes):
            return False
    return True
