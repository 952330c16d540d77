"""Locks and modules that stay usable in a forked child."""

from __future__ import annotations

# Their locks are taken before a fork as well, and importing needs them: what is registered later is
# called sooner, so they have to be registered before.
import concurrent.futures.thread  # noqa: F401
import importlib
import logging  # noqa: F401
import os
import threading
from collections.abc import Callable
from types import ModuleType, TracebackType
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
    """A reentrant lock of this process; a forked child has one of its own, which is free.

    What it guards may be half-changed in the child: hold it only over steps of which each leaves
    what can be used.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Be free, whoever held it."""
        self._lock = threading.RLock()


_locks: WeakSet[ForkLock] = WeakSet()


def _after_fork() -> None:
    for lock in list(_locks):
        lock.renew()


at_fork(after_in_child=_after_fork)

_loading = threading.RLock()
_LONGEST: Final = 20.0
"""Seconds that a fork waits at most."""


def load_module(name: str) -> ModuleType:
    """Import a module on first use; a process that forks waits until that is done.

    A child that is forked while a thread imports a module would wait for that thread, which did not
    come along, when it needs the module itself (Python's own locks, one a module).
    """
    with _loading:
        return importlib.import_module(name)


_waited: list[bool] = []


def _wait_for_imports() -> None:
    _waited.append(_loading.acquire(timeout=_LONGEST))


def _let_imports_go_on() -> None:
    if _waited.pop():
        _loading.release()


at_fork(
    before=_wait_for_imports,
    after_in_parent=_let_imports_go_on,
    after_in_child=_let_imports_go_on,
)
