"""Scanning a tar: many similar headers found and verified at once, as arrays.

Every 512-byte record with the magic of ustar is taken for a header. That guess is then checked
as a walk would check it: each header's checksum and size, that each begins where the one before
it ends, and the form of its name. The first that fails ends the array; `walk` continues from
there, and decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from atdata._arrays import Bytes, Integers, Mask
from atdata._limits import limits
from atdata.shards.tar.check import checksums_hold, octal
from atdata.shards.tar.header import BLOCK, key_of
from atdata.shards.tar.inside import Inside
from atdata.shards.tar.keys import KeyMatrix
from atdata.shards.tar.stride import find_strided

FEWEST_ALIKE: Final = 8
"""Fewer members than this are walked, which is as fast."""
_FEWEST_STRIDED: Final = 32
"""Fewer members than this at a constant stride are checked together with those after them."""
_FIRST_JUMPS: Final = 32
"""Members after which it is decided how to go on."""
_FEW_RECORDS: Final = 16
"""Records from one header to the next, on average, from which on members are jumped over."""
USTAR: Final = int.from_bytes(b"ustar\x0000", "little")
GNU: Final = int.from_bytes(b"ustar  \0", "little")
_ZERO, _DOT, _SLASH, _LOW = b"\0./_"
MTIME_BYTES: Final = 104
"""Bytes of a PAX header that are checked: one record whose length has two digits."""


@dataclass(slots=True)
class Found:
    """Samples that follow each other in a window."""

    offsets: list[int] | Integers
    """Where each payload begins, in bytes from the start of the window."""
    sizes: list[int] | Integers
    """Bytes of each payload."""
    keys: list[str] | KeyMatrix
    end: int
    """Where the next member begins; after the window where a member is not read."""
    need: int = 0
    """Bytes from ``end`` on that the next step needs, where the window was too short."""
    over: bool = False
    """Whether the end-of-archive marker was reached, at ``end``."""
    inside: Inside | None = None
    """The members of samples that have several, where these were found."""
    refused: Mapping[int, str] = field(default_factory=dict)
    """Which of the samples cannot be decoded, and why."""


def find_alike(view: memoryview, at: int, *, span: int, most: int) -> Found | None:
    """Samples with headers alike from ``at`` on; None: too few to be worth it.

    Found are plain headers, also with a PAX header before each that holds only an mtime, as
    webdataset writes them.

    Args:
        view: The window.
        at: Where a member begins.
        span: Bytes to look at.
        most: Most samples to find, at least 1.
    """
    strided = find_strided(view, at, most)
    if strided is not None:
        stride, before, sizes, names = strided
        keys = _keys(names)
        if len(keys) >= min(_FEWEST_STRIDED, most):
            offsets = at + before + stride * np.arange(len(keys))
            return Found(offsets, sizes[: len(keys)], keys, at + stride * len(keys))
    plain = find_plain(view, at, span=span, most=most)
    if plain is None:
        return None
    keys = _keys(plain.names)
    count = len(keys)
    if count < FEWEST_ALIKE:
        return None
    return Found(plain.offsets[:count], plain.sizes[:count], keys, int(plain.ends[count - 1]))


@dataclass(frozen=True, slots=True)
class Plain:
    """Members with plain headers that follow each other; offsets are in bytes from the start of
    the window, every array of shape (n,) but the names."""

    chains: Integers
    """Where the first header of each begins, which may be an extended one."""
    offsets: Integers
    """Where its data begin."""
    sizes: Integers
    ends: Integers
    """Where the padding after it ends."""
    names: Bytes
    """Its name field, shape (n, 100)."""


def find_plain(view: memoryview, at: int, *, span: int, most: int) -> Plain | None:
    """Members from ``at`` on whose headers are plain, or come after one that holds only an mtime.

    Arguments as for `find_alike`. None: there are few, or none.
    """
    records_there = min(len(view) - at, span) // BLOCK
    if records_there < FEWEST_ALIKE:
        return None
    records = np.frombuffer(view, np.uint8, records_there * BLOCK, at).reshape(-1, BLOCK)
    magic = np.ndarray((records_there,), "<u8", view, at + 257, (BLOCK,))
    if magic[0] not in (USTAR, GNU):
        return None
    headers_each = 2 if view[at + 156] == ord("x") else 1
    starts = _header_records(view, at, magic, headers_each * most)
    headers = records[starts]
    sizes, good = octal(headers[:, 124:135])
    good &= (headers[:, 135] == _ZERO) & (sizes <= limits.sample_bytes)
    ends = starts + 1 + (sizes + BLOCK - 1) // BLOCK
    good &= at + ends * BLOCK <= len(view)
    good[1:] &= ends[:-1] == starts[1:]
    good &= checksums_hold(headers)
    if magic[0] == USTAR:
        good &= headers[:, 345] == _ZERO
    flags = headers[:, 156]
    good &= (flags == ord("0")) | (flags == ord("x"))
    whole = _leading(good)
    extended = np.flatnonzero(flags[:whole] == ord("x"))
    if len(extended):
        whole = _with_mtime_alone(records, starts, sizes, flags, extended, whole)
    members = np.flatnonzero(flags[:whole] == ord("0"))[:most]
    before = members - (flags[members - 1] == ord("x")) * (members > 0)
    places = (starts[before], starts[members] + 1, ends[members])
    chains, offsets, after = (at + records * BLOCK for records in places)
    return Plain(chains, offsets, sizes[members], after, headers[members, :100])


def _header_records(view: memoryview, at: int, magic: Integers, most: int) -> Integers:
    """Numbers of the records that may be headers, at most ``most``; the first is one.

    Large members are skipped by their sizes, so that their pages are not touched.

    Args:
        view: The window.
        at: Where the records begin.
        magic: The magic of each record, where it is a header; shape (records,).
        most: Most records to find.
    """
    found: list[int] = []
    record, end = 0, len(magic)
    while record < end and len(found) < most:
        found.append(record)
        if len(found) == _FIRST_JUMPS and record < _FIRST_JUMPS * _FEW_RECORDS:
            # Looking at the records of small members costs less than a jump each.
            return np.flatnonzero(magic == magic[0])[:most]
        start = at + record * BLOCK + 124
        try:
            size = int(bytes(view[start : start + 11]), 8)
        except ValueError:
            break
        record += 1 + (size + BLOCK - 1) // BLOCK if size >= 0 else end
    return np.array(found)


def _leading(good: Mask) -> int:
    """How many are True before the first that is not."""
    return len(good) if good.all() else int(good.argmin())


def _with_mtime_alone(
    records: Bytes,
    starts: Integers,
    sizes: Integers,
    flags: Bytes,
    extended: Integers,
    whole: int,
) -> int:
    """How many headers come before a PAX header that holds more than an mtime."""
    if extended[-1] == whole - 1:
        # Its member is not among the headers, so neither is it.
        whole -= 1
        extended = extended[:-1]
        if not len(extended):
            return whole
    good = holds_mtime_alone(records[starts[extended] + 1, :MTIME_BYTES], sizes[extended])
    good &= flags[extended + 1] == ord("0")
    return whole if good.all() else int(extended[good.argmin()])


def holds_mtime_alone(data: Bytes, size: Integers) -> Mask:
    """Which PAX headers hold nothing but an mtime.

    Args:
        data: The first bytes of their data, shape (n, MTIME_BYTES).
        size: Bytes of their data.
    """
    good = (size >= 10) & (size <= 99)
    # "27 mtime=1700000000.2500000\n": the length in decimal, then the record.
    tens, ones = data[:, 0].astype(np.int64) - ord("0"), data[:, 1].astype(np.int64) - ord("0")
    good &= (tens >= 1) & (tens <= 9) & (ones >= 0) & (ones <= 9) & (10 * tens + ones == size)
    good &= (data[:, 2:9] == np.frombuffer(b" mtime=", np.uint8)).all(axis=1)
    good &= data[np.arange(len(data)), np.clip(size, 1, MTIME_BYTES) - 1] == ord("\n")
    return good


def _keys(names: Bytes) -> KeyMatrix:
    """The keys of the leading names that have the form of the first one.

    Args:
        names: Shape (n, 100): the name field of headers.
    """
    none = np.empty((0, 1), np.uint8)
    if not len(names):
        return none
    name = names[0].tobytes().partition(b"\0")[0]
    key = key_of(name)
    if not key:
        return none
    size = len(key)
    keys = np.ascontiguousarray(names[:, :size])
    ends = names[:, size : len(name) + 1].tobytes()
    raw = keys.tobytes()
    good: Mask = keys[:, -1] != _SLASH
    if (
        ends == (name[size:] + b"\0")[: names.shape[1] - size] * len(names)
        and raw.isascii()
        and b"\0" not in raw
        and b"._" not in raw
        and good.all()
    ):
        return keys
    good &= (names[:, size : len(name)] == names[0, size : len(name)]).all(axis=1)
    if len(name) < names.shape[1]:
        good &= names[:, len(name)] == _ZERO
    good &= ((keys > 0) & (keys < 0x80)).all(axis=1)
    # macOS's tar adds files named ._x; only their payload tells them from samples.
    good &= ~((keys[:, :-1] == _DOT) & (keys[:, 1:] == _LOW)).any(axis=1)
    return keys[: _leading(good)]
