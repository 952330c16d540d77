"""Kinds for one of a few values"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from atdata.samples.kinds.kind import Kind, Misfit, check_text
from atdata.samples.missing import missing_mark


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
