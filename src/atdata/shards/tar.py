"""The samples of a tar, window by window of memory.

A sample is a file member ``<key>.msgpack`` (``.mp`` and ``.msg`` are read as well); the key
is the name up to the first dot after its last slash. Other members are passed over.

Stricter than `tarfile`, which ends in silence where a shard is cut or damaged: a shard ends
with its end-of-archive marker and nothing but zeros behind it, or it is an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from atdata._limits import limits
from atdata.errors import ShardError
from atdata.shards.header import (
    BLOCK,
    GNU_LINK,
    GNU_NAME,
    GNU_SPARSE,
    PAX_GLOBAL,
    PAX_NEXT,
    REGULAR,
    SUFFIXES,
    WITHOUT_DATA,
    ZEROS,
    Extended,
    check,
    name_of,
    number,
    padded,
    read_extended,
)
from atdata.shards.keys import KeyMatrix, KeyRegister
from atdata.shards.scan import SHORTEST, Integers, find_run

Buffer: TypeAlias = memoryview

_TYPICAL: Final = 2048
"""Bytes of a sample in a tar, before one was seen."""
_WORTHWHILE: Final = 32
"""Samples of a run that was worth looking for."""
_LONGEST_WALK: Final = 1024
"""Samples after which a run is looked for again at the latest."""
_COMPRESSED: Final = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}


@dataclass(slots=True)
class Found:
    """Samples that lie one behind the other in a window."""

    offsets: list[int] | Integers = field(default_factory=list)
    """Where each payload begins, in bytes from the start of the window."""
    sizes: list[int] | Integers = field(default_factory=list)
    """Bytes of each payload."""
    keys: list[str] | KeyMatrix = field(default_factory=list)
    end: int = 0
    """Where the next member begins; behind the window where a member is passed over."""
    need: int = 0
    """Bytes from ``end`` on that the next step needs, where the window was too short."""
    over: bool = False
    """Whether the end-of-archive marker was reached, at ``end``."""


class Walker:
    """Finds the samples of one tar: runs of them at once, what is odd header by header."""

    def __init__(self) -> None:
        self.samples = 0
        self._bytes = 0
        self._global = Extended()
        self._others: dict[str, None] = {}
        self._keys = KeyRegister()
        self._patience = 1
        self._left_to_walk = 0

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
        """
        if self._left_to_walk <= 0 and most >= SHORTEST and self._global == Extended():
            run = find_run(window, at, span=(most + 1) * self.typical * 5 // 4, most=most)
            if run is not None and len(run.offsets) >= min(_WORTHWHILE, most):
                self._patience = 1
            else:
                # Where runs are short, looking for them costs more than it saves.
                self._patience = min(4 * self._patience, _LONGEST_WALK)
                self._left_to_walk = self._patience
            if run is not None:
                self._keys.add_many(run.keys, base + run.offsets)
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
        extended = Extended()
        chain = 0
        while len(offsets) < most:
            here = base + at
            if here == 0 and (final or len(window) >= BLOCK):
                _refuse_other_forms(window)
            if len(window) - at < BLOCK:
                if final:
                    raise _cut(here, "the end-of-archive marker is missing", keys)
                found.need = at + BLOCK - found.end
                return found
            header = bytes(window[at : at + BLOCK])
            if header == ZEROS:
                if at != found.end:
                    raise ShardError("an extended header without a member", offset=here)
                found.over = True
                return found
            check(header, here)
            flag = header[156]
            size = number(header[124:136], here)
            data = at + BLOCK
            if flag in (PAX_NEXT, PAX_GLOBAL, GNU_NAME, GNU_LINK):
                chain += 1
                if chain > limits.extended_headers:
                    # They all have to be in memory together with the member that they speak of.
                    problem = f"more than {limits.extended_headers} extended headers in a row"
                    raise ShardError(problem, offset=here)
                if size > limits.extended_bytes:
                    raise ShardError(f"an extended header of {size:,} bytes", offset=here)
                if data + padded(size) > len(window):
                    if final:
                        raise _cut(here, "an extended header is cut short", keys)
                    found.need = data + padded(size) - found.end
                    return found
                said = read_extended(flag, bytes(window[data : data + size]), here + BLOCK)
                at = data + padded(size)
                if flag == PAX_GLOBAL:
                    self._global = said.over(self._global)
                    found.end = at if at == found.end else found.end
                else:
                    extended = said.over(extended)
                continue
            if flag == GNU_SPARSE:
                raise ShardError("a sparse member, which is not supported", offset=here)
            extended = extended.over(self._global)
            if extended.size is not None:
                size = extended.size
            name = extended.name or name_of(header)
            extended, chain = Extended(), 0
            if len(name) > limits.member_name:
                raise ShardError(f"a name of {len(name):,} bytes", offset=here)
            end = data if flag in WITHOUT_DATA else data + padded(size)
            is_file = flag in REGULAR and not (flag == 0 and name.endswith(b"/"))
            key = self._key(name, here) if is_file else None
            if key is not None and size > limits.sample_bytes:
                raise ShardError(f"a sample of {size:,} bytes", offset=here, key=key)
            if final and end > len(window):
                there = f"{size:,} bytes, {end - data:,} with padding; {len(window) - data:,}"
                raise _cut(here, f"a member of {there} are there", keys)
            if key is not None:
                if end > len(window):
                    found.need = end - found.end
                    return found
                self._keys.add(key, here)
                self._count(1, end - found.end, here)
                offsets.append(data)
                sizes.append(size)
                keys.append(key)
            at = found.end = end
        return found

    def finish(self) -> None:
        """Told that the marker was reached.

        Raises:
            ShardError: There are members, but no samples.
        """
        if self._others and not self.samples:
            raise ShardError(
                f"holds {', '.join(self._others)} members, no .msgpack samples; such a shard "
                "has to be converted to samples of a type first"
            )

    def _key(self, name: bytes, offset: int) -> str | None:
        folder, slash, file = name.rpartition(b"/")
        stem, _, suffix = file.partition(b".")
        if suffix.lower() not in SUFFIXES or not stem:
            if len(self._others) < 8:
                shown = suffix.decode("utf-8", "replace")[:40]
                self._others["." + shown if suffix else "unnamed"] = None
            return None
        try:
            return (folder + slash + stem).decode("utf-8")
        except UnicodeDecodeError:
            raise ShardError(f"the name {name[:80]!r} is not UTF-8", offset=offset) from None

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


def _cut(offset: int, what: str, keys: list[str]) -> ShardError:
    behind = f"; the last whole sample is {keys[-1]!r}" if keys else ""
    return ShardError(f"the shard is cut short: {what}{behind}", offset=offset)


def _refuse_other_forms(window: Buffer) -> None:
    start = bytes(window[:8])
    if not start:
        raise ShardError("the shard is empty: not one byte")
    if bytes(window[257:262]) == b"ustar":
        return  # a tar begins with its first key, which may begin like anything
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            raise ShardError(f"compressed with {name}; decompress it to a plain .tar first")
