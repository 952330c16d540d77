"""Attributes that are made on first use, once an instance"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, overload

from atdata.system.forks import at_fork

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801 - a decorator, as functools.cached_property is
    """A property whose function is called once an instance, on first use.

    As `functools.cached_property`, which in Python 3.11 has one lock for all instances: there, a
    thread that waits for a server in one of them stops all others, and a child that is forked
    meanwhile waits for ever. Here threads wait only for those that make the same value, and a
    child makes it itself.

    Args:
        make: Makes the value of an instance that has a ``__dict__``.
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
        # Afterwards the value in the instance's dict is found first, without this.
        values = instance.__dict__
        with _alone(id(instance), self._name):
            if self._name not in values:
                values[self._name] = self._make(instance)
            made: T = values[self._name]
            return made


class _Waiting:
    """Those who make or wait for one value."""

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
    # The threads that hold these did not come along.
    global _guard
    _guard = threading.Lock()
    _making.clear()


at_fork(after_in_child=_forked)
