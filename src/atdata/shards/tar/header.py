"""One tar header: its numbers, its checksum, and the extended headers before it.

ustar: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_06
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from atdata.errors import ShardError

BLOCK: Final = 512
"""Bytes of a tar record: headers take one, payloads are padded to a multiple."""
ZEROS: Final = bytes(BLOCK)
SUFFIXES: Final = frozenset({b"msgpack", b"mp", b"msg"})
"""Suffixes of a sample's file name, in upper or lower case."""

HARD_LINK, SYMBOLIC_LINK, FOLDER = b"125"
WITHOUT_DATA: Final = frozenset(b"123456")
"""Type flags of links, devices and folders, which have no payload; any other is a file."""
PAX_NEXT, PAX_GLOBAL, GNU_NAME, GNU_LINK, GNU_SPARSE, PAX_SOLARIS = b"xgLKSX"

_PAX_RECORD = re.compile(rb"(\d{1,18}) ([^=\n]+)=")
_CHECKSUM: Final = slice(148, 156)


@dataclass(slots=True)
class Extended:
    """What an extended header sets for the member after it."""

    size: int | None = None
    name: bytes | None = None
    link: bytes | None = None

    def over(self, other: Extended) -> Extended:
        """This, with ``other`` for what this does not set."""
        return Extended(
            other.size if self.size is None else self.size,
            other.name if self.name is None else self.name,
            other.link if self.link is None else self.link,
        )


def padded(size: int) -> int:
    """Bytes that a payload of ``size`` bytes takes in a tar."""
    return (size + BLOCK - 1) // BLOCK * BLOCK


def number(field: bytes, offset: int) -> int:
    """The number in a field: octal digits between blanks and zeros, or base-256.

    Raises:
        ShardError: Neither, or negative.
    """
    if field[0] == 0x80:  # base-256; 0xFF would be a negative number
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip(b" ")
    if digits.strip(b"01234567"):
        raise ShardError(f"a tar header with the number {field!r}", offset=offset)
    return int(digits, 8) if digits else 0


def check(header: bytes, offset: int) -> None:
    """Check a header against its checksum.

    Raises:
        ShardError: They disagree.
    """
    if not checksum_holds(header):
        raise ShardError("a damaged tar header: its checksum is wrong", offset=offset)


def checksum_holds(header: bytes) -> bool:
    """Whether a header's checksum is right."""
    try:
        want = number(header[_CHECKSUM], 0)
    except ShardError:
        want = -1
    found = sum(header) - sum(header[_CHECKSUM]) + 8 * 0x20
    # Some old writers summed bytes as signed.
    return found == want or found - 256 * sum(b > 127 for b in header[:148] + header[156:]) == want


def name_of(header: bytes) -> bytes:
    """The member's name, as in its header."""
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].partition(b"\0")[0]):
        return prefix + b"/" + name
    return name


def read_extended(flag: int, data: bytes, offset: int) -> Extended:
    """Parse the payload of an extended header.

    Args:
        flag: The type flag of its header.
        data: The payload.
        offset: Where it begins, in bytes from the start of the shard.

    Raises:
        ShardError: It is damaged, or needs a feature that is not supported.
    """
    if flag == GNU_LINK:
        return Extended(link=data.partition(b"\0")[0])
    if flag == GNU_NAME:
        return Extended(name=data.partition(b"\0")[0])
    found = Extended()
    at = 0
    while at < len(data) and data[at]:
        match = _PAX_RECORD.match(data, at)
        end = at + int(match[1]) if match else 0
        if match is None or not match.end() < end <= len(data) or data[end - 1] != 0x0A:
            raise ShardError("a damaged PAX header", offset=offset + at)
        value = data[match.end() : end - 1]
        if match[2] == b"path":
            found.name = value
        elif match[2] == b"linkpath":
            found.link = value
        elif match[2] == b"size":
            if not value.isdigit() or len(value) > 18:
                raise ShardError(f"a PAX header with the size {value[:40]!r}", offset=offset)
            found.size = int(value)
        elif match[2].startswith(b"GNU.sparse."):
            raise ShardError("a sparse member, which is not supported", offset=offset)
        at = end
    return found


def key_of(name: bytes) -> bytes | None:
    """The key of the sample in a file of this name; None: the file is not a sample.

    It is the name without ``.msgpack``, ``.mp`` or ``.msg``, dots included.
    """
    stem, dot, suffix = name.rpartition(b".")
    return stem if dot and suffix.lower() in SUFFIXES else None
