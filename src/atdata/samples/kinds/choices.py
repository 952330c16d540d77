"""Kinds for one of a few values"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from atdata.samples.kinds.kind import Kind, Misfit, check_text
from atdata.samples.missing import missing_mark
from atdata.samples.numbers import shown_number


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few strings: a Literal, or an Enum whose values are str."""

    values: tuple[str, ...]
    enum: type[Enum] | None = field(default=None, compare=False, repr=False)

    def describe(self) -> str:
        return f"Literal[{', '.join(map(repr, self.values))}]"

    def encode(self, value: Any) -> str:
        if isinstance(value, Enum) and self.enum is not None and isinstance(value, self.enum):
            value = value.value
        if isinstance(value, str) and value in self.values:
            check_text(value)
            return str.__str__(value)
        raise Misfit(self.describe(), value if missing_mark(value) else repr(value)[:60])

    def decode(self, wire: Any) -> Any:
        if not isinstance(wire, str) or wire not in self.values:
            raise Misfit(self.describe(), repr(wire)[:60])
        return wire if self.enum is None else self.enum(wire)


@dataclass(frozen=True)
class IntChoice(Kind):
    """One of a few integers: a Literal, or an IntEnum or other Enum whose values are int."""

    values: tuple[int, ...]
    names: tuple[str, ...] | None = field(default=None, compare=False)
    """What an Enum calls each value."""
    enum: type[Enum] | None = field(default=None, compare=False, repr=False)

    def describe(self) -> str:
        if self.names is None:
            return f"Literal[{', '.join(map(str, self.values))}]"
        # Names may be untrusted, and a terminal obeys control characters.
        names = [name if name.isidentifier() else repr(name) for name in self.names]
        pairs = zip(names, self.values, strict=True)
        return f"IntEnum({', '.join(f'{name}={value}' for name, value in pairs)})"

    def encode(self, value: Any) -> int:
        given = value
        if isinstance(value, Enum) and self.enum is not None and isinstance(value, self.enum):
            value = value.value
        plain = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not plain or int(value) not in self.values:
            shown = shown_number(value) if plain else repr(given)[:60]
            raise Misfit(self.describe(), given if missing_mark(given) else shown)
        return int(value)

    def decode(self, wire: Any) -> Any:
        if type(wire) is not int or wire not in self.values:
            shown = shown_number(wire) if type(wire) is int else repr(wire)[:60]
            raise Misfit(self.describe(), shown)
        return wire if self.enum is None else self.enum(wire)
