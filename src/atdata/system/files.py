"""Files of this machine: paths as users type them, regular files opened to be read, and calls that
some systems lack, each with a portable fallback.
"""

from __future__ import annotations

import errno
import functools
import mmap
import os
import re
import stat
from collections.abc import Sequence
from operator import or_
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import unquote_to_bytes

from atdata.system.forks import ForkLock

_DRIVE: Final = re.compile(rb"/[A-Za-z]:(/|$)")
_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_SOME_OPEN_FILES: Final = 512
"""How many files a process may have open at least, where the system does not say: Windows."""
_position = ForkLock()
"""Held by the twins, which move the position of a file that threads may share."""


def user_path(path: str | os.PathLike[str]) -> Path:
    """A path as a user types it: ``~`` and ``~user`` are home folders, as in a shell."""
    # Path.expanduser fails for a file named ~x if there is no user x.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def path_in_url(path: str, *, windows: bool = os.name == "nt") -> Path:
    """The path that a URL's path names: ``/C:/data%20sets`` is ``C:/data sets`` on Windows."""
    named = unquote_to_bytes(path)
    if windows and _DRIVE.match(named):
        named = named[1:]
    return Path(os.fsdecode(named))


def open_flags(*names: str) -> int:
    """Flags for `os.open`, such as ``"O_NOFOLLOW"``: those that this system has.

    Every file is read as it is, and no other program inherits it.
    """
    always = ("O_CLOEXEC", "O_BINARY", "O_NOINHERIT")
    return functools.reduce(or_, (getattr(os, name, 0) for name in (*names, *always)))


class NotAFileError(OSError):
    """A path leads to something other than a file; ``strerror`` says what."""


def open_number(path: str | Path, *, follow: bool = True) -> int:
    """Open a regular file for reading, as a descriptor that no other program inherits.

    Args:
        path: The file.
        follow: Whether to follow a link at the end of the path.

    Raises:
        NotAFileError: It is a pipe, a socket or a device. Does not block.
        IsADirectoryError: It is a folder.
        OSError: It cannot be opened; ELOOP for a link that is not followed.
    """
    # Opening some devices has effects, so look before opening.
    _check(Path(path).stat(follow_symlinks=follow), path)
    names = ("O_RDONLY", "O_NONBLOCK") if follow else ("O_RDONLY", "O_NONBLOCK", "O_NOFOLLOW")
    number = os.open(path, open_flags(*names))
    try:
        _check(os.fstat(number), path)
    except BaseException:
        os.close(number)
        raise
    return number


def open_file(path: str | Path, buffering: int = -1, *, follow: bool = True) -> IO[bytes]:
    """Open a regular file for reading, as a stream; arguments and errors as for `open_number`."""

    def opener(name: Any, _: int) -> int:
        return open_number(name, follow=follow)

    return open(path, "rb", buffering, opener=opener)


def _check(found: os.stat_result, path: str | Path) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "a link, which is not followed here", str(path))
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
    raise NotAFileError(errno.EINVAL, f"{kind}, where a file was expected", str(path))


def is_own(found: os.stat_result) -> bool:
    """Whether a file or folder belongs to this user and nobody else may write to it."""
    # Windows keeps who may write to a file elsewhere, and shows it as if everyone might.
    return is_mine(found) and (os.name == "nt" or not found.st_mode & 0o022)


def private_folder(folder: Path) -> Path:
    """A folder that only this user may write to; made if it does not exist.

    Args:
        folder: This folder is returned if only this user may write to it; else ``user-…`` in it.

    Raises:
        OSError: It cannot be made, or another user has taken its name.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if is_own(folder.stat()):
        return folder
    own = folder / f"user-{user_number()}"
    own.mkdir(mode=0o700, exist_ok=True)
    found = own.lstat()
    if not stat.S_ISDIR(found.st_mode) or not is_own(found):
        raise PermissionError(errno.EPERM, "others may write to it", str(own))
    return own


def open_own(path: Path) -> IO[bytes]:
    """Open a file for reading and appending; made if it does not exist.

    Args:
        path: A path in a `private_folder`.

    Raises:
        OSError: It cannot be opened, is a link or not a file, or has other names or another owner.
    """
    flags = open_flags("O_RDWR", "O_CREAT", "O_APPEND", "O_NONBLOCK", "O_NOFOLLOW")
    file = os.fdopen(os.open(path, flags, 0o600), "a+b", 0)
    try:
        found = os.fstat(file.fileno())
        _check(found, path)
        if found.st_nlink > 1 or not is_own(found):
            raise PermissionError(errno.EPERM, "another file of this name is there", str(path))
    except BaseException:
        file.close()
        raise
    return file


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
