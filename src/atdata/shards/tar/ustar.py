"""Headers of tars that we write: the same bytes for the same samples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final
from zlib import adler32

import numpy as np

from atdata._arrays import Bytes, Integers, slices
from atdata._limits import limits
from atdata.errors import ShardError
from atdata.shards.tar.header import BLOCK, padded

END: Final = bytes(2 * BLOCK)
"""The end-of-archive marker."""
_SUFFIX: Final = b".msgpack"
_OWNER: Final = b"0000644\0" + b"0000000\0" * 2
_MTIME: Final = b"00000000000\0"
_BLANKS: Final = b" " * 8
_AFTER_CHECKSUM: Final = b"%b" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2
"""What comes after the checksum, up to the prefix, for a type flag."""
_FILE: Final = (_AFTER_CHECKSUM % b"0").ljust(BLOCK - 156, b"\0")
_FILE_SUM: Final = sum(_OWNER) + sum(_MTIME) + sum(_BLANKS) + sum(_FILE)
_SIMPLE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def check_key(key: str) -> None:
    """Refuse a key that could not be read back.

    Raises:
        ShardError: Empty, with a dot after its last slash, too long, or not UTF-8.
    """
    if len(key) <= 80 and key.isascii() and (key.isalnum() or _SIMPLE_KEY.fullmatch(key)):
        return
    stem = key.rpartition("/")[2]
    if not stem or "." in stem or "\0" in key:
        problem = (
            "a key that is written cannot be empty, end with a slash, have a dot after its last "
            "slash, where WebDataset's readers would end it, or have a zero character. "
            "atdata.write_samples(dataset, path) writes the same samples under numbers"
        )
        raise ShardError(problem, key=key[:200])
    try:
        size = len(key.encode("utf-8"))
    except UnicodeEncodeError:
        raise ShardError("a key with lone surrogates", key=key[:200]) from None
    if size + len(_SUFFIX) > limits.member_name:
        raise ShardError(f"a key of {size:,} bytes", key=key[:40] + "…")


def headers(key: str, size: int) -> bytes:
    """The header of a sample, after a PAX header if its name is long.

    Args:
        key: The sample's key, checked.
        size: Bytes of its payload.
    """
    return headers_of(key.encode("utf-8") + _SUFFIX, size)


def headers_of(name: bytes, size: int) -> bytes:
    """The header of a member, after a PAX header if its name is long.

    Args:
        name: Its whole name.
        size: Bytes of its data.
    """
    if len(name) <= 100:
        return _file_header(name, size)
    # The last slash that leaves a short enough name: a prefix needs no PAX header.
    cut = name.rfind(b"/", 0, 156)
    if cut > 0 and len(name) - cut - 1 <= 100:
        return _header(name[cut + 1 :], size, prefix=name[:cut])
    record = _path_record(name)
    pax = _header(b"././@PaxHeader", len(record), flag=b"x") + record
    short = name[:100].decode("utf-8", "ignore").encode("utf-8")
    return pax.ljust(BLOCK + padded(len(record)), b"\0") + _header(short, size)


@dataclass(frozen=True, slots=True)
class Headers:
    """Headers of many samples: the bytes that are the same in all, and those that vary."""

    template: Bytes
    """A whole header, zeros where headers vary, shape (512,)."""
    varying: tuple[tuple[int, Bytes], ...]
    """Offsets of the bytes that vary, in order, and these bytes, shape (n, size)."""
    keys: Bytes
    """Shape (n, digits)."""

    def columns(self) -> Iterator[list[bytes]]:
        """The same as lists of n buffers: the first of each header, the second of each, …"""
        # Fewer buffers: what lies between the varying bytes is copied with them.
        last, values = self.varying[-1]
        end = last + values.shape[1]
        out = np.empty((len(values), end), np.uint8)
        out[...] = self.template[:end]
        for at, values in self.varying:
            out[:, at : at + values.shape[1]] = values
        yield slices(out)
        yield [self.template[end:].tobytes()] * len(out)


def numbered_headers(first: int, sizes: Integers) -> Headers:
    """The headers of samples whose keys are consecutive numbers.

    Args:
        first: The number of the first; all of them have as many digits.
        sizes: Bytes of their payloads, shape (n,).

    Returns:
        The same headers that `headers` gives.
    """
    alike = bool((sizes == sizes[0]).all())
    whole = headers(number_key(first), int(sizes[0]) if alike else 0)
    template = np.frombuffer(whole, np.uint8).copy()
    width = len(number_key(first))
    keys, sums = _digits(np.arange(first, first + len(sizes)), width, 10)
    template[:width], template[148:154] = 0, 0
    varying = [(0, keys)]
    if not alike:
        template[124:135] = 0
        lengths, more = _digits(sizes, 11, 8)
        sums += more
        varying.append((124, lengths))
    sums += int(template.sum(dtype=np.int64)) - int(template[154:156].sum()) + 8 * 0x20
    varying.append((148, _digits(sums, 6, 8)[0]))
    return Headers(template, tuple(varying), keys)


def number_key(number: int) -> str:
    """The key of a sample that is named by its number."""
    return f"{number:09d}"


def _digits(values: Integers, count: int, base: int) -> tuple[Bytes, Integers]:
    """Numbers as ASCII digits, shape (n, count), and the sum of the digits' bytes, shape (n,)."""
    left = values
    texts, text_sums = _fours(base)
    out = np.empty((len(values), -(-count // 4)), np.uint32)
    sums = np.full(len(values), -ord("0") * (-count % 4))
    for place in range(out.shape[1] - 1, -1, -1):
        if bool((left == left[0]).all()):
            # Usually so before the last four digits.
            left = left[:1]
        rest = left // len(texts)
        last = left - rest * len(texts)
        out[:, place] = texts[last]
        sums += text_sums[last]
        left = rest
    return np.ascontiguousarray(out.view(np.uint8)[:, -count:]), sums


@cache
def _fours(base: int) -> tuple[np.ndarray[Any, np.dtype[np.uint32]], Integers]:
    """All numbers of four digits, each as one item of four bytes, and the sums of these bytes."""
    ones = np.arange(ord("0"), ord("0") + base, dtype=np.uint8)
    digits = np.stack(np.meshgrid(ones, ones, ones, ones, indexing="ij"), axis=-1).reshape(-1, 4)
    return digits.view(np.uint32).reshape(-1), digits.sum(axis=1, dtype=np.int64)


def _file_header(name: bytes, size: int) -> bytes:
    """As `_header` for a short name: only what varies is summed."""
    middle, total = _middle(size)
    # The lower half of Adler-32 is one plus the sum of the bytes.
    checksum = b"%06o\0 " % (total + (adler32(name) & 0xFFFF) - 1)
    return b"".join((name.ljust(100, b"\0"), middle, checksum, _FILE))


@lru_cache(maxsize=4096)
def _middle(size: int) -> tuple[bytes, int]:
    """The bytes between name and checksum, and the sum of all bytes but the name."""
    middle = b"%b%011o\0%b" % (_OWNER, size, _MTIME)
    return middle, _FILE_SUM + sum(middle) - sum(_OWNER) - sum(_MTIME)


def _header(name: bytes, size: int, *, prefix: bytes = b"", flag: bytes = b"0") -> bytes:
    before = name.ljust(100, b"\0") + _OWNER + b"%011o\0" % size + _MTIME
    after = _AFTER_CHECKSUM % flag + prefix
    checksum = sum(before) + sum(_BLANKS) + sum(after)
    return (before + b"%06o\0 " % checksum + after).ljust(BLOCK, b"\0")


def _path_record(path: bytes) -> bytes:
    """A PAX record, which starts with its own length."""
    body = b" path=" + path + b"\n"
    size = len(body)
    while len(b"%d" % size) + len(body) != size:
        size = len(b"%d" % size) + len(body)
    return b"%d" % size + body
