"""Tables of samples as files: mapped or read into memory, and which file each of them is"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import IO, Final, TypeAlias
from weakref import WeakSet

from atdata.errors import ShardError
from atdata.shards.tar.table import SampleTable, largest_table
from atdata.system.calls import most_open_files, read_at
from atdata.system.regular_files import is_own, open_file

_MAPPED: Final = 128
"""Most tables that are mapped in a process, and no more than an eighth of the files that the system
allows: each takes one. Others are read into memory."""
_SMALL: Final = 1 << 18
"""Bytes of a table up to which it is read into memory: what is mapped changes with its file."""
Identity: TypeAlias = tuple[str, int, int, int]
"""Path, size, time of change, inode."""
sound: set[Identity] = set()
"""Tables that this process has found right."""
_maps: WeakSet[mmap.mmap] = WeakSet()
"""Tables that are mapped now, in all datasets of this process."""


def opened(place: Path, *, own: bool = False) -> tuple[Identity, SampleTable]:
    """A table from a file: mapped, or, where it is small or many are, read into memory.

    Args:
        place: The file.
        own: Whether it has to be this user's, and nobody else's to write.
    """
    with open_file(place, follow=not own) as file:
        stat = os.fstat(file.fileno())
        if own and not is_own(stat):
            raise PermissionError(f"{place} may be written by others")
        identity = identity_of(place, stat)
        if stat.st_size > _SMALL and len(_maps) < min(_MAPPED, most_open_files() // 8):
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            _maps.add(mapped)
            table = SampleTable.opened(memoryview(mapped))
        else:
            # One byte more than it had, to see that it grows.
            table = SampleTable.opened(file.read(min(stat.st_size, largest_table()) + 1))
    table.checked = identity in sound
    return identity, table


def bytes_of(number: int, start: int, size: int) -> bytes:
    data = read_at(number, size, start)
    if len(data) < size:
        raise ShardError("cut short while it was opened")
    return data


def identity_of(place: Path, stat: os.stat_result) -> Identity:
    return str(place), stat.st_size, stat.st_mtime_ns, stat.st_ino


def read_at_most(stream: IO[bytes], most: int) -> bytes:
    pieces, left = [], most + 1
    while left and (piece := stream.read(min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    if not left:
        raise ShardError(f"a sample table of more than {most:,} bytes")
    return b"".join(pieces)
