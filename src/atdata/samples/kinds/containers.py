"""Kinds for values that hold others: lists, maps, and what may be None"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from atdata.samples.kinds.kind import Kind, Misfit, check_text
from atdata.samples.missing import found_for_error, missing_mark


@dataclass(frozen=True)
class ListOf(Kind):
    """A list whose items are of one kind. A tuple can be written, too."""

    items: Kind

    def describe(self) -> str:
        return f"list[{self.items.describe()}]"

    def encode(self, value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise Misfit(self.describe(), found_for_error(value))
        return convert_each(self.items.encode, value)

    def decode(self, wire: Any) -> list[Any]:
        if not isinstance(wire, list):
            raise Misfit(self.describe(), found_for_error(wire))
        return convert_each(self.items.decode, wire)

    def checked(self, value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise Misfit(self.describe(), found_for_error(value))
        return convert_each(self.items.checked, value)

    def parts(self) -> tuple[Kind, ...]:
        return (self.items,)

    def with_parts(self, convert: Callable[[Kind], Kind]) -> Kind:
        return ListOf(convert(self.items))


def convert_each(convert: Callable[[Any], Any], values: list[Any] | tuple[Any, ...]) -> list[Any]:
    """Each item converted; a misfit has the position of its item."""
    out: list[Any] = []
    try:
        for value in values:
            out.append(convert(value))
    except Misfit as misfit:
        raise misfit.at(f"[{len(out)}]") from None
    return out


@dataclass(frozen=True)
class MapOf(Kind):
    """A dict with str keys and values of one kind."""

    values: Kind

    def describe(self) -> str:
        return f"dict[str, {self.values.describe()}]"

    def encode(self, value: Any) -> dict[str, Any]:
        wire = self._convert(value, self.values.encode)
        for key in wire:
            check_text(key)
        return wire

    def decode(self, wire: Any) -> dict[str, Any]:
        return self._convert(wire, self.values.decode)

    def checked(self, value: Any) -> dict[str, Any]:
        return self._convert(value, self.values.checked)

    def _convert(self, value: Any, convert: Callable[[Any], Any]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Misfit(self.describe(), found_for_error(value))
        out: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise Misfit("str as a key", found_for_error(key))
            try:
                out[str.__str__(key)] = convert(item)
            except Misfit as misfit:
                raise misfit.at(f"[{key!r}]") from None
        return out

    def parts(self) -> tuple[Kind, ...]:
        return (self.values,)

    def with_parts(self, convert: Callable[[Kind], Kind]) -> Kind:
        return MapOf(convert(self.values))


@dataclass(frozen=True)
class Maybe(Kind):
    """None, or a value of another kind."""

    kind: Kind

    def describe(self) -> str:
        return f"{self.kind.describe()} | None"

    def encode(self, value: Any) -> Any:
        if value is None:
            return None
        try:
            return self.kind.encode(value)
        except Misfit as misfit:
            if misfit.steps or not (mark := missing_mark(value)):
                raise
            raise Misfit(self.describe(), *mark) from None

    def decode(self, wire: Any) -> Any:
        return None if wire is None else self.kind.decode(wire)

    def checked(self, value: Any) -> Any:
        return None if value is None else self.kind.checked(value)

    def parts(self) -> tuple[Kind, ...]:
        return (self.kind,)

    def with_parts(self, convert: Callable[[Kind], Kind]) -> Kind:
        return Maybe(convert(self.kind))
