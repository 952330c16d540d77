"""Files that are opened to be read: regular ones, never a pipe or a device"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO, Any, Final

_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotAFileError(OSError):
    """What should be a file is something else; ``strerror`` says what."""


def open_number(path: str | Path, *, follow: bool = True) -> int:
    """Open a regular file to be read; its descriptor, which no other program inherits.

    Args:
        path: The file.
        follow: Whether a link is followed at the end of the path.

    Raises:
        NotAFileError: It is a pipe, a socket or a device; none of these is waited for.
        IsADirectoryError: It is a folder.
        OSError: It cannot be opened; a link that is not followed is ELOOP.
    """
    # Opening some devices does something: they are not opened to see what they are.
    _check(Path(path).stat(follow_symlinks=follow), path)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    number = os.open(path, flags)
    try:
        _check(os.fstat(number), path)
    except BaseException:
        os.close(number)
        raise
    return number


def open_file(path: str | Path, buffering: int = -1, *, follow: bool = True) -> IO[bytes]:
    """The same as a stream.

    Args:
        path: The file.
        buffering: As for `open`.
        follow: As for `open_number`.

    Raises:
        OSError: As for `open_number`.
    """

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
