"""Walking a tar: its samples, window by window of memory.

A sample is a file ``<key>.msgpack`` (``.mp`` and ``.msg`` are read as well), or a link of such a
name to a file of the same tar. The key is the name without its ending, dots included. Other
members are counted, not read.

`tarfile` stops without an error where a tar is cut short or damaged. Here a shard must end with
its end-of-archive marker and nothing but zeros after it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from typing import Final, TypeAlias

import numpy as np

from atdata._limits import limits
from atdata._shardlist import Layout
from atdata.errors import ShardError
from atdata.shards.tar.header import BLOCK, Extended, key_of
from atdata.shards.tar.keys import KeyRegister
from atdata.shards.tar.links import LinksError, Tree
from atdata.shards.tar.members import (
    Marker,
    Member,
    Members,
    Short,
    add_kind,
    is_apple_double,
    kind_of,
    listed,
)
from atdata.shards.tar.scan import FEWEST_ALIKE, Found, find_alike

Buffer: TypeAlias = memoryview

_TYPICAL_BYTES: Final = 2048
"""Bytes of a sample in a tar, as long as none was found."""
_WORTHWHILE_SAMPLES: Final = 32
"""Samples with headers alike that were worth looking for."""
_LONGEST_WALK_SAMPLES: Final = 1024
"""Samples after which headers are compared again at the latest."""
_TWICE: Final = "two samples have this key"


class Walker:
    """Finds the samples of one tar: many at once where headers are alike, else one by one."""

    layout: Final[Layout] = "msgpack"
    links: Final[Mapping[int, tuple[int, int] | str]] = {}
    """As of `MembersWalker`: only samples themselves are links."""
    apart: Final[Set[str]] = frozenset()
    """As of `MembersWalker`: two samples with one key are an error."""

    def __init__(self) -> None:
        self.samples = 0
        self.others: Counter[str] = Counter()
        """Counts of members that are not samples, by their kind as a warning names it."""
        self._bytes = 0
        self._keys = KeyRegister()
        self._members = Members()
        self._tree: Tree | None = None
        self._patience = 1
        self._left_to_walk = 0

    @property
    def names(self) -> dict[int, bytes]:
        """Offset of each payload → the name in its header; empty unless samples are links."""
        return self._tree.names if self._tree is not None else {}

    @property
    def alone(self) -> bool:
        """Whether every member so far is a sample with a payload of its own."""
        return not self.others and self._tree is None

    @property
    def typical(self) -> int:
        """Bytes that a sample takes in this tar, headers and padding included."""
        return self._bytes // self.samples if self.samples else _TYPICAL_BYTES

    def find(self, window: Buffer, at: int, *, base: int, final: bool, most: int) -> Found:
        """Find samples from ``at`` on: at most ``most``, perhaps none in one call.

        Args:
            window: Bytes of the tar.
            at: Where in the window a member begins.
            base: Where in the tar the window begins, for errors.
            final: Whether the tar ends with the window.
            most: Most samples to find.

        Raises:
            ShardError: Damaged, cut short, no tar, or two samples with one key. Its offset
                is counted from the start of the tar.
            LinksError: A sample is a link, and the window is not the whole tar.
        """
        plain = self._members.everywhere == Extended()
        if self._left_to_walk <= 0 and most >= FEWEST_ALIKE and plain:
            alike = find_alike(window, at, span=(most + 1) * self.typical * 5 // 4, most=most)
            if alike is not None and len(alike.offsets) >= min(_WORTHWHILE_SAMPLES, most):
                self._patience = 1
            else:
                # Where headers differ often, comparing them costs more than it saves.
                self._patience = min(4 * self._patience, _LONGEST_WALK_SAMPLES)
                self._left_to_walk = self._patience
            if alike is not None:
                keys, offsets = np.asarray(alike.keys), np.asarray(alike.offsets)
                for row in self._keys.add_many(keys):
                    key = keys[row].tobytes().decode("ascii")
                    raise ShardError(_TWICE, offset=base + int(offsets[row]) - BLOCK, key=key)
                self._members.last_key = keys[-1].tobytes().decode("ascii")
                self._count(len(keys), alike.end - at, base + at)
                return alike
        walked = max(self._left_to_walk, FEWEST_ALIKE)
        found = self._walk(window, at, base, final, min(most, walked))
        self._left_to_walk -= len(found.offsets)
        return found

    def _walk(self, window: Buffer, at: int, base: int, final: bool, most: int) -> Found:
        """As `find`, header by header."""
        offsets: list[int] = []
        sizes: list[int] = []
        keys: list[str] = []
        found = Found(offsets, sizes, keys, at)
        while len(offsets) < most:
            if found.end > len(window) and not final:
                # What follows a long member is in the next window.
                return found
            member = self._members.next(window, found.end, base=base, final=final)
            if isinstance(member, Short):
                found.need = member.need
                return found
            if isinstance(member, Marker):
                found.end, found.over = member.at, True
                return found
            here, start = base + member.header, found.end
            key = self._key(member, here)
            if key is None:
                if final:
                    self._members.check_whole(member, window, base)
                self._other(kind_of(member))
                found.end = member.end
                continue
            if member.has_data and member.size > limits.sample_bytes:
                raise ShardError(f"a sample of {member.size:,} bytes", offset=here, key=key)
            if final:
                self._members.check_whole(member, window, base)
            if member.end > len(window):
                found.need = member.end - start
                return found
            file = member if member.has_data else self._followed(member, window, base, final)
            found.end = member.end
            if is_apple_double(member.name, window[file.data : file.data + 4]):
                self._other("of macOS (._)")
                continue
            if not self._keys.add(key):
                raise ShardError(_TWICE, offset=here, key=key)
            offsets.append(file.data)
            sizes.append(file.size)
            keys.append(key)
            self._members.last_key = key
            self._count(1, found.end - start, here)
        return found

    def finish(self) -> None:
        """Check what was found, once the end-of-archive marker is reached.

        Raises:
            ShardError: There are members, but none is a sample.
        """
        if self.others and not self.samples:
            raise ShardError(
                f"holds {listed(self.others)} members, no samples: neither .msgpack files nor "
                "members that WebDataset's readers would group, such as 0001.jpg and 0001.json"
            )

    def _key(self, member: Member, offset: int) -> str | None:
        """The key of the sample that a member is, or None."""
        raw = key_of(member.name)
        if raw is None or not (member.has_data or member.is_link):
            return None
        try:
            key = raw.decode("utf-8")
        except UnicodeDecodeError:
            problem = f"the name {member.name[:80]!r} is not UTF-8"
            raise ShardError(problem, offset=offset) from None
        if not key or key.endswith("/"):
            raise ShardError(f"a sample without a key: {key}.msgpack", offset=offset)
        return key

    def _other(self, kind: str | None) -> None:
        if kind is not None:
            add_kind(self.others, kind)

    def _followed(self, link: Member, window: Buffer, base: int, final: bool) -> Member:
        """The file that a link leads to."""
        if base or not final:
            raise LinksError
        self._tree = self._tree or Tree(window)
        file = self._tree.file(link)
        if file.size > limits.sample_bytes:
            raise ShardError(f"a sample of {file.size:,} bytes", offset=file.header)
        return file

    def _count(self, samples: int, size: int, offset: int) -> None:
        self.samples += samples
        self._bytes += size
        if self.samples > limits.samples:
            raise ShardError(f"more than {limits.samples:,} samples in one shard", offset=offset)


def check_tail(tail: Iterable[Buffer], offset: int) -> None:
    """Check that nothing but zeros follows the end-of-archive marker.

    Args:
        tail: The bytes from the marker on, in order.
        offset: Where they begin.

    Raises:
        ShardError: Something does: a shard damaged in the middle, or two put in one file.
    """
    for data in tail:
        if bytes(data).strip(b"\0"):
            raise ShardError(
                "data after the end-of-archive marker: the shard is damaged here, or is "
                "several tars in one file",
                offset=offset,
            )
        offset += len(data)
