"""System calls that some systems lack, each with a portable fallback."""

from __future__ import annotations

import functools
import mmap
import os
from collections.abc import Sequence
from operator import or_
from typing import Any, Final

from atdata.system.forks import ForkLock

_SOME_OPEN_FILES: Final = 512
"""How many files a process may have open at least, where the system does not say: Windows."""
_position = ForkLock()
"""Held by the twins, which move the position of a file that threads may share."""


def open_flags(*names: str) -> int:
    """Flags for `os.open`, such as ``"O_NOFOLLOW"``: those that this system has.

    Every file is read as it is, and no other program inherits it.
    """
    always = ("O_CLOEXEC", "O_BINARY", "O_NOINHERIT")
    return functools.reduce(or_, (getattr(os, name, 0) for name in (*names, *always)))


def read_at(number: int, size: int, start: int) -> bytes:
    """Read at most ``size`` bytes at an offset, none at the end; the position of the file stays."""
    if hasattr(os, "pread"):
        return os.pread(number, size, start)
    with _position:
        before = os.lseek(number, 0, os.SEEK_CUR)
        try:
            os.lseek(number, start, os.SEEK_SET)
            return os.read(number, size)
        finally:
            os.lseek(number, before, os.SEEK_SET)


def read_into(number: int, parts: Sequence[Any], start: int) -> int:
    """Read at an offset into writable buffers, one after the other; how many bytes were read.

    That is 0 at the end of the file; else maybe less than there is room for. The buffers are at
    most as many as one call takes (1,024 on Linux).
    """
    if hasattr(os, "preadv"):
        return os.preadv(number, parts, start)
    done = 0
    for part in parts:
        view = memoryview(part).cast("B")
        data = read_at(number, len(view), start + done)
        view[: len(data)] = data
        done += len(data)
        if len(data) < len(view):
            break
    return done


def write_all(number: int, parts: Sequence[Any], size: int) -> None:
    """Write contiguous buffers of ``size`` bytes in all to a file, one after the other.

    They are at most as many as one call takes (1,024 on Linux).

    Raises:
        OSError: The file cannot take all of them.
    """
    done = os.writev(number, parts) if hasattr(os, "writev") else 0
    if done == size:
        return
    # A call takes at most 2 GiB, and less where the disk is full: then the next one fails.
    for part in parts:
        view = memoryview(part).cast("B")
        skipped = min(done, len(view))
        done -= skipped
        while skipped < len(view):
            with _position:
                skipped += os.write(number, view[skipped:])


def map_written(number: int, size: int, start: int) -> mmap.mmap:
    """Map bytes that were just written, to be read once.

    The offset is a multiple of `mmap.ALLOCATIONGRANULARITY`.

    Raises:
        OSError: The file system has no maps.
        ValueError: The file is shorter.
    """
    if not hasattr(mmap, "MAP_POPULATE"):
        return mmap.mmap(number, size, access=mmap.ACCESS_READ, offset=start)
    flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
    return mmap.mmap(number, size, flags, mmap.PROT_READ, offset=start)


def fresh_memory(size: int) -> mmap.mmap:
    """Zeroed memory, not empty, straight from the system, in huge pages where there are some."""
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        return mmap.mmap(-1, size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # As NumPy does it: fewer pages, fewer faults.
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def user_number() -> int | None:
    """The number of this process's user; None where users have none: Windows."""
    return os.geteuid() if hasattr(os, "geteuid") else None


def is_mine(found: os.stat_result) -> bool:
    """Whether a file belongs to this process's user; yes where users have no number."""
    return user_number() in (None, found.st_uid)


def most_open_files() -> int:
    """How many files this process may have open."""
    return os.sysconf("SC_OPEN_MAX") if hasattr(os, "sysconf") else _SOME_OPEN_FILES
