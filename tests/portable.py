"""Core tests in an interpreter without the calls that only some systems have.

``python -m tests.portable [pytest's arguments]`` hides them, then runs pytest in this process:
without arguments, on all core tests. What it shows: no module, and none of these tests, needs one
of the names. What it does not show: how another system's file names, renames and locks behave.
"""

from __future__ import annotations

import ast
import errno
import functools
import importlib
import inspect
import mmap
import os
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
HIDDEN: Final = {
    os: (
        *("fork", "forkpty", "register_at_fork"),
        *("pread", "preadv", "pwrite", "pwritev", "readv", "writev"),
        *("posix_fadvise", "posix_fallocate", "copy_file_range", "memfd_create"),
        *("sync_file_range", "fdatasync", "sync", "sysconf"),
        *("geteuid", "getegid", "getgroups", "chown", "fchown", "fchmod"),
        *("mkfifo", "mknod", "sched_getaffinity", "sched_setaffinity", "sched_yield"),
        *("getxattr", "setxattr", "listxattr", "removexattr"),
        *("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_SYNC", "O_PATH"),
    ),
    mmap: tuple(name for name in dir(mmap) if name.startswith(("MAP_", "PROT_", "MADV_"))),
}
"""Names that macOS or Windows lacks."""
MODULES: Final = ("fcntl", "resource", "termios", "tty", "pty")
FOLDERS: Final = ("/proc",)
CORE: Final = (
    *("tests/samples", "tests/schema", "tests/shards", "tests/dataset"),
    *("tests/local/test_index.py", "tests/local/test_schemas.py", "tests/local/test_entry.py"),
    *("tests/local/backends/test_sqlite.py", "tests/system/test_once.py"),
    *("tests/sources/test_url.py", "tests/sources/test_cache.py"),
)
QUICK: Final = (
    *("tests/samples/test_batch.py", "tests/samples/test_names.py"),
    *("tests/shards/test_sample_rows.py", "tests/shards/tar/test_table.py"),
    *("tests/dataset/test_dataset.py", "tests/local/test_entry.py", "tests/local/test_labels.py"),
)


def hide() -> None:
    """Take the names away, before anything looks for them; for the rest of this process."""
    # Plugins of pytest import it. On systems without these names it is another implementation.
    importlib.import_module("asyncio")
    # On such systems shutil, which looks once, finds no functions that take a folder's descriptor.
    vars(shutil)["_use_fd_functions"] = False
    for module, names in HIDDEN.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    locking = _like_windows(importlib.import_module("fcntl"))
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    # Only for this import: others would take the system for Windows in everything.
    sys.modules["msvcrt"] = locking
    importlib.import_module("atdata.system.locks")
    del sys.modules["msvcrt"]
    sys.addaudithook(_refuse_folders)


def _like_windows(fcntl: ModuleType) -> ModuleType:
    """What ``msvcrt`` has for locks: of one byte, at the position of the file."""
    standin = ModuleType("msvcrt")

    def locking(file: int, mode: int, size: int) -> None:
        assert (os.lseek(file, 0, os.SEEK_CUR), size) == (1 << 40, 1)
        try:
            fcntl.flock(file, mode)
        except BlockingIOError as error:
            raise PermissionError(errno.EACCES, "locked") from error

    vars(standin).update(
        locking=locking, LK_NBLCK=fcntl.LOCK_EX | fcntl.LOCK_NB, LK_UNLCK=fcntl.LOCK_UN
    )
    return standin


def _refuse_folders(event: str, args: tuple[Any, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir") and str(args[0]).startswith(FOLDERS):
        raise FileNotFoundError(2, "hidden", args[0])


@functools.cache
def _parts_of(file: str) -> dict[str, str]:
    """Name of each function and class of a file → its source."""
    lines = Path(file).read_text().splitlines()
    tree = ast.parse("\n".join(lines))
    return {
        node.name: " ".join(lines[node.lineno - 1 : node.end_lineno])
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }


class OnlyPortable:
    """Leaves out the tests that themselves fork, make pipes or ask whose a file is."""

    _own = re.compile("|".join(rf"\bos\.{name}\b" for name in HIDDEN[os]) + r"|/proc/|\"fork\"")

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        left_out = [item for item in items if self._needs_them(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]

    def _needs_them(self, item: pytest.Item) -> bool:
        test = getattr(item, "function", None)
        if test is None or item.get_closest_marker("service"):
            return True
        parts = _parts_of(inspect.getfile(test))
        seen: set[str] = set()
        waiting = {test.__name__, *getattr(item, "fixturenames", ())}
        while waiting:
            seen |= waiting
            said = " ".join(parts.get(name, "") for name in waiting)
            if self._own.search(said):
                return True
            waiting = set(re.findall(r"\w+", said)) & parts.keys() - seen
        return False


if __name__ == "__main__":
    loaded = sorted(name for name in sys.modules if name.partition(".")[0] in ("atdata", "numpy"))
    assert not loaded, f"too late to hide names from {loaded}"
    hide()
    sys.exit(pytest.main(sys.argv[1:] or [*CORE], plugins=[OnlyPortable()]))
