"""Kinds that both families of records write alike: by a name, and keys of their own.

A reader that does not know the name has an `Unknown`, never another kind.

===================================  =======================================
name                                 keys
===================================  =======================================
image, audio, json
date, time, duration, decimal, uuid
classLabel                           ``names``
intEnum                              ``values``; of an Enum ``names``
tuple                                ``items``: a list of kinds
tupleOf, set                         ``items``: a kind
union                                ``kinds``: a list of kinds
===================================  =======================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from atdata._json_checks import in_schema
from atdata._limits import limits
from atdata.samples.kinds import (
    SIMPLE,
    ClassLabel,
    Encoded,
    FixedTuple,
    IntChoice,
    JsonValue,
    Kind,
    OneOf,
    SetOf,
    Simple,
    TupleOf,
    is_hashable,
    one_of,
)
from atdata.samples.media import MEDIA
from atdata.schema.checks import as_choices, as_class_label

WriteInside: TypeAlias = Callable[[Kind], dict[str, Any]]
"""Writes a kind that stands in another."""
ReadInside: TypeAlias = Callable[[object, str], Kind]
"""Reads a kind that stands in another, from its record and the path of that."""


def named_record(kind: Kind, inside: WriteInside) -> tuple[str, dict[str, Any]] | None:
    """The name and keys of a kind; None if the families write it each in their own way."""
    match kind:
        case Encoded(name):
            return name, {}
        case Simple():
            return kind.name, {}
        case JsonValue():
            return "json", {}
        case ClassLabel(classes):
            return "classLabel", {"names": list(classes)}
        case IntChoice(values, called):
            return "intEnum", {
                "values": list(values),
                **({"names": list(called)} if called else {}),
            }
        case FixedTuple(places):
            return "tuple", {"items": list(map(inside, places))}
        case TupleOf(items):
            return "tupleOf", {"items": inside(items)}
        case SetOf(items):
            return "set", {"items": inside(items)}
        case OneOf(kinds):
            return "union", {"kinds": list(map(inside, kinds))}
        case _:
            return None


def named_kind(name: str, data: Mapping[str, Any], path: str, inside: ReadInside) -> Kind | None:
    """The kind of a name and its keys, which may be untrusted.

    Returns:
        None for an unknown name, and for a set or union that this version cannot have: one of
        kinds that a newer version knows.

    Raises:
        SchemaError: The keys make no sense; names the path.
    """
    match name:
        case _ if name in MEDIA:
            return Encoded(name)
        case _ if name in SIMPLE:
            return SIMPLE[name]
        case "json":
            return JsonValue()
        case "classLabel":
            return as_class_label(data.get("names"), f"{path}.names")
        case "intEnum":
            return _int_choice(data, path)
        case "tuple":
            return FixedTuple(_several(data.get("items"), f"{path}.items", inside))
        case "tupleOf":
            return TupleOf(inside(data.get("items"), f"{path}.items"))
        case "set":
            items = inside(data.get("items"), f"{path}.items")
            return SetOf(items) if is_hashable(items) else None
        case "union":
            found = one_of(_several(data.get("kinds"), f"{path}.kinds", inside))
            return None if isinstance(found, str) else found
        case _:
            return None


def _several(value: object, path: str, inside: ReadInside) -> tuple[Kind, ...]:
    items = in_schema.sequence(value, path)
    if len(items) > limits.fields:
        raise in_schema.wrong(path, f"at most {limits.fields:,} kinds", len(items))
    return tuple(inside(item, f"{path}[{number}]") for number, item in enumerate(items))


def _int_choice(data: Mapping[str, Any], path: str) -> IntChoice:
    values = in_schema.sequence(data.get("values"), f"{path}.values")
    if not 1 <= len(values) <= limits.choices:
        raise in_schema.wrong(f"{path}.values", f"1 to {limits.choices:,} integers", len(values))
    seen: set[object] = set()
    for number, value in enumerate(values):
        if type(value) is not int or abs(value) >= 2**53 or value in seen:
            expected = "an integer that is not in the list yet"
            raise in_schema.wrong(f"{path}.values[{number}]", expected, value)
        seen.add(value)
    names = data.get("names")
    if names is None:
        return IntChoice(tuple(values))
    called = as_choices(names, f"{path}.names")
    if len(called) != len(values):
        raise in_schema.wrong(f"{path}.names", f"{len(values):,} names", len(called))
    return IntChoice(tuple(values), called)
