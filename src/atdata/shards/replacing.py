"""Renaming shards together: a reader finds all the new ones, or none.

Renaming many files is not atomic. Before the first one is renamed, a link next to the shards,
``.{stem}.replacing``, leads to the scratch folder with all of them and a list of their names.
A reader that finds the link waits for its process, or, if that was killed, completes the renaming.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from atdata._shardlist import head_of
from atdata.errors import SourceError
from atdata.system.durable import sync_files, sync_folder
from atdata.system.files import is_mine
from atdata.system.scratch import Scratch, held_if_abandoned, remove_scratch

UNFINISHED: Final = ".atdata-unfinished"
"""The folder for scratch folders, next to the shards."""
_MOVES: Final = "moves.json"
_SCRATCH: Final = re.compile(rf"{re.escape(UNFINISHED)}/[0-9a-f]+-[0-9a-f]+")
_PATIENCE_SECONDS: Final = 60.0
"""Seconds to wait for a process that is renaming its shards."""
_PATIENCE_WITH_OTHERS_SECONDS: Final = 5.0
"""The same for a process of another user, which may have ended: that cannot be found out."""
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})


class _BrokenError(Exception):
    """A process was killed while it replaced shards, and this one cannot complete that."""


def scratch_next_to(folder: Path) -> Scratch:
    """A scratch folder on the file system that the shards go to.

    Raises:
        OSError: It cannot be made.
    """
    return Scratch(folder / UNFINISHED, needed=_is_needed)


def place_together(
    scratch: Scratch,
    moves: Mapping[str, str],
    *,
    folder: Path,
    stem: str,
    check: Callable[[], None],
    sync: bool,
    unsynced: Iterable[str] = (),
) -> None:
    """Give many files their names, so that readers see all of them or none.

    Args:
        scratch: Where the files are, from `scratch_next_to`. If interrupted after the first rename,
            it is kept: the next reader or writer completes the rest.
        moves: Names in the scratch folder → names in the folder, in this order.
        folder: Where they go.
        stem: What the names of the shards begin with.
        check: Called while no other process can place shards of this stem; may raise.
        sync: Whether to wait for the disk.
        unsynced: Those in the scratch folder that may not be on the disk yet.

    Raises:
        OSError: They cannot be renamed; or another process is replacing shards, or was killed
            while it did and this process may not complete it.
    """
    link = _link(folder, stem)
    linked = _taken(link, scratch)
    try:
        check()
        _make_newer(scratch.path, folder, moves)
        part = scratch.path / f"{_MOVES}.part"
        part.write_text(json.dumps({"link": link.name, "moves": dict(moves)}))
        if sync:
            # All at once: the disk takes them together.
            sync_files([part, *(scratch.path / kept for kept in unsynced)])
        part.rename(scratch.path / _MOVES)
        if sync:
            sync_folder(scratch.path)
            sync_folder(folder)
    except BaseException:
        if linked:
            link.unlink(missing_ok=True)
        raise
    try:
        _move(scratch.path, folder, moves)
        if sync:
            sync_folder(folder)
    except BaseException:
        scratch.leave()
        raise
    # File systems keep the order of removals: after a power cut the link is never there without
    # the scratch folder, and whoever finds both has nothing left to rename.
    if linked:
        link.unlink(missing_ok=True)


def _make_newer(scratch: Path, folder: Path, moves: Mapping[str, str]) -> None:
    """Date new shards after those that they replace: readers tell them apart by their dates."""
    try:
        before = (folder / next(iter(moves.values()))).stat().st_mtime_ns
    except FileNotFoundError:
        return
    for kept in moves:
        path = scratch / kept
        found = path.stat()
        # Clocks of file systems advance only every few milliseconds.
        if found.st_mtime_ns <= before:
            os.utime(path, ns=(found.st_atime_ns, before + 1000))


def _link(folder: Path, stem: str) -> Path:
    return folder / f".{stem}.replacing"


def _taken(link: Path, scratch: Scratch) -> bool:
    """Keep other processes from placing shards of this stem; False: no links here."""
    target = f"{UNFINISHED}/{scratch.path.name}"
    while True:
        try:
            link.symlink_to(target)
            return True
        except FileExistsError:
            try:
                _finish(link)
            except _BrokenError:
                # Nothing is lost: all of its shards are replaced now.
                other = link.with_name(f"{link.name}-{secrets.token_hex(8)}")
                other.symlink_to(target)
                other.replace(link)
                return True
        except OSError as error:
            if error.errno in _NO_LINKS:
                return False
            raise


def settle(datasets: Iterable[str]) -> bool:
    """Wait for processes that are replacing shards, or complete what killed ones left.

    Args:
        datasets: The path of one numbered shard of each dataset.

    Returns:
        Whether there were any: then the shards must be listed again.

    Raises:
        SourceError: Old and new shards stay mixed.
    """
    found = False
    for shard in datasets:
        folder, stem = os.path.split(head_of(shard) or shard)
        link = _link(Path(folder), stem)
        if not os.path.lexists(link):
            continue
        found = True
        try:
            _finish(link)
        except (_BrokenError, OSError) as error:
            raise SourceError(
                f"{folder}: old and new shards {stem}-… are mixed: the process that replaced them "
                f"was stopped before all had their names ({error}). Let the user who wrote them "
                f"read them once, which completes it; or write them again; or remove {link} if "
                "they are right as they are."
            ) from error
    return found


def _finish(link: Path) -> None:
    """Wait until shards have their names, or rename them; then the link is gone or is another.

    Raises:
        OSError: Their process still runs.
        _BrokenError: It was killed, and this process cannot complete what it left.
    """
    try:
        target = link.readlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _BrokenError(f"{link.name} is not a link") from error
    if not _SCRATCH.fullmatch(str(target)):
        raise _BrokenError(f"{link.name} leads elsewhere")
    scratch = link.parent / target
    try:
        with held_if_abandoned(scratch, patience=_PATIENCE_SECONDS) as abandoned:
            if not _leads_to(link, target):
                return
            if not abandoned:
                raise OSError(f"the process that uses {scratch} still runs, maybe elsewhere")
            _complete(link, scratch)
    except PermissionError as error:
        # Another user's process, most likely still running.
        end = time.monotonic() + _PATIENCE_WITH_OTHERS_SECONDS
        while _leads_to(link, target):
            if time.monotonic() > end:
                raise _BrokenError(str(error)) from error
            time.sleep(0.05)
    except FileNotFoundError as error:
        if _leads_to(link, target):
            raise _BrokenError(f"{error.filename or scratch} is missing") from error


def _leads_to(link: Path, target: Path) -> bool:
    with suppress(OSError):
        return link.readlink() == target
    return False


def _complete(link: Path, scratch: Path) -> None:
    folder = link.parent
    if not scratch.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(scratch))
    try:
        if (scratch / _MOVES).exists():
            _check_own(scratch)
            _move(scratch, folder, _read_moves(scratch, link))
            sync_folder(folder)
        link.unlink(missing_ok=True)
        sync_folder(folder)
    except PermissionError as error:
        raise _BrokenError(str(error)) from error
    remove_scratch(scratch)
    with suppress(OSError):
        scratch.parent.rmdir()


def _check_own(scratch: Path) -> None:
    """Refuse to rename files that another user may have put there."""
    for path in (scratch.parent, scratch, scratch / _MOVES):
        stat = path.lstat()
        if path.is_symlink() or not is_mine(stat):
            raise _BrokenError(f"{path} belongs to another user")


def _read_moves(scratch: Path, link: Path) -> dict[str, str]:
    try:
        moves = json.loads((scratch / _MOVES).read_bytes())["moves"]
        stem = link.name.removeprefix(".").removesuffix(".replacing")
        good = all(
            "/" not in kept and "/" not in name and name.startswith(stem)
            for kept, name in moves.items()
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _BrokenError(f"{scratch / _MOVES} is damaged") from error
    if not good:
        raise _BrokenError(f"{scratch / _MOVES} names other files")
    return dict(moves)


def _move(scratch: Path, folder: Path, moves: Mapping[str, str]) -> None:
    for kept, name in moves.items():
        try:
            (scratch / kept).replace(folder / name)
        except FileNotFoundError:
            # Renamed already.
            if not (folder / name).exists():
                raise


def _is_needed(scratch: Path) -> bool:
    """Whether files in it have not been renamed yet."""
    try:
        link = scratch.parent.parent / json.loads((scratch / _MOVES).read_bytes())["link"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return _leads_to(link, Path(UNFINISHED, scratch.name))
