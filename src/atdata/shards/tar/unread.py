"""Members of shards that are not samples: counted, and reported in one warning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from atdata._warnings import warn
from atdata.errors import UnreadMembersWarning
from atdata.shards.tar.header import FOLDER, HARD_LINK, SYMBOLIC_LINK
from atdata.shards.tar.members import Member

_KINDS_SHOWN: Final = 8
"""Kinds that a warning names one by one."""
_KINDS_COUNTED: Final = 64
"""Kinds that are counted one by one: untrusted names may have any suffix."""
_PACKED: Final = frozenset({"gz", "bz2", "xz", "zst", "lz4"})
_APPLE: Final = b"\x00\x05\x16\x07"


def is_apple_double(name: bytes, payload: memoryview) -> bool:
    """Whether a member is what macOS's tar writes before a file to keep its attributes."""
    return name.rpartition(b"/")[2].startswith(b"._") and bytes(payload[:4]) == _APPLE


def kind_of(member: Member) -> str | None:
    """The name of a member's kind in a warning; None: a folder, which is not counted."""
    if member.flag == FOLDER:
        return None
    if member.flag in (HARD_LINK, SYMBOLIC_LINK):
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


class Unread:
    """Members that were not read of the shards of one dataset, each reported once. Thread-safe."""

    def __init__(self) -> None:
        self._found: dict[str, Counter[str]] = {}
        self._warned_of: dict[str, int] = {}

    def add(self, shard: str, counts: Counter[str]) -> None:
        """Add the members that were not read of a shard, in one reading of it."""
        if counts.total() > self._warned_of.get(shard, 0):
            self._found[shard] = Counter(counts)

    def of(self, shard: str) -> dict[str, int]:
        """Members of a shard that were added and not reported yet."""
        return dict(self._found.get(shard, ()))

    def join(self, other: Unread) -> None:
        """Add what ``other`` has."""
        for shard, counts in other._found.items():
            self.add(shard, counts)

    @contextmanager
    def reading(self) -> Iterator[Unread]:
        """Warn at the end of the block, or when its generator is closed; not after an error."""
        try:
            yield self
        except GeneratorExit:
            self.warn()
            raise
        self.warn()

    def warn(self) -> None:
        """Warn of what was added since the last call, if anything was."""
        found, self._found = self._found, {}
        if not found:
            return
        total: Counter[str] = Counter()
        for shard, counts in found.items():
            self._warned_of[shard] = counts.total()
            total += counts
        first, more = next(iter(found)), len(found) - 1
        where = f"{first} and {more:,} more shard{'s' * (more > 1)}" if more else first
        number = total.total()
        what = (
            "1 member is not a sample and was"
            if number == 1
            else (f"{number:,} members are not samples and were")
        )
        warn(
            UnreadMembersWarning(
                f"{where}: {what} not read: {listed(total)}. A sample is a member whose name ends "
                "in .msgpack, .mp or .msg"
            ),
        )
