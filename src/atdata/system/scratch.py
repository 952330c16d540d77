"""Scratch folders for unfinished files, which end with their process."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final, Self

from atdata.system.files import is_mine, open_flags
from atdata.system.locks import lock, unlock

_ABANDONED_SECONDS: Final = 86_400.0
"""A scratch folder unchanged for this long is abandoned, if no lock can tell."""
_LOCK: Final = ".lock"


class Scratch:
    """A folder for unfinished files. A context manager, which removes it at the end.

    The file ``<folder>.lock`` is locked as long as the process lives. The next `Scratch` at the
    same place removes the folders of processes that were killed.

    Args:
        place: The folder to make it in; made if it does not exist. Without a ``prefix`` it is for
            scratch folders alone, and is removed when it is empty.
        prefix: Prefix of its name and of the other scratch folders in ``place``.
        needed: Tells which folders must stay although their process was killed.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(
        self,
        place: Path,
        prefix: str = "",
        *,
        needed: Callable[[Path], bool] = lambda folder: False,
    ) -> None:
        self._place = place
        self._own_place = not prefix
        self._left = False
        self._process = os.getpid()
        with suppress(OSError):
            _remove_abandoned(place, prefix, needed)
        while True:
            place.mkdir(parents=True, exist_ok=True)
            self.path = place / f"{prefix}{_machine()}-{secrets.token_hex(8)}"
            # Another process may be removing the place, since it was empty.
            with suppress(FileNotFoundError):
                self._descriptor = _new_lock(_lock_of(self.path))
                self.path.mkdir(mode=0o700)
                return

    def leave(self) -> None:
        """Release it and leave it in place: `close` then does nothing."""
        self._left = True
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            if self._process == os.getpid():
                with suppress(OSError):
                    unlock(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Remove it, unless it belongs to the process that this one was forked from."""
        if self._left or self._process != os.getpid():
            return
        remove_scratch(self.path)
        self.leave()
        if self._own_place:
            with suppress(OSError):
                self._place.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def remove_scratch(folder: Path) -> None:
    """Remove a scratch folder that belongs to this process or is `held_if_abandoned`."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        _lock_of(folder).unlink()


@contextmanager
def held_if_abandoned(folder: Path, *, patience: float = 0.0) -> Iterator[bool]:
    """Whether a scratch folder is abandoned: its process has ended.

    In the block no other process finds it abandoned.

    Args:
        folder: The scratch folder.
        patience: Seconds to wait for its process to release it.

    Raises:
        OSError: It does not exist.
    """
    try:
        descriptor = os.open(_lock_of(folder), open_flags("O_RDWR", "O_NOFOLLOW"))
    except FileNotFoundError:
        # It was made on a file system without locks.
        yield _is_old(folder)
        return
    try:
        try:
            lock(descriptor, patience)
        except OSError:
            yield False
            return
        # Some network file systems do not share locks between machines.
        yield _machine() in folder.name or _is_old(_lock_of(folder), folder)
    finally:
        os.close(descriptor)


def _remove_abandoned(place: Path, prefix: str, needed: Callable[[Path], bool]) -> None:
    for name in {path.name.removesuffix(_LOCK) for path in place.glob(f"{prefix}*")}:
        folder = place / name
        # Its owner, or another process that cleans up, may be removing it.
        with suppress(OSError):
            if folder.is_symlink() or (folder.exists() and not _is_own_folder(folder)):
                continue
            with held_if_abandoned(folder) as abandoned:
                if abandoned and not needed(folder):
                    remove_scratch(folder)


def _is_own_folder(folder: Path) -> bool:
    return folder.is_dir() and is_mine(folder.stat())


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{_LOCK}")


def _new_lock(path: Path) -> int | None:
    """Make a file that no other process ever finds unlocked. None if there are no locks."""
    descriptor = os.open(path, open_flags("O_RDWR", "O_CREAT", "O_EXCL"), 0o600)
    try:
        lock(descriptor, 0.0)
    except BlockingIOError:
        # A process that cleans up found it before it was locked, and removes it.
        os.close(descriptor)
        raise FileNotFoundError(path) from None
    except OSError:
        os.close(descriptor)
        path.unlink()
        return None
    if not path.exists():
        os.close(descriptor)
        raise FileNotFoundError(path)
    return descriptor


def _is_old(*files: Path) -> bool:
    there = [file for file in files if file.exists()]
    inside = [file for folder in there if folder.is_dir() for file in folder.iterdir()]
    newest = max((file.stat().st_mtime for file in (*there, *inside)), default=0.0)
    return newest < time.time() - _ABANDONED_SECONDS


@cache
def _machine() -> str:
    """8 hex digits that differ between machines, and between boots of one machine."""
    try:
        known = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        known = platform.node()
    return hashlib.sha256(known.encode()).hexdigest()[:8]
