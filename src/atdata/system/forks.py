"""Locks and modules that stay usable in a forked child."""

from __future__ import annotations

# These modules hold their own locks during a fork, and importing needs them. Functions registered
# later are called first, so these modules must be imported before ours register.
import concurrent.futures.thread  # noqa: F401
import importlib
import logging  # noqa: F401
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final
from weakref import WeakSet


def at_fork(
    *,
    before: Callable[[], object] = lambda: None,
    after_in_parent: Callable[[], object] = lambda: None,
    after_in_child: Callable[[], object] = lambda: None,
) -> None:
    """Have functions called when this process forks, as `os.register_at_fork` does.

    Nothing, where processes cannot fork: Windows.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=before, after_in_parent=after_in_parent, after_in_child=after_in_child
        )


class ForkLock:
    """A reentrant lock that is free in a forked child, whoever held it in the parent.

    A fork may come in the middle of a change: while the lock is held, every step must leave the
    guarded data usable.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Free the lock, whoever held it."""
        self._lock = threading.RLock()


_locks: WeakSet[ForkLock] = WeakSet()


def _after_fork() -> None:
    for lock in list(_locks):
        lock.renew()


at_fork(after_in_child=_after_fork)

_loading = threading.RLock()
_LONGEST_SECONDS: Final = 20.0
"""Longest that a fork waits for imports."""


@contextmanager
def importing() -> Iterator[None]:
    """Import modules in this block on first use. A fork waits until the block is done.

    Python has a lock per module. A child forked while a thread imports one would wait for ever for
    that thread, which does not exist in the child.
    """
    with _loading:
        yield


def load_module(name: str) -> ModuleType:
    """Import a module on first use, as `importing` does."""
    with importing():
        return importlib.import_module(name)


_waited: list[bool] = []


def _wait_for_imports() -> None:
    _waited.append(_loading.acquire(timeout=_LONGEST_SECONDS))


def _resume_imports() -> None:
    if _waited.pop():
        _loading.release()


at_fork(
    before=_wait_for_imports,
    after_in_parent=_resume_imports,
    after_in_child=_resume_imports,
)
