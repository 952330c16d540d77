"""Kinds for tuples: of any length and one kind, or with a kind for each place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from atdata.samples.kinds.containers import convert_each
from atdata.samples.kinds.kind import Kind, Misfit
from atdata.samples.missing import found_for_error


@dataclass(frozen=True)
class TupleOf(Kind):
    """A tuple of any length whose items are of one kind. A list can be written, too."""

    items: Kind

    def describe(self) -> str:
        return f"tuple[{self.items.describe()}, ...]"

    def encode(self, value: Any) -> list[Any]:
        if not isinstance(value, (tuple, list)):
            raise Misfit(self.describe(), found_for_error(value))
        return convert_each(self.items.encode, value)

    def decode(self, wire: Any) -> tuple[Any, ...]:
        if not isinstance(wire, list):
            raise Misfit(self.describe(), found_for_error(wire))
        return tuple(convert_each(self.items.decode, wire))

    def checked(self, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (tuple, list)):
            raise Misfit(self.describe(), found_for_error(value))
        return tuple(convert_each(self.items.checked, value))

    def parts(self) -> tuple[Kind, ...]:
        return (self.items,)

    def with_parts(self, convert: Callable[[Kind], Kind]) -> Kind:
        return TupleOf(convert(self.items))


@dataclass(frozen=True)
class FixedTuple(Kind):
    """A tuple with a kind for each place. A list can be written, too."""

    items: tuple[Kind, ...]

    def describe(self) -> str:
        return f"tuple[{', '.join(item.describe() for item in self.items) or '()'}]"

    def encode(self, value: Any) -> list[Any]:
        self._check(value)
        return self._each([item.encode for item in self.items], value)

    def decode(self, wire: Any) -> tuple[Any, ...]:
        if not isinstance(wire, list):
            raise Misfit(self.describe(), found_for_error(wire))
        self._check(wire)
        return tuple(self._each([item.decode for item in self.items], wire))

    def checked(self, value: Any) -> tuple[Any, ...]:
        self._check(value)
        return tuple(self._each([item.checked for item in self.items], value))

    def _check(self, value: Any) -> None:
        if not isinstance(value, (tuple, list)):
            raise Misfit(self.describe(), found_for_error(value))
        if len(value) != len(self.items):
            count = f"{len(value):,} item{'' if len(value) == 1 else 's'}"
            raise Misfit(self.describe(), f"a {type(value).__name__} of {count}")

    def _each(self, converts: list[Callable[[Any], Any]], values: Any) -> list[Any]:
        out: list[Any] = []
        try:
            for convert, value in zip(converts, values, strict=True):
                out.append(convert(value))
        except Misfit as misfit:
            raise misfit.at(f"[{len(out)}]") from None
        return out

    def parts(self) -> tuple[Kind, ...]:
        return self.items

    def with_parts(self, convert: Callable[[Kind], Kind]) -> Kind:
        return FixedTuple(tuple(map(convert, self.items)))
