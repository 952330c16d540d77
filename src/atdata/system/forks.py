"""What stays usable across threads and in a forked child: locks, modules, and attributes that are
computed once.
"""

from __future__ import annotations

# These modules hold their own locks during a fork, and importing needs them. Functions registered
# later are called first, so these modules must be imported before ours register.
import concurrent.futures.thread  # noqa: F401
import importlib
import logging  # noqa: F401
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final, Generic, TypeVar, overload
from weakref import WeakSet

T = TypeVar("T")


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

_TASKS: Final = "/proc/self/task"
"""Has the number of each thread that Linux runs."""
_ENDING_SECONDS: Final = 0.1
"""Longest that a fork waits for threads to end; what lasts longer does not belong to Python."""
_lasting: set[int] = set()


def _wait_for_ending_threads() -> None:
    """Let the threads that Python has joined end.

    Before Python 3.13, join() returns while the system is still ending the thread. OpenSSL then
    holds a lock for a moment, and in a child forked in that moment it would be held for ever.
    """
    deadline = time.monotonic() + _ENDING_SECONDS
    while True:
        try:
            tasks = {int(number) for number in os.listdir(_TASKS)}  # noqa: PTH208 - for speed
        except OSError:
            return
        _lasting.intersection_update(tasks)
        ending = tasks - _lasting - {thread.native_id for thread in threading.enumerate()}
        if not ending:
            return
        if time.monotonic() > deadline:
            _lasting.update(ending)
            return
        time.sleep(0.0005)


# Of these functions the first to be registered is the last to be called before a fork.
at_fork(before=_wait_for_ending_threads)

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


class once(Generic[T]):  # noqa: N801 - a decorator, as functools.cached_property is
    """A property whose function is called on first use, once per instance.

    In Python 3.11, `functools.cached_property` has one lock for all instances: a thread that waits
    for a server in one of them stops all others, and a child forked meanwhile waits for ever. Here
    threads wait only for the one that computes the same value, and a child computes it itself.

    Args:
        make: Computes the value for an instance, which has a ``__dict__``.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__
        self._name = make.__name__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> once[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> once[T] | T:
        if instance is None:
            return self
        # From now on Python finds the value in the instance's dict, without this call.
        values = instance.__dict__
        with _alone(id(instance), self._name):
            if self._name not in values:
                values[self._name] = self._make(instance)
            made: T = values[self._name]
            return made


class _Waiting:
    """The threads that compute or wait for one value."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.count = 0


# Reentrant: garbage may be collected while it is held, and finalizers read such attributes, too.
_guard = threading.RLock()
_making: dict[tuple[int, str], _Waiting] = {}


@contextmanager
def _alone(number: int, name: str) -> Iterator[None]:
    key, new = (number, name), _Waiting()
    with _guard:
        mine = _making.setdefault(key, new)
        mine.count += 1
    try:
        with mine.lock:
            yield
    finally:
        with _guard:
            mine.count -= 1
            if not mine.count and _making.get(key) is mine:
                del _making[key]


def _forget_threads() -> None:
    # Threads do not survive a fork, so nobody would release these.
    global _guard
    _guard = threading.RLock()
    _making.clear()


at_fork(after_in_child=_forget_threads)
