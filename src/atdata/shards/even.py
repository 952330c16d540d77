"""Many headers at once, where members stand at a constant stride: verified as columns of words.

Samples that take equally many records stand at one distance from each other. So the first
sample tells where the others should be, and their headers may differ from its own in the name,
the size, the time and the checksum only. Words that are the same in all of them are compared,
not parsed.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np

from atdata._limits import limits
from atdata.errors import ShardError
from atdata.shards.header import BLOCK, check, number, padded

Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
Words: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

_WORDS: Final = BLOCK // 8
_MAY_DIFFER: Final = np.zeros(_WORDS, np.bool_)
"""Words of a header that another one may have otherwise: name and mode; the last digits of the
size, time, checksum and flag.
"""
_MAY_DIFFER[:13] = True
_MAY_DIFFER[16:20] = True
_SUMMED: Final = np.full(_WORDS, 0xFFFFFFFFFFFFFFFF, np.uint64)
"""Masks of the bytes outside of the checksum field, in little-endian order."""
_SUMMED[18:20] = 0x00000000FFFFFFFF, 0xFFFFFFFF00000000
_EVERY_OTHER_BYTE: Final = np.uint64(0x00FF00FF00FF00FF)
_EVERY_OTHER_PAIR: Final = np.uint64(0x0000FFFF0000FFFF)
_LONGEST_TIME: Final = 100
"""Bytes that one record of two digits of length never has."""
_FIRST_LOOK: Final = 8
"""Members that are looked at before all of them are."""
_MAGIC_AT, _FLAG_AT, _PREFIX_AT = 257, 156, 345


def even_run(view: memoryview, at: int, most: int) -> tuple[int, int, Integers, Bytes] | None:
    """The samples from ``at`` on that stand at a constant stride.

    Args:
        view: The window.
        at: Where a member begins.
        most: Most samples to find.

    Returns:
        Stride, bytes from the start of a sample's first header to its payload, sizes of the
        payloads, shape (n,), and the name fields, shape (n, 100); their form is not looked at.
        None: there are none, or the headers are of another form.
    """
    form = _form(view, at)
    if form is None:
        return None
    pax_size, size = form
    before = BLOCK + padded(pax_size) if pax_size else 0
    stride = before + BLOCK + padded(size)
    count = min(most, (len(view) - at) // stride)
    for looked_at in (min(_FIRST_LOOK, count), count):
        place = at + before + _MAGIC_AT
        magic = np.ndarray((looked_at,), "<u8", view, place, (stride,)) if count else np.zeros(0)
        same = magic == magic[:1]
        if not same.all():
            count = int(same.argmin())
    if count < _FIRST_LOOK:
        return None
    headers = np.ndarray((count, _WORDS), "<u8", view, at + before, (stride, 8))
    sizes, good = _headers_hold(headers, size)
    good &= (sizes + BLOCK - 1) // BLOCK == (size + BLOCK - 1) // BLOCK
    if pax_size:
        extended = np.ndarray((count, _WORDS), "<u8", view, at, (stride, 8))
        pax_sizes, extended_good = _headers_hold(extended, pax_size)
        good &= extended_good & _times_alone(view, at + BLOCK, pax_sizes, stride)
    whole = count if good.all() else int(good.argmin())
    names = np.ndarray((whole, 100), "u1", view, at + before, (stride, 1))
    return stride, before + BLOCK, sizes[:whole], names


def _form(view: memoryview, at: int) -> tuple[int, int] | None:
    """Of the first sample: size of its PAX header's body, 0 without one, and of its payload."""
    pax_size = 0
    header = bytes(view[at : at + BLOCK])
    try:
        if len(header) == BLOCK and header[_FLAG_AT] == ord("x"):
            check(header, at)
            pax_size = number(header[124:136], at)
            if not 10 <= pax_size < _LONGEST_TIME:
                return None
            at += BLOCK + padded(pax_size)
            header = bytes(view[at : at + BLOCK])
        if len(header) < BLOCK or header[_FLAG_AT] != ord("0"):
            return None
        check(header, at)
        size = number(header[124:136], at)
    except ShardError:
        return None
    magic = header[_MAGIC_AT : _MAGIC_AT + 8]
    plain = magic == b"ustar  \0" or (magic == b"ustar\x0000" and not header[_PREFIX_AT])
    return (pax_size, size) if plain and size <= limits.sample_bytes else None


def _headers_hold(words: Words, size: int) -> tuple[Integers, Mask]:
    """The sizes in headers, and which are as the first one and have the right checksum.

    Args:
        words: Shape (n, 64).
        size: What the first one says.
    """
    first = words[0]
    same = words == first
    differing = ~same.all(axis=0)
    good: Mask = np.ones(len(words), np.bool_)
    odd = differing & ~_MAY_DIFFER
    if odd.any():
        good = same[:, odd].all(axis=1)
    # Columns of strided rows come from memory again and again; of copies, from the cache.
    digits_of_size, _, low, high = words[:, 16:20].copy().T
    good &= _byte(high, 4) == _byte(first[19:20], 4)  # the flag
    header = first.tobytes()
    # The checksum is the sum of all bytes, those of its own field taken as blanks.
    total = sum(header[:148]) + sum(header[156:]) + 8 * 0x20
    summed = words[:, differing] & _SUMMED[differing]
    sums = _sums(summed)
    total = total - sums[0] + sums
    checksums = low >> np.uint64(32) | high << np.uint64(32)
    want, digits = _octal(checksums << np.uint64(16) | np.uint64(0x3030))
    good &= digits & (_byte(high, 2) == 0) & (total == want)
    if not differing[16]:
        return np.full(len(words), size), good
    last, digits = _octal(digits_of_size << np.uint64(8) | np.uint64(0x30))
    good &= digits & (_byte(digits_of_size, 7) == _byte(first[16:17], 7))
    return size - last[0] + last, good


def _byte(words: Words, place: int) -> Words:
    """One byte of each word, counted in the order of memory."""
    return words >> np.uint64(8 * place) & np.uint64(0xFF)


def _octal(words: Words) -> tuple[Integers, Mask]:
    """Words of eight ASCII octal digits as numbers, and whether each is nothing else."""
    values = words ^ np.uint64(0x3030303030303030)
    good: Mask = values & np.uint64(0xF8F8F8F8F8F8F8F8) == 0
    # The first digit is the lowest byte: neighbours are joined, then pairs, then fours.
    for digits, mask in ((1, 0x00FF00FF00FF00FF), (2, 0x0000FFFF0000FFFF), (4, 0xFFFFFFFF)):
        behind = values >> np.uint64(8 * digits)
        values = ((values << np.uint64(3 * digits)) + behind) & np.uint64(mask)
    return values.astype(np.int64), good


def _sums(words: Words) -> Integers:
    """Sum of all bytes of each row, shape (n, at most 64) → (n,)."""
    lanes = (words & _EVERY_OTHER_BYTE) + (words >> np.uint64(8) & _EVERY_OTHER_BYTE)
    # Four sums of 16 bits, side by side: none of them overflows.
    rows = lanes.sum(axis=1)
    halves = (rows & _EVERY_OTHER_PAIR) + (rows >> np.uint64(16) & _EVERY_OTHER_PAIR)
    sums: Integers = ((halves & np.uint64(0xFFFFFFFF)) + (halves >> np.uint64(32))).astype(np.int64)
    return sums


def _times_alone(view: memoryview, at: int, sizes: Integers, stride: int) -> Mask:
    """Which bodies of PAX headers are one record that holds an mtime, ``27 mtime=1700000000.25``.

    Args:
        view: The window.
        at: Where the first one begins.
        sizes: Shape (n,): bytes of each.
        stride: Bytes to the next one.
    """
    good: Mask = (sizes >= 10) & (sizes < _LONGEST_TIME)
    starts = at + stride * np.arange(len(sizes))
    ends = starts + np.where(good, sizes, 10) - 1
    good &= np.frombuffer(view, np.uint8)[ends] == ord("\n")
    start, behind = np.ndarray((len(sizes), 2), "<u8", view, at, (stride, 8)).copy().T
    good &= 10 * _byte(start, 0) + _byte(start, 1) == (sizes + 11 * ord("0")).astype(np.uint64)
    good &= start >> np.uint64(16) == int.from_bytes(b" mtime", "little")
    good &= _byte(behind, 0) == ord("=")
    return good
