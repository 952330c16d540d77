"""Checking the table of a shard of the members layout against the shard's headers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np

from atdata._arrays import Bytes, Integers, Mask, distinct
from atdata.errors import ShardError
from atdata.shards.layouts.names import is_msgpack, of_sample
from atdata.shards.tar import check
from atdata.shards.tar.check import BytesAt, octal
from atdata.shards.tar.header import BLOCK, PAX_NEXT
from atdata.shards.tar.inside import WITH_MTIME, Inside
from atdata.shards.tar.keys import KeyMatrix
from atdata.shards.tar.members import Marker, Members, Short
from atdata.shards.tar.scan import MTIME_BYTES, holds_mtime_alone
from atdata.shards.tar.table import SampleTable

_NAME_BYTES = 100
_DOT = ord(".")
_KEYS_AT_ONCE = 1 << 14
_FLAG: Final = 156
"""Where in a header the type flag is."""


def range_agrees(read: Callable[[int, int], bytes], start: int, end: int, key: bytes) -> bool:
    """Whether a range of a shard holds the members of the sample with this key, and no more.

    Args:
        read: Reads from an offset of the shard a number of bytes; only headers are read.
        start: Where the range begins.
        end: Where the data of its last member end.
        key: In UTF-8.
    """
    at, last, found, alone = start, 0, 0, False
    try:
        while at < end:
            need = BLOCK
            while True:
                part = memoryview(read(at, min(need, end - at)))
                member = Members().next(part, 0, base=1, final=False)
                if not isinstance(member, Short) or need >= end - at:
                    break
                need = member.need
            if isinstance(member, Marker | Short):
                return False
            named = of_sample(member)
            if named is None and not found:
                return False
            if named is not None:
                if named[0] != key:
                    return False
                found += 1
                alone = found == 1 and is_msgpack(member)
                last = at + member.data_end
            at += member.end
    except ShardError:
        return False
    return last == end and not alone


def first_members_agree(data: Bytes, at: Integers, keys: list[bytes] | KeyMatrix) -> bool:
    """Whether ranges begin with a member of the sample with their key.

    Args:
        data: Bytes of a shard, shape (n,).
        at: Where in them the recorded payloads begin, 512 bytes after their ranges; shape (m,).
        keys: The key of each in UTF-8, perhaps padded with zeros, shape (m, length).
    """
    if not len(at):
        return True
    left: Integers = np.arange(len(at))
    if not isinstance(keys, list):
        left = np.flatnonzero(~_plainly_agree(data, at, keys))
    view = memoryview(data)  # type: ignore[arg-type]
    for row in left.tolist():
        key = keys[row] if isinstance(keys, list) else keys[row].tobytes().rstrip(b"\0")
        try:
            member = Members().next(view, int(at[row]) - BLOCK, base=1, final=True)
        except ShardError:
            return False
        named = None if isinstance(member, Marker | Short) else of_sample(member)
        if named is None or named[0] != key:
            return False
    return True


def _plainly_agree(data: Bytes, at: Integers, keys: KeyMatrix) -> Mask:
    """Where the name field of the first header, or of the one after a short PAX header, fits."""
    count, length = keys.shape
    if length >= _NAME_BYTES:
        return np.zeros(count, bool)
    extended = data[at - BLOCK + 156] == PAX_NEXT
    headers = at - BLOCK + extended * (2 * BLOCK)
    headers[headers + BLOCK > len(data)] = 0
    names = BytesAt(data, headers).matrix(0, length + 1)
    flags = data[headers + 156]
    inside = keys != 0
    good: Mask = ((names[:, :length] == keys) | ~inside).all(axis=1)
    good &= names[np.arange(count), inside.sum(axis=1)] == _DOT
    good &= (flags == ord("0")) | (flags == 0)
    return good


Wanted: TypeAlias = Callable[[tuple[str, ...]], list[int]]
"""Which members are read, of those with these fields."""


def members_agree(
    data: Bytes,
    payloads: Integers,
    keys: list[bytes] | KeyMatrix,
    wanted: Wanted,
    recorded: Inside,
    placed: Inside | None = None,
) -> bool:
    """Whether the members that are read have the headers that a table says.

    Args:
        data: Bytes of a shard, or what was read of it.
        payloads: Where in them each recorded payload begins, shape (m,).
        keys: As for `first_members_agree`.
        wanted: Which members are read.
        recorded: The members in the shard. Of samples whose members are not known, only the first
            header is compared.
        placed: The members in ``data``, if only some of them are in it.
    """
    left = recorded.left()
    places = zip(recorded.groups(), (placed or recorded).groups(), strict=True)
    for group, there in places:
        rows, sizes = group.rows, group.ends - group.starts
        # Of long keys there is a list; samples whose members are known have none.
        of_group = (
            _matrix([keys[n] for n in rows.tolist()]) if isinstance(keys, list) else keys[rows]
        )
        for number in wanted(group.fields):
            before = group.ends[:, number - 1] if number else np.zeros(len(rows), np.int64)
            mtime = group.starts[:, number] - (before + BLOCK - 1) // BLOCK * BLOCK > BLOCK
            at = payloads[rows] - BLOCK + there.starts[:, number]
            field = b"." + group.fields[number].encode("ascii") + b"\0"
            if not _headers_agree(data, at, sizes[:, number], of_group, field, mtime):
                return False
    if not len(left):
        return True
    rest = [keys[row] for row in left.tolist()] if isinstance(keys, list) else keys[left]
    return first_members_agree(data, payloads[left], rest)


def _matrix(keys: list[bytes]) -> KeyMatrix:
    """Keys as a matrix, zeros after shorter ones."""
    width = max(1, *map(len, keys))
    return np.frombuffer(b"".join(key.ljust(width, b"\0") for key in keys), np.uint8).reshape(
        -1, width
    )


def members_in(
    table: SampleTable,
    rows: Integers,
    sizes: Integers,
    data: Bytes,
    starts: Integers,
    wanted: Wanted,
) -> Inside | None:
    """The members of samples in a local shard; None: their headers disagree with its table.

    Args:
        table: The table.
        rows: Which of its samples.
        sizes: Bytes of each payload, as the table has them.
        data: The shard.
        starts: Where in it each payload begins.
        wanted: Which members will be read.
    """
    try:
        inside = table.inside(rows, sizes)
    except ShardError:
        return None
    assert inside is not None
    agree = members_agree(data, starts, table.key_bytes_of(rows), wanted, inside)
    return inside if agree else None


def _headers_agree(
    data: Bytes, at: Integers, sizes: Integers, keys: KeyMatrix, field: bytes, mtime: Mask
) -> bool:
    """Whether plain headers are of one field of samples, and what comes before holds an mtime.

    Args:
        data: As for `members_agree`.
        at: Where the data of each member begin.
        sizes: Bytes of each.
        keys: The key of each, zeros after it.
        field: The field, with the dot before and the zero after it.
        mtime: Whether there is another header before that of each.
    """
    headers = BytesAt(data, at).matrix(-BLOCK, _FLAG + 1)
    found, good = octal(headers[:, 124:135])
    good &= (found == sizes) & (headers[:, 135] == 0) & (headers[:, _FLAG] == ord("0"))
    lengths = np.count_nonzero(keys, axis=1)
    for length in distinct(lengths).tolist():
        rows = slice(None) if lengths.min() == lengths.max() else np.flatnonzero(lengths == length)
        part = headers[rows, :_NAME_BYTES]
        if length + len(field) > _NAME_BYTES + 1:
            return False
        ending = field[: _NAME_BYTES - length]
        there = part[:, length : length + len(ending)].tobytes()
        if there.lower() != ending * len(part):
            return False
        if part[:, :length].tobytes() != np.ascontiguousarray(keys[rows, :length]).tobytes():
            return False
    if mtime.any():
        before = BytesAt(data, at[mtime] - WITH_MTIME)
        sizes, fine = octal(before.matrix(124, 11))
        fine &= before.matrix(_FLAG, 1)[:, 0] == PAX_NEXT
        fine &= holds_mtime_alone(before.matrix(BLOCK, MTIME_BYTES), sizes)
        good[mtime] &= fine
    return bool(good.all())


def members_match(table: SampleTable, read: Callable[[int, int], bytes]) -> bool:
    """As `headers_match`, for a table of the members layout; it may not cut a sample in two."""
    count, size = len(table), table.head.shard_bytes
    if _same_key_twice_in_a_row(table):
        return False
    if size <= check.WHOLE_BYTES:
        data = read(0, size)
        read, rows = (lambda start, part: data[start : start + part]), list(range(count))
    else:
        rows = sorted({n * (count - 1) // (check.HEADERS - 1) for n in range(check.HEADERS)})
    for row in rows if count else ():
        offset, ranged = table.span(row)
        if not range_agrees(read, offset - BLOCK, offset + ranged, table.key_bytes(row)):
            return False
    return True


def _same_key_twice_in_a_row(table: SampleTable) -> bool:
    """Whether two samples that follow each other have one key: WebDataset's rule makes them one."""
    for first in range(0, len(table) - 1, _KEYS_AT_ONCE):
        rows = np.arange(first, min(first + _KEYS_AT_ONCE + 1, len(table)))
        matrix = table.key_matrix(rows)
        if matrix is not None:
            if (matrix[1:] == matrix[:-1]).all(axis=1).any():
                return True
        else:
            keys = [table.key_bytes(row) for row in rows.tolist()]
            if any(key == before for before, key in pairwise(keys)):
                return True
    return False
