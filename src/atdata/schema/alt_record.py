"""Schema ↔ the record ``science.alt.dataset.schema``, which is JSON Schema Draft 7.

===========================================================  ============
property                                                     kind
===========================================================  ============
``type`` string, integer, number, boolean                    Primitive
string with ``contentEncoding: base64`` or ``format: byte``  bytes
string with ``format: date-time``                            DateTime
string with ``enum``                                         Choice
``$ref`` to the shim ``atdata-ndarray-bytes``                Array
array with ``items``                                         ListOf
object with ``additionalProperties``                         MapOf
``type`` that is a list with ``null``                        Maybe
``anyOf`` of another kind and ``null``                       Maybe
``$ref`` to ``#/$defs/atdata-…``                             see `named_kinds`
anything else                                                Unknown
===========================================================  ============

Servers reorder the keys of an object, so the fields of such a schema have no order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from atdata._json_checks import in_schema
from atdata._limits import limits
from atdata._refs import ALT_SCHEMA_COLLECTION, Version
from atdata.errors import RefError, SchemaError
from atdata.samples.kinds import (
    Array,
    Choice,
    DateTime,
    Field,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Primitive,
    Unknown,
)
from atdata.schema.checks import (
    as_choices,
    as_dtype,
    as_members,
    as_shape,
    as_unit,
    check_limits,
)
from atdata.schema.model import Schema
from atdata.schema.named_kinds import named_kind, named_record

_FORMAT: Final = f"{ALT_SCHEMA_COLLECTION}#jsonSchemaFormat"
_NDARRAY: Final = re.compile(
    r"https://(alt\.science|foundation\.ac)/schemas/atdata-ndarray-bytes/[0-9.]+(/?#/\$defs/ndarray)?"
)
_NDARRAY_REF: Final = "https://alt.science/schemas/atdata-ndarray-bytes/1.0.0#/$defs/ndarray"
_BYTES: Final = {"type": "string", "format": "byte", "contentEncoding": "base64"}
_OURS: Final = "#/$defs/atdata-"
"""What ``$ref`` to a kind that JSON Schema does not have begins with. A reader that does not know
it sees what any validator sees: the definition, which allows more."""
_DEFINITIONS: Final[dict[str, dict[str, Any]]] = {
    "image": _BYTES,
    "audio": _BYTES,
    "json": {},
    "classLabel": {"type": "integer", "minimum": 0},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "time"},
    "duration": {"type": "integer"},
    "decimal": {"type": "string"},
    "uuid": {"type": "string", "format": "uuid"},
    "intEnum": {"type": "integer"},
    "tuple": {"type": "array"},
    "tupleOf": {"type": "array"},
    "set": {"type": "array", "uniqueItems": True},
    "union": {},
}
"""Name of such a kind → what JSON Schema can say of it."""
_NULL: Final = {"type": "null"}
_TYPES: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_PRIMITIVES: Final = {written: name for name, written in _TYPES.items()}


def from_alt_record(record: Mapping[str, Any]) -> Schema:
    """Read a schema from a record of the science.alt family, which may be untrusted.

    Raises:
        SchemaError: Names the path of what is wrong (``$.schema.properties``).
    """
    data = in_schema.mapping(record, "$")
    if data.get("$type") != ALT_SCHEMA_COLLECTION:
        raise in_schema.wrong("$.$type", repr(ALT_SCHEMA_COLLECTION), data.get("$type"))
    name = _class_name(in_schema.name(data.get("name"), "$.name"))
    try:
        version = str(Version.parse(data.get("version")))  # type: ignore[arg-type]
    except RefError:
        raise in_schema.wrong("$.version", "major.minor.patch", data.get("version")) from None
    body = in_schema.mapping(data.get("schema"), "$.schema")
    if body.get("$type", _FORMAT) != _FORMAT:
        raise in_schema.wrong("$.schema.$type", repr(_FORMAT), body.get("$type"))
    properties = in_schema.mapping(body.get("properties"), "$.schema.properties")
    if len(properties) > limits.fields:
        raise in_schema.wrong(
            "$.schema.properties", f"at most {limits.fields:,} fields", len(properties)
        )
    required = body.get("required", [])
    if not isinstance(required, list):
        raise in_schema.wrong("$.schema.required", "a list", required)
    fields = tuple(
        _field(key, value, key in required, f"$.schema.properties.{key:.80}")
        for key, value in properties.items()
    )
    check_limits(name, fields)
    metadata = data.get("metadata")
    return Schema(
        name,
        version,
        fields,
        in_schema.text(data.get("description"), "$.description"),
        None if metadata is None else dict(in_schema.mapping(metadata, "$.metadata")),
    )


def _class_name(name: str) -> str:
    """A display name turned into a class name; one that is an identifier stays as it is."""
    head, dot, last = name.rpartition(".")
    if last.isidentifier():
        return head + dot + last
    plain = re.sub(r"\W+", "_", name).strip("_") or "Sample"
    return plain if plain.isidentifier() else f"_{plain}"


def _field(key: str, value: object, required: bool, path: str) -> Field:
    name = in_schema.name(key, path)
    kind = _kind(value, path, 1)
    found = value.get("description") if isinstance(value, Mapping) else None
    description = in_schema.text(found, f"{path}.description")
    unit = as_unit(value.get("unit") if isinstance(value, Mapping) else None, f"{path}.unit")
    members = as_members(value, path)
    if isinstance(kind, Maybe):
        return Field(name, kind.kind, True, description, unit, members)
    return Field(name, kind, not required, description, unit, members)


def _kind(value: object, path: str, depth: int) -> Kind:
    if depth > limits.nesting:
        raise in_schema.wrong(path[:200], f"at most {limits.nesting} levels", value)
    data = in_schema.mapping(value, path)
    sort = data.get("type")
    if isinstance(sort, list) and "null" in sort and len(sort) == 2:
        sort = next((one for one in sort if one != "null"), None)
        return Maybe(_kind({**data, "type": sort}, path, depth + 1))
    if (others := _besides_null(data.get("anyOf"))) is not None:
        return Maybe(_kind(others, f"{path}.anyOf", depth + 1))
    kind: Kind | None = None
    if isinstance(ref := data.get("$ref"), str) and ref.startswith(_OURS):
        name = ref.removeprefix(_OURS)
        kind = named_kind(name, data, path, lambda value, at: _kind(value, at, depth + 1))
    elif isinstance(ref, str):
        kind = _array(data, path) if _NDARRAY.fullmatch(ref) else None
    elif sort == "string":
        kind = _string(data, path)
    elif sort == "array" and "items" in data:
        kind = ListOf(_kind(data["items"], f"{path}.items", depth + 1))
    elif sort == "object" and isinstance(data.get("additionalProperties"), Mapping):
        inner = data["additionalProperties"]
        kind = MapOf(_kind(inner, f"{path}.additionalProperties", depth + 1))
    elif isinstance(sort, str) and sort in _PRIMITIVES:
        kind = Primitive(_PRIMITIVES[sort])
    if kind is None:
        shown = data.get("$ref", sort)
        return Unknown(f"JSON Schema {shown!r:.100}", in_schema.json(dict(data), path, limits.text))
    return kind


def _besides_null(anyof: object) -> object:
    """What ``anyOf`` allows besides null, if that is one thing; else None."""
    if not isinstance(anyof, list) or len(anyof) != 2 or _NULL not in anyof:
        return None
    return anyof[1] if anyof[0] == _NULL else anyof[0]


def _string(data: Mapping[str, Any], path: str) -> Kind:
    if data.get("format") == "byte" or data.get("contentEncoding") == "base64":
        return Primitive("bytes")
    if data.get("format") == "date-time":
        return DateTime()
    values = data.get("enum")
    if values is None:
        return Primitive("str")
    return Choice(as_choices(values, f"{path}.enum"))


def _array(data: Mapping[str, Any], path: str) -> Kind | None:
    name = data.get("dtype")
    if name is not None and not isinstance(name, str):
        raise in_schema.wrong(f"{path}.dtype", "a str", name)
    dtype = None if name is None else as_dtype(name)
    if name is not None and dtype is None:
        return None
    return Array(dtype, *as_shape(data, path))


def to_alt_record(schema: Schema) -> dict[str, Any]:
    """Write a schema as a record of the science.alt family, without ``createdAt``.

    Raises:
        SchemaError: A field that JSON Schema cannot express, such as a nested sample; names it.
    """
    properties = {field.name: _property(field) for field in schema.fields}
    defined = {f"atdata-{name}": dict(_DEFINITIONS[name]) for name in sorted(_names_in(properties))}
    record: dict[str, Any] = {
        "$type": ALT_SCHEMA_COLLECTION,
        "name": schema.name,
        "version": schema.version,
        "schemaType": "jsonSchema",
        "schema": {
            "$type": f"{ALT_SCHEMA_COLLECTION}#jsonSchemaFormat",
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": properties,
            "required": [field.name for field in schema.fields if not field.optional],
            **({"$defs": defined} if defined else {}),
        },
        "description": schema.description,
        "metadata": schema.metadata,
    }
    return {key: value for key, value in record.items() if value is not None}


def _names_in(written: object) -> set[str]:
    """The names of our kinds that a written schema refers to."""
    if isinstance(written, list):
        return {name for item in written for name in _names_in(item)}
    if not isinstance(written, dict):
        return set()
    ref = written.get("$ref")
    inside = {name for item in written.values() for name in _names_in(item)}
    named = isinstance(ref, str) and ref.startswith(_OURS)
    return {str(ref).removeprefix(_OURS), *inside} if named else inside


def _property(field: Field) -> dict[str, Any]:
    written = _json_schema(field.kind, f"field {field.name!r}")
    if field.members:
        written = {**written, "members": list(field.members)}
    more = {"description": field.description, "unit": field.unit}
    return {**written, **{key: text for key, text in more.items() if text is not None}}


def _json_schema(kind: Kind, where: str) -> dict[str, Any]:
    match kind:
        case Primitive(name="bytes"):
            return dict(_BYTES)
        case Primitive(name=name):
            return {"type": _TYPES[name]}
        case DateTime():
            return {"type": "string", "format": "date-time"}
        case Choice(values=values):
            return {"type": "string", "enum": list(values)}
        case Array(dtype=dtype, shape=shape, axes=axes):
            known = {
                "dtype": dtype,
                "shape": None if shape is None else list(shape),
                "axes": None if axes is None else [name or "" for name in axes],
            }
            return {"$ref": _NDARRAY_REF, **{k: v for k, v in known.items() if v is not None}}
        case ListOf(items=items):
            return {"type": "array", "items": _json_schema(items, where)}
        case MapOf(values=inner):
            return {"type": "object", "additionalProperties": _json_schema(inner, where)}
        case Maybe(kind=inner):
            written = _json_schema(inner, where)
            if "type" not in written:
                return {"anyOf": [written, _NULL]}
            return {**written, "type": [written["type"], "null"]}
        case _:
            named = named_record(kind, lambda inner: _json_schema(inner, where))
            if named is not None:
                return {"$ref": f"{_OURS}{named[0]}", **named[1]}
            raise SchemaError(
                f"{where}: records of the science.alt family cannot hold {kind.describe()}. "
                "Publish in the ac.foundation family, which has nested samples and every kind."
            )
