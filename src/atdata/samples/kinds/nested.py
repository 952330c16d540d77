"""Fields of a sample type, and samples inside samples"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atdata.samples.kinds.containers import Maybe
from atdata.samples.kinds.kind import Kind, Misfit
from atdata.samples.missing import found_for_error
from atdata.samples.pickling import defined_again


@dataclass(frozen=True)
class Field:
    """One field of a sample type: its name, kind, and whether it may be None."""

    name: str
    kind: Kind
    optional: bool = False
    """Whether the value may be None, or be missing in stored samples."""
    description: str | None = field(default=None, compare=False)
    unit: str | None = None
    """The unit of its numbers, such as ``m``."""
    members: tuple[str, ...] = ()
    """The members that it is read from in shards of many; none: found by its name or kind."""

    @property
    def value_kind(self) -> Kind:
        """The kind, including None if the field is optional."""
        return Maybe(self.kind) if self.optional else self.kind

    def describe(self) -> str:
        """``name: annotation``."""
        return f"{self.name}: {self.described_type}"

    def same_unit(self, other: Field) -> bool:
        """Whether the units of two fields agree; one that is not known agrees with any."""
        return None in (self.unit, other.unit) or self.unit == other.unit

    @property
    def described_type(self) -> str:
        """The annotation, and the unit."""
        unit = "" if self.unit is None else f" [{self.unit}]"
        return f"{self.value_kind.describe()}{unit}"


@dataclass(frozen=True)
class Nested(Kind):
    """A sample inside a sample."""

    name: str = field(compare=False)
    """Qualified name, ``{module}.{Class}``."""
    fields: tuple[Field, ...]
    python: type | None = field(default=None, compare=False, repr=False)
    version: str | None = field(default=None, compare=False)
    """Version of the schema that it was read from, if it was."""
    description: str | None = field(default=None, compare=False)
    """What the class is, for people."""

    def describe(self) -> str:
        return self.name.rpartition(".")[2]

    def encode(self, value: Any) -> dict[str, Any]:
        codec = self.codec()
        if isinstance(value, Mapping):
            value = codec.from_mapping(value)
        if type(value) is not codec.sample_type:
            hint = defined_again(codec.sample_type, type(value))
            if isinstance(value, codec.sample_type):
                hint = f"What {type(value).__name__} adds to {self.describe()} would be lost."
            raise Misfit(self.describe(), found_for_error(value), hint)
        return codec.to_wire(value)  # type: ignore[no-any-return]

    def decode(self, wire: Any) -> Any:
        if not isinstance(wire, dict):
            raise Misfit(self.describe(), found_for_error(wire))
        return self.codec().from_wire(wire)

    def checked(self, value: Any) -> Any:
        return self.codec().checked(value)

    def parts(self) -> tuple[Kind, ...]:
        return tuple(field.kind for field in self.fields)

    def codec(self) -> Any:
        """The codec of the class.

        Raises:
            Misfit: There is no class.
        """
        if self.python is None:
            raise Misfit(self.describe(), "a schema that no type was made of")
        return self.python.__atdata_codec__  # type: ignore[attr-defined]
