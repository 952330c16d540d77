"""Headers at a constant stride, verified many at once as columns of words.

Samples that take equally many records lie at one distance from each other. So the first sample
predicts where the others are, and their headers may differ from its own only in name, size, time
and checksum. Words that are the same in all headers are compared, not parsed.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np

from atdata._arrays import Bytes, Integers, Mask
from atdata._limits import limits
from atdata.errors import ShardError
from atdata.shards.tar.header import BLOCK, number, padded

Words: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]

_HEAD_BYTES: Final = 192
"""Bytes at the start of a header that contain all that may differ."""
_WORDS: Final = _HEAD_BYTES // 8
_SIZE_WORD: Final = 16
"""The word that ends with the last seven digits of the size, and NUL."""
_FIXED: Final = np.full(_WORDS, 0xFFFFFFFFFFFFFFFF, np.uint64)
"""Masks of the bytes of a head that are the same as well, in little-endian order: all but the
name, the last digits of the size, the time and the checksum.
"""
_FIXED[:13] = *[0] * 12, 0xFFFFFFFF00000000
_FIXED[16:20] = 0xFF00000000000000, 0, 0, 0xFFFFFFFF00000000
_SUMMED: Final = np.full(_WORDS, 0xFFFFFFFFFFFFFFFF, np.uint64)
"""Masks of the bytes outside of the checksum."""
_SUMMED[18:20] = 0x00000000FFFFFFFF, 0xFFFFFFFF00000000
_CHECKSUM_AT: Final = 148
_DIGITS: Final = np.array([int.from_bytes(b"%03o" % n, "little") for n in range(512)], np.uint64)
"""Three octal digits of each number."""
_AFTER_SIX_DIGITS: Final = np.uint64(int.from_bytes(b"\0 ", "little") << 48)
_EVERY_OTHER_BYTE: Final = np.uint64(0x00FF00FF00FF00FF)
_FOLDED_HEADS: Final = 16
"""Heads that are compared as one row: NumPy is faster with long rows than with short ones."""
_LONGEST_TIME_BYTES: Final = 100
"""A record whose length has two digits has fewer bytes than this."""
_TIMES: Final = np.array(
    [int.from_bytes(b"%02d mtime" % n, "little") for n in range(_LONGEST_TIME_BYTES)], np.uint64
)
"""How a record of each number of bytes begins."""
_FIRST_MEMBERS: Final = 8
"""Members that are checked first: where they are not alike, the rest is not read."""
_MAGIC_AT, _FLAG_AT, _PREFIX_AT = 257, 156, 345


def find_strided(view: memoryview, at: int, most: int) -> tuple[int, int, Integers, Bytes] | None:
    """The samples from ``at`` on that lie at a constant stride.

    Args:
        view: The window.
        at: Where a member begins.
        most: Most samples to find.

    Returns:
        Stride, bytes from the start of a sample's first header to its payload, sizes of the
        payloads, shape (n,), and the name fields, shape (n, 100), which are not checked. None:
        there are too few, or the headers are of another form.
    """
    form = _form(view, at)
    if form is None:
        return None
    pax_size, size = form
    before = BLOCK + padded(pax_size) if pax_size else 0
    stride = before + BLOCK + padded(size)
    count = min(most, (len(view) - at) // stride)
    for looked_at in (_FIRST_MEMBERS, count):
        if count < _FIRST_MEMBERS:
            return None
        alike = _rests_alike(view, at + before, stride, min(looked_at, count))
        if not alike.all():
            count = int(alike.argmin())
    heads, sizes, good = _heads_hold(view, at + before, stride, count)
    good &= (sizes - 1) // BLOCK == (size - 1) // BLOCK
    if pax_size:
        _, pax_sizes, extended_good = _heads_hold(view, at, stride, count)
        good &= extended_good & _rests_alike(view, at, stride, count)
        good &= _times_alone(view, at + BLOCK, pax_sizes, stride)
    whole = count if good.all() else int(good.argmin())
    names = heads.view(np.uint8)[:whole, :100]
    return stride, before + BLOCK, sizes[:whole], names


def _rests_alike(view: memoryview, at: int, stride: int, count: int) -> Mask:
    """Which headers are the same as the first one after their heads."""
    # As pairs of bytes: NumPy compares them faster than rows of a few longer words.
    rests = np.ndarray(
        (count, (BLOCK - _HEAD_BYTES) // 2), "<u2", view, at + _HEAD_BYTES, (stride, 2)
    )
    same = rests == rests[0]
    return np.ones(count, np.bool_) if same.all() else same.all(axis=1)


def _form(view: memoryview, at: int) -> tuple[int, int] | None:
    """Sizes of the first sample: its PAX header's body (0 without one), and its payload."""
    pax_size = 0
    header = bytes(view[at : at + BLOCK])
    try:
        if len(header) == BLOCK and header[_FLAG_AT] == ord("x"):
            pax_size = number(header[124:136], at)
            if not 10 <= pax_size < _LONGEST_TIME_BYTES:
                return None
            at += BLOCK + padded(pax_size)
            header = bytes(view[at : at + BLOCK])
        if len(header) < BLOCK or header[_FLAG_AT] != ord("0"):
            return None
        size = number(header[124:136], at)
    except ShardError:
        return None
    magic = header[_MAGIC_AT : _MAGIC_AT + 8]
    plain = magic == b"ustar  \0" or (magic == b"ustar\x0000" and not header[_PREFIX_AT])
    return (pax_size, size) if plain and size <= limits.sample_bytes else None


def _heads_hold(view: memoryview, at: int, stride: int, count: int) -> tuple[Words, Integers, Mask]:
    """The heads of headers, a copy; their sizes, and which headers are right, shape (n,) each.

    A header is right if it differs from the first one only where it may, and its checksum fits.
    What comes after the heads is taken to be as in the first one.
    """
    raw = np.ndarray((count,), f"V{_HEAD_BYTES}", view, at, (stride,)).tobytes()
    words = np.frombuffer(raw, "<u8")
    heads = words.reshape(count, _WORDS)
    changes = np.zeros(-(-count // _FOLDED_HEADS) * _FOLDED_HEADS * _WORDS, np.bool_)
    np.not_equal(words[_WORDS:], words[:-_WORDS], out=changes[: len(words) - _WORDS])
    folded = changes.reshape(-1, _FOLDED_HEADS * _WORDS).any(axis=0).reshape(_FOLDED_HEADS, _WORDS)
    places = np.flatnonzero(folded.any(axis=0))
    columns = heads.T[places]
    wrong = columns ^ columns[:, :1]
    wrong &= _FIXED[places, None]
    good: Mask = ~wrong.any(axis=0) if wrong.any() else np.ones(count, np.bool_)
    # The checksum is the sum of all bytes, those of its own field taken as blanks.
    first = bytes(view[at : at + BLOCK])
    total = sum(first[:148]) + sum(first[156:]) + 8 * 0x20
    columns &= _SUMMED[places, None]
    sums = _byte_sums(columns)
    sums += total - sums[0]
    field = np.ndarray((count,), "<u8", raw, _CHECKSUM_AT, (_HEAD_BYTES,))
    good &= field == _checksum_fields(sums)
    sizes, digits = _octal(heads[:, _SIZE_WORD])
    good &= digits
    return heads, sizes, good


def _octal(words: Words) -> tuple[Integers, Mask]:
    """Words of seven ASCII octal digits and NUL as numbers, and which words are just that."""
    values = words ^ np.uint64(0x0030303030303030)
    good: Mask = values & np.uint64(0xFFF8F8F8F8F8F8F8) == 0
    # The first digit is the lowest byte: neighbours are joined, then pairs, then fours.
    for digits, mask in ((1, 0x00FF00FF00FF00FF), (2, 0x0000FFFF0000FFFF), (4, 0xFFFFFFFF)):
        lower = values >> np.uint64(8 * digits)
        values = ((values << np.uint64(3 * digits)) + lower) & np.uint64(mask)
    return (values >> np.uint64(3)).view(np.int64), good


def _checksum_fields(sums: Integers) -> Words:
    """The eight bytes of a header's field that hold these checksums, in the usual notation."""
    digits = _DIGITS.take(sums >> 9) | _DIGITS.take(sums & 511) << np.uint64(24)
    return digits | _AFTER_SIX_DIGITS


def _byte_sums(words: Words) -> Integers:
    """Sum of all bytes of each column, shape (at most 32, …) → (…); overwrites them."""
    lanes = words >> np.uint64(8)
    lanes &= _EVERY_OTHER_BYTE
    words &= _EVERY_OTHER_BYTE
    lanes += words
    # Four sums of 16 bits, side by side: the product adds all of them up in the highest.
    sums: Words = lanes.sum(axis=0) * np.uint64(0x0001000100010001) >> np.uint64(48)
    return sums.view(np.int64)


def _times_alone(view: memoryview, at: int, sizes: Integers, stride: int) -> Mask:
    """Which bodies of PAX headers are a single mtime record, ``27 mtime=1700000000.25``.

    Args:
        view: The window.
        at: Where the first one begins.
        sizes: Bytes of each, shape (n,).
        stride: Bytes to the next one.
    """
    starts = np.ndarray((len(sizes),), "<u8", view, at, (stride,))
    good: Mask = starts == _TIMES.take(sizes, mode="clip")
    good &= (sizes >= 10) & (sizes < _LONGEST_TIME_BYTES)
    good &= np.ndarray((len(sizes),), "u1", view, at + 8, (stride,)) == ord("=")
    ends = at - 1 + stride * np.arange(len(sizes)) + np.where(good, sizes, 10)
    good &= np.frombuffer(view, np.uint8)[ends] == ord("\n")
    return good
