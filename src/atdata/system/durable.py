"""Durable files and folders: on the disk before a call returns."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from atdata.system.files import open_flags

_FILES_AT_ONCE: Final = 8
_NO_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM})
"""Errors of file systems that cannot sync folders, and of folders that may not be read."""


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk.

    Nothing is done where folders cannot be opened: on Windows, and on some file systems.

    Raises:
        OSError: The disk fails.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        descriptor = os.open(folder, open_flags("O_RDONLY", "O_DIRECTORY"))
    except OSError as error:
        if error.errno in _NO_SYNC:
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def sync_files(files: Iterable[Path]) -> None:
    """Wait until the contents of files are on the disk."""
    waiting = list(files)
    if len(waiting) == 1:
        _sync_file(waiting[0])
    elif waiting:
        with ThreadPoolExecutor(min(_FILES_AT_ONCE, len(waiting)), "atdata-sync") as pool:
            list(pool.map(_sync_file, waiting))


def _sync_file(file: Path) -> None:
    # Windows syncs no file that is open to be read alone.
    descriptor = os.open(file, open_flags("O_RDWR" if os.name == "nt" else "O_RDONLY"))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path, *, within: Path | None = None, sync: bool = True) -> None:
    """Make a folder and those above it, with their names on the disk.

    Args:
        folder: The folder.
        within: Sync the names of all folders from this one down, whoever made them: another
            process may have been killed before it did. None: of those that are made here.
        sync: Whether to wait for the disk.

    Raises:
        OSError: They cannot be made.
    """
    folder = folder.absolute()
    names: list[Path] = []
    for above in (folder, *folder.parents):
        inside = within is not None and above.is_relative_to(within.absolute())
        if not inside and above.is_dir():
            break
        names.append(above)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    if sync:
        for name in reversed(names):
            sync_folder(name.parent)


def place_file(file: Path, path: Path, *, sync: bool = True) -> None:
    """Rename a finished file, which nobody writes to any more, and wait for the disk.

    A file of that name is replaced. Both are on the same file system.
    """
    if sync:
        _sync_file(file)
    file.replace(path)
    if sync:
        sync_folder(path.parent)
