"""The kind for sets, written in an order of their own, so that equal sets give equal bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgpack

from atdata.samples.kinds.choices import Choice, IntChoice
from atdata.samples.kinds.class_labels import ClassLabel
from atdata.samples.kinds.containers import Maybe, convert_each
from atdata.samples.kinds.kind import Kind, Misfit
from atdata.samples.kinds.primitives import Primitive
from atdata.samples.kinds.simple import Simple
from atdata.samples.kinds.times import DateTime
from atdata.samples.kinds.tuples import FixedTuple, TupleOf
from atdata.samples.missing import found_for_error


@dataclass(frozen=True)
class SetOf(Kind):
    """A set or frozenset whose items are of one kind. Either can be written for the other.

    Items are in the order of their msgpack bytes; in any order they can be read.
    """

    items: Kind
    python: type[set[Any]] | type[frozenset[Any]] = field(default=set, compare=False, repr=False)
    """What is read: set or frozenset."""

    def describe(self) -> str:
        return f"set[{self.items.describe()}]"

    def encode(self, value: Any) -> list[Any]:
        if not isinstance(value, (set, frozenset)):
            hint = "Write set(value)." if isinstance(value, (list, tuple)) else ""
            raise Misfit(self.describe(), found_for_error(value), hint)
        wire = [self._item(self.items.encode, item) for item in value]
        return sorted(wire, key=_packed)

    def decode(self, wire: Any) -> Any:
        if not isinstance(wire, list):
            raise Misfit(self.describe(), found_for_error(wire))
        items = convert_each(lambda item: self._item(self.items.decode, item), wire)
        found = self.python(items)
        if len(found) != len(items):
            raise Misfit(self.describe(), "an item twice")
        return found

    def _item(self, convert: Callable[[Any], Any], item: Any) -> Any:
        converted = convert(item)
        if has_nan(converted):
            raise Misfit(self.describe(), "NaN", "It equals nothing: leave it out, or use a list.")
        return converted

    def parts(self) -> tuple[Kind, ...]:
        return (self.items,)

    def with_parts(self, convert: Callable[[Kind], Kind]) -> Kind:
        return SetOf(convert(self.items), self.python)


def is_hashable(kind: Kind) -> bool:
    """Whether a set can hold the values of a kind."""
    match kind:
        case Primitive() | DateTime() | Simple() | Choice() | IntChoice() | ClassLabel():
            return True
        case TupleOf() | FixedTuple() | Maybe():
            return all(map(is_hashable, kind.parts()))
        case _:
            return False


def _packed(wire: Any) -> bytes:
    return bytes(msgpack.packb(wire))


def has_nan(value: Any) -> bool:
    """Whether a value is NaN, or a list or tuple with NaN in it."""
    if isinstance(value, (list, tuple)):
        return any(map(has_nan, value))
    return isinstance(value, float) and value != value
