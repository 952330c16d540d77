"""The members of a tar, one by one, with their extended headers; and their kinds, for warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from atdata._limits import limits
from atdata.errors import ShardError
from atdata.shards.tar.header import (
    BLOCK,
    FOLDER,
    GNU_LINK,
    GNU_NAME,
    GNU_SPARSE,
    HARD_LINK,
    PAX_GLOBAL,
    PAX_NEXT,
    PAX_SOLARIS,
    SYMBOLIC_LINK,
    WITHOUT_DATA,
    ZEROS,
    Extended,
    check,
    name_of,
    number,
    padded,
    read_extended,
)
from atdata.shards.tar.sniff import refuse_other_forms

Buffer: TypeAlias = memoryview

_KINDS_SHOWN: Final = 8
"""Kinds that a warning names one by one."""
_KINDS_COUNTED: Final = 64
"""Kinds that are counted one by one: untrusted names may have any suffix."""
_PACKED: Final = frozenset({"gz", "bz2", "xz", "zst", "lz4"})
_APPLE: Final = b"\x00\x05\x16\x07"


@dataclass(frozen=True, slots=True)
class Member:
    """One member; offsets are in bytes from the start of the window."""

    name: bytes
    flag: int
    """Type flag of its header; `FOLDER` for every folder."""
    link: bytes
    """The target of a link."""
    header: int
    """Where its own header begins, after extended ones."""
    size: int
    end: int
    """Where the next member begins; after the window if its payload is not all in it."""

    @property
    def data(self) -> int:
        """Where its payload begins."""
        return self.header + BLOCK

    @property
    def has_data(self) -> bool:
        """Whether it is a file."""
        return self.flag not in WITHOUT_DATA

    @property
    def data_end(self) -> int:
        """Where its payload ends; of what is no file, its header."""
        return self.data + (self.size if self.has_data else 0)

    @property
    def is_link(self) -> bool:
        """Whether it is a hard or symbolic link."""
        return self.flag in (HARD_LINK, SYMBOLIC_LINK)


@dataclass(frozen=True, slots=True)
class Short:
    """The window ends before the next member's headers do."""

    need: int
    """Bytes needed, from the start of these headers on."""


@dataclass(frozen=True, slots=True)
class Marker:
    """The end-of-archive marker."""

    at: int
    """Where it begins."""


class Members:
    """Reads the members of one tar, in order."""

    def __init__(self) -> None:
        self.everywhere = Extended()
        """What global extended headers have set so far."""
        self.last_key: str | None = None
        """Key of the last whole sample, for errors."""

    def next(
        self, window: Buffer, start: int, *, base: int, final: bool
    ) -> Member | Short | Marker:
        """The member whose headers begin at ``start``.

        Args:
            window: Bytes of the tar.
            start: Where in them headers begin.
            base: Where in the tar the window begins, for errors.
            final: Whether the tar ends with the window.

        Raises:
            ShardError: Damaged, cut short, or not a tar.
        """
        at, chain = start, 0
        extended: Extended | None = None
        while True:
            here = base + at
            if here == 0 and (final or len(window) >= BLOCK):
                refuse_other_forms(window)
            if len(window) - at < BLOCK:
                if final:
                    raise self._cut(here, "the end-of-archive marker is missing")
                return Short(at + BLOCK - start)
            header = bytes(window[at : at + BLOCK])
            if header == ZEROS:
                if extended is not None:
                    raise ShardError("an extended header without a member", offset=here)
                return Marker(at)
            check(header, here)
            flag = header[156]
            size = number(header[124:136], here)
            data = at + BLOCK
            if flag not in (PAX_NEXT, PAX_GLOBAL, GNU_NAME, GNU_LINK, PAX_SOLARIS):
                break
            chain += 1
            if chain > limits.extended_headers:
                # They must all be in memory together with their member.
                problem = f"more than {limits.extended_headers} extended headers in a row"
                raise ShardError(problem, offset=here)
            if size > limits.extended_bytes:
                raise ShardError(f"an extended header of {size:,} bytes", offset=here)
            at = data + padded(size)
            if at > len(window):
                if final:
                    raise self._cut(here, "an extended header is cut short")
                return Short(at - start)
            said = read_extended(flag, bytes(window[data : data + size]), here + BLOCK)
            if flag == PAX_GLOBAL:
                self.everywhere = said.over(self.everywhere)
            else:
                extended = said.over(extended or Extended())
        return self._member(header, at, size, extended, here)

    def check_whole(self, member: Member, window: Buffer, base: int) -> None:
        """Check that a member does not end after the tar.

        Args:
            member: Found in the window.
            window: The last one.
            base: As for `next`.

        Raises:
            ShardError: It ends after the tar.
        """
        if member.end > len(window):
            size, padded_size = member.size, member.end - member.data
            there = f"{size:,} bytes, {padded_size:,} with padding; {len(window) - member.data:,}"
            raise self._cut(base + member.header, f"a member of {there} are there")

    def _member(
        self, header: bytes, at: int, size: int, extended: Extended | None, here: int
    ) -> Member:
        flag, data = header[156], at + BLOCK
        if flag == GNU_SPARSE:
            raise ShardError("a sparse member, which is not supported", offset=here)
        said = self.everywhere if extended is None else extended.over(self.everywhere)
        if said.size is not None:
            size = said.size
        name = said.name or name_of(header)
        if len(name) > limits.member_name:
            raise ShardError(f"a name of {len(name):,} bytes", offset=here)
        if flag == 0 and name.endswith(b"/"):
            flag, end = FOLDER, data + padded(size)
        else:
            end = data if flag in WITHOUT_DATA else data + padded(size)
        link = said.link or header[157:257].partition(b"\0")[0]
        return Member(name, flag, link, at, size, end)

    def _cut(self, offset: int, what: str) -> ShardError:
        after = "" if self.last_key is None else f"; the last whole sample is {self.last_key!r}"
        return ShardError(f"the shard is cut short: {what}{after}", offset=offset)


def is_apple_double(name: bytes, payload: memoryview) -> bool:
    """Whether a member is what macOS's tar writes before a file to keep its attributes."""
    return name.rpartition(b"/")[2].startswith(b"._") and bytes(payload[:4]) == _APPLE


def kind_of(member: Member) -> str | None:
    """The name of a member's kind in a warning; None: a folder, which is not counted."""
    if member.flag == FOLDER:
        return None
    if member.is_link:
        return "link"
    if not member.has_data:
        return "device"
    stem, dot, ending = member.name.rpartition(b"/")[2].decode("utf-8", "replace").rpartition(".")
    if not dot:
        return "without an ending"
    before, dot, last = stem.rpartition(".")
    if ending.lower() in _PACKED and dot and before:
        ending = f"{last}.{ending}"
    return f".{ending[:40]}"


def add_kind(counts: Counter[str], kind: str) -> None:
    """Count one more of a kind; the rest of too many kinds as "others"."""
    counts[kind if kind in counts or len(counts) < _KINDS_COUNTED else "others"] += 1


def listed(counts: Mapping[str, int]) -> str:
    """Counts in words, the most frequent first: ``12 .png, 3 .json``."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count:,} {kind}" for kind, count in ordered[:_KINDS_SHOWN]]
    rest = sum(count for _, count in ordered[_KINDS_SHOWN:])
    return ", ".join([*shown, f"{rest:,} others"] if rest else shown)
