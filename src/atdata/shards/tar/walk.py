"""The samples of a tar, window by window of memory.

A sample is a file ``<key>.msgpack`` (``.mp`` and ``.msg`` are read as well), or a link of such a
name to a file of the same tar. The key is the name without its ending, dots included. Other
members are not read, but counted.

Stricter than `tarfile`, which ends in silence where a shard is cut or damaged: a shard ends
with its end-of-archive marker and nothing but zeros after it, or it is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from atdata._arrays import Integers
from atdata._limits import limits
from atdata.errors import ShardError
from atdata.shards.tar.header import BLOCK, HARD_LINK, SYMBOLIC_LINK, Extended, key_of
from atdata.shards.tar.keys import KeyMatrix, KeyRegister
from atdata.shards.tar.links import LinksError, Tree
from atdata.shards.tar.members import Marker, Member, Members, Short
from atdata.shards.tar.scan import SHORTEST, find_run
from atdata.shards.tar.unread import add_kind, is_apple_double, kind_of, listed

Buffer: TypeAlias = memoryview

_TYPICAL: Final = 2048
"""Bytes of a sample in a tar, before one was seen."""
_WORTHWHILE: Final = 32
"""Samples of a run that was worth looking for."""
_LONGEST_WALK: Final = 1024
"""Samples after which a run is looked for again at the latest."""


@dataclass(slots=True)
class Found:
    """Samples that lie one behind the other in a window."""

    offsets: list[int] | Integers = field(default_factory=list)
    """Where each payload begins, in bytes from the start of the window."""
    sizes: list[int] | Integers = field(default_factory=list)
    """Bytes of each payload."""
    keys: list[str] | KeyMatrix = field(default_factory=list)
    end: int = 0
    """Where the next member begins; after the window where a member is not read."""
    need: int = 0
    """Bytes from ``end`` on that the next step needs, where the window was too short."""
    over: bool = False
    """Whether the end-of-archive marker was reached, at ``end``."""


class Walker:
    """Finds the samples of one tar: runs of them at once, what is odd header by header."""

    def __init__(self) -> None:
        self.samples = 0
        self.others: Counter[str] = Counter()
        """Members that are no samples, by what they are called in a warning."""
        self._bytes = 0
        self._keys = KeyRegister()
        self._members = Members()
        self._tree: Tree | None = None
        self._patience = 1
        self._left_to_walk = 0

    @property
    def names(self) -> dict[int, bytes]:
        """Where each payload begins → the name in its header; empty unless samples are links."""
        return self._tree.names if self._tree is not None else {}

    @property
    def alone(self) -> bool:
        """Whether every member so far is a sample with a payload of its own."""
        return not self.others and self._tree is None

    @property
    def typical(self) -> int:
        """Bytes that a sample takes in this tar, headers and padding included."""
        return self._bytes // self.samples if self.samples else _TYPICAL

    def find(self, window: Buffer, at: int, *, base: int, final: bool, most: int) -> Found:
        """Find samples from ``at`` on: at least one step, at most ``most`` samples.

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
        if self._left_to_walk <= 0 and most >= SHORTEST and self._members.everywhere == Extended():
            run = find_run(window, at, span=(most + 1) * self.typical * 5 // 4, most=most)
            if run is not None and len(run.offsets) >= min(_WORTHWHILE, most):
                self._patience = 1
            else:
                # Where runs are short, looking for them costs more than it saves.
                self._patience = min(4 * self._patience, _LONGEST_WALK)
                self._left_to_walk = self._patience
            if run is not None:
                self._keys.add_many(run.keys, base + run.offsets - BLOCK)
                self._members.last_key = run.keys[-1].tobytes().decode("ascii")
                self._count(len(run.offsets), run.end - at, base + at)
                return Found(run.offsets, run.sizes, run.keys, run.end)
        found = self._walk(window, at, base, final, min(most, max(self._left_to_walk, SHORTEST)))
        self._left_to_walk -= len(found.offsets)
        return found

    def _walk(self, window: Buffer, at: int, base: int, final: bool, most: int) -> Found:
        """Header by header, as `find`."""
        offsets: list[int] = []
        sizes: list[int] = []
        keys: list[str] = []
        found = Found(offsets, sizes, keys, end=at)
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
            self._keys.add(key, here)
            offsets.append(file.data)
            sizes.append(file.size)
            keys.append(key)
            self._members.last_key = key
            self._count(1, found.end - start, here)
        return found

    def finish(self) -> None:
        """Check what was found, after the marker was reached.

        Raises:
            ShardError: There are members, but no samples.
        """
        if self.others and not self.samples:
            raise ShardError(
                f"holds {listed(self.others)} members, no .msgpack samples; such a shard "
                "has to be converted to samples of a type first"
            )

    def _key(self, member: Member, offset: int) -> str | None:
        """The key of the sample that a member is, or None."""
        raw = key_of(member.name)
        if raw is None or not (member.has_data or member.flag in (HARD_LINK, SYMBOLIC_LINK)):
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
    """Make sure that nothing but zeros follows the end-of-archive marker.

    Args:
        tail: The bytes from the marker on, in pieces.
        offset: Where they begin.

    Raises:
        ShardError: Something does: a shard damaged in the middle, or two put in one file.
    """
    for piece in tail:
        if bytes(piece).strip(b"\0"):
            raise ShardError(
                "data behind the end-of-archive marker: the shard is damaged here, or is "
                "several tars in one file",
                offset=offset,
            )
        offset += len(piece)
