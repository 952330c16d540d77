"""Opening files to read: regular ones, never a pipe or a device."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO, Any, Final

from atdata.system.calls import is_mine, open_flags, user_number

_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


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
