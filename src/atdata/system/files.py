"""Files under their names: on the disk for good, or in scratch folders that end with a process."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_ABANDONED: Final = 86_400.0
"""Seconds after which a scratch folder without changes belongs to no process any more, where its
lock cannot tell."""
_LOCK: Final = ".lock"
_AT_ONCE: Final = 8
_NO_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM})
"""What file systems answer that cannot sync folders, or folders that may not be read."""


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk.

    Raises:
        OSError: The disk fails.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
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
        with ThreadPoolExecutor(min(_AT_ONCE, len(waiting)), "atdata-sync") as pool:
            list(pool.map(_sync_file, waiting))


def _sync_file(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path, *, within: Path | None = None, sync: bool = True) -> None:
    """Make a folder and those above it, with their names on the disk.

    Args:
        folder: The folder.
        within: The names of all folders from this one down are synced, whoever made them: another
            process may have been killed before it came to that. Without it, those that are made
            here.
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
    """Give a finished file its name, in place of the one that has it, for good.

    Raises:
        OSError: It cannot be renamed, or the disk fails.
    """
    if sync:
        _sync_file(file)
    file.replace(path)
    if sync:
        sync_folder(path.parent)


def lock(file: int, patience: float) -> None:
    """Lock a file, or wait for who has: as long as the file grows, else for ``patience`` seconds.

    Args:
        file: Its descriptor.
        patience: 0: do not wait.

    Raises:
        OSError: It cannot be locked.
    """
    import fcntl

    size, since, pause = -1, time.monotonic(), 0.001
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = time.monotonic()
            if (found := os.fstat(file).st_size) != size:
                size, since = found, now
            if now - since >= patience:
                raise
        time.sleep(pause)
        pause = min(0.1, 2 * pause)


def unlock(file: int) -> None:
    """Let others lock a file; for a child that was forked meanwhile, and has it open, as well."""
    import fcntl

    fcntl.flock(file, fcntl.LOCK_UN)


class Scratch:
    """A folder for unfinished files. A context manager: it is removed at the end.

    The file ``<folder>.lock`` is locked as long as its process lives, and only then: whoever makes
    the next one at the same place removes those of processes that were killed.

    Args:
        place: Where; made if it is not there. Where it has no ``prefix`` it is for scratch folders
            alone, and is removed when it is empty.
        prefix: What its name, and those of the others, begin with.
        needed: Which one has to stay although its process was killed.

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
            # Another process may remove the place just now, as it was empty.
            with suppress(FileNotFoundError):
                self._descriptor = _new_lock(_lock_of(self.path))
                self.path.mkdir(mode=0o700)
                return

    def leave(self) -> None:
        """Let go of it, and leave it where it is: `close` does nothing then."""
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def remove_scratch(folder: Path) -> None:
    """Remove a scratch folder that belongs to this process, or was `held_if_abandoned`."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        _lock_of(folder).unlink()


@contextmanager
def held_if_abandoned(folder: Path, *, patience: float = 0.0) -> Iterator[bool]:
    """Whether the process of a scratch folder has ended; no other will think so in the block.

    Args:
        folder: The scratch folder.
        patience: Seconds to wait for its process to be done with it.

    Raises:
        OSError: It is not there.
    """
    try:
        descriptor = os.open(_lock_of(folder), os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        # Made where there are no locks.
        yield _is_old(folder)
        return
    try:
        try:
            lock(descriptor, patience)
        except OSError:
            yield False
            return
        # Not every lock is seen by other machines.
        yield _machine() in folder.name or _is_old(_lock_of(folder), folder)
    finally:
        os.close(descriptor)


def _remove_abandoned(place: Path, prefix: str, needed: Callable[[Path], bool]) -> None:
    for name in {path.name.removesuffix(_LOCK) for path in place.glob(f"{prefix}*")}:
        folder = place / name
        # Its owner, or another process that cleans up, may remove it just now.
        with suppress(OSError):
            if folder.is_symlink() or (folder.exists() and not _is_own_folder(folder)):
                continue
            with held_if_abandoned(folder) as abandoned:
                if abandoned and not needed(folder):
                    remove_scratch(folder)


def _is_own_folder(folder: Path) -> bool:
    return folder.is_dir() and folder.stat().st_uid == os.geteuid()


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{_LOCK}")


def _new_lock(path: Path) -> int | None:
    """Make a file that no other process ever finds unlocked; None where there are no locks."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        lock(descriptor, 0.0)
    except BlockingIOError:
        # Who cleans up found it before it was locked, and removes it.
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
    return newest < time.time() - _ABANDONED


@cache
def _machine() -> str:
    """Tells machines, and their runs, apart: 8 hex digits."""
    try:
        known = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        known = platform.node()
    return hashlib.sha256(known.encode()).hexdigest()[:8]
