"""Kinds that both families of records write alike: by a name, and keys of their own.

A reader that does not know the name has an `Unknown`, never another kind.

============  ==============
name          keys
============  ==============
image, audio
json
classLabel    ``names``
============  ==============
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from atdata.samples.kinds import ClassLabel, Encoded, JsonValue, Kind
from atdata.samples.media import MEDIA
from atdata.schema.checks import as_class_label

WriteInside: TypeAlias = Callable[[Kind], dict[str, Any]]
"""Writes a kind that stands in another."""
ReadInside: TypeAlias = Callable[[object, str], Kind]
"""Reads a kind that stands in another, from its record and the path of that."""


def named_record(kind: Kind, inside: WriteInside) -> tuple[str, dict[str, Any]] | None:
    """The name and keys of a kind; None if the families write it each in their own way."""
    match kind:
        case Encoded(name):
            return name, {}
        case JsonValue():
            return "json", {}
        case ClassLabel(names):
            return "classLabel", {"names": list(names)}
        case _:
            return None


def named_kind(name: str, data: Mapping[str, Any], path: str, inside: ReadInside) -> Kind | None:
    """The kind of a name and its keys, which may be untrusted; None for an unknown name.

    Raises:
        SchemaError: The keys make no sense; names the path.
    """
    match name:
        case _ if name in MEDIA:
            return Encoded(name)
        case "json":
            return JsonValue()
        case "classLabel":
            return as_class_label(data.get("names"), f"{path}.names")
        case _:
            return None
