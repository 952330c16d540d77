"""Attributes that are computed once, on first use, safely across threads and forks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, overload

from atdata.system.forks import at_fork

T = TypeVar("T")


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


_guard = threading.Lock()
_making: dict[tuple[int, str], _Waiting] = {}


@contextmanager
def _alone(number: int, name: str) -> Iterator[None]:
    key = number, name
    with _guard:
        mine = _making.setdefault(key, _Waiting())
        mine.count += 1
    try:
        with mine.lock:
            yield
    finally:
        with _guard:
            mine.count -= 1
            if not mine.count and _making.get(key) is mine:
                del _making[key]


def _forked() -> None:
    # Threads do not survive a fork, so nobody would release these.
    global _guard
    _guard = threading.Lock()
    _making.clear()


at_fork(after_in_child=_forked)
