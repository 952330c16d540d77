"""File locks between processes, which end with their process."""

from __future__ import annotations

import errno
import importlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from atdata.system.files import open_flags


def _module_if_any(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


# Packages that lock files (filelock, portalocker) lock a path of their own, or a stream: these
# locks are on descriptors of the files themselves. Each module is part of Python on its system.
_fcntl = _module_if_any("fcntl")
_msvcrt = _module_if_any("msvcrt")
_FAR: Final = 1 << 40
"""Offset of the byte that is locked on Windows, where nobody can read what another has locked."""


def lock(file: int, patience: float) -> None:
    """Lock a file. While another process has it locked, wait as long as the file grows.

    Args:
        file: Its descriptor.
        patience: Seconds to wait while the file does not grow; 0: do not wait.

    Raises:
        BlockingIOError: Another process has it locked.
        OSError: It cannot be locked, or the system has no locks.
    """
    size, since, pause = -1, time.monotonic(), 0.001
    while True:
        try:
            return _try_to_lock(file)
        except BlockingIOError:
            now = time.monotonic()
            if (found := os.fstat(file).st_size) != size:
                size, since = found, now
            if now - since >= patience:
                raise
        time.sleep(pause)
        pause = min(0.1, 2 * pause)


def unlock(file: int) -> None:
    """Let others lock a file, even while a child forked meanwhile has it open."""
    if _fcntl:
        _fcntl.flock(file, _fcntl.LOCK_UN)
    elif _msvcrt:
        _on_windows(file, _msvcrt.LK_UNLCK)


@contextmanager
def locked_folder(folder: Path, patience: float) -> Iterator[None]:
    """Hold the lock of a folder in the block; patience and errors are as for `lock`.

    Where folders cannot be opened (Windows), a file next to it is locked.
    """
    if hasattr(os, "O_DIRECTORY"):
        number = os.open(folder, open_flags("O_RDONLY", "O_DIRECTORY"))
    else:
        number = os.open(
            folder.with_name(f"{folder.name}.lock"), open_flags("O_RDWR", "O_CREAT"), 0o600
        )
    try:
        lock(number, patience)
        try:
            yield
        finally:
            unlock(number)
    finally:
        os.close(number)


def _try_to_lock(file: int) -> None:
    if _fcntl:
        _fcntl.flock(file, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    elif _msvcrt:
        try:
            _on_windows(file, _msvcrt.LK_NBLCK)
        except PermissionError as error:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
    else:
        raise OSError(errno.ENOTSUP, "this system has no locks on files")


def _on_windows(file: int, call: int) -> None:
    before = os.lseek(file, 0, os.SEEK_CUR)
    try:
        os.lseek(file, _FAR, os.SEEK_SET)
        _msvcrt.locking(file, call, 1)
    finally:
        os.lseek(file, before, os.SEEK_SET)
