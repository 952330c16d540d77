"""Schema, a sample type as a value: its fields, their kinds, its version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from atdata._refs import Version
from atdata._secrets import redacted_repr
from atdata.errors import SchemaError
from atdata.samples.kinds import Field, Nested

__all__ = ["Field", "Schema"]


@redacted_repr
@dataclass(frozen=True)
class Schema:
    """Name, version and fields of a sample type. Description and metadata are not compared.

    Raises:
        SchemaRefError: The version is not ``major.minor.patch``.
        SchemaError: The name is not that of a class, or two fields have one name.
    """

    name: str
    """Qualified name, ``{module}.{Class}``, by which types are matched."""
    version: str
    """``major.minor.patch``, as in semantic versioning."""
    fields: tuple[Field, ...]
    description: str | None = field(default=None, compare=False)
    metadata: Mapping[str, Any] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        Version.parse(self.version)
        if not self.class_name.isidentifier():
            raise SchemaError(f"{self.name!r} is not the name of a sample type.")
        names = [f.name for f in self.fields]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SchemaError(f"{self.name}: the field {twice[0]!r} appears twice.")

    @property
    def class_name(self) -> str:
        """The name without its module."""
        return self.name.rpartition(".")[2]

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the fields, in order."""
        return tuple(f.name for f in self.fields)

    @classmethod
    def of_nested(cls, kind: Nested) -> Schema:
        """The schema of a sample inside a sample."""
        return cls(kind.name, kind.version or "1.0.0", kind.fields, kind.description)

    def with_version(self, version: str) -> Schema:
        """The same fields under another version."""
        return replace(self, version=version)

    def __str__(self) -> str:
        lines = [f"{self.name}@{self.version}", *(f"  {f.describe()}" for f in self.fields)]
        return "\n".join(lines)
