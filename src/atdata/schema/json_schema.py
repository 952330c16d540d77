"""Schemas of the newer record family, ``science.alt.dataset.schema``: JSON Schema Draft 7.

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
anything else                                                Unknown
===========================================================  ============

A server stores an object's keys in an order of its own, so that fields have no order here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from atdata._limits import limits
from atdata._refs import NEWER_SCHEMA_COLLECTION, Version
from atdata.errors import RefError
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
from atdata.samples.ndarray import dtype_name
from atdata.schema.checks import check_limits, known_dtype
from atdata.schema.json_checks import as_json, as_name, as_object, as_text, wrong
from atdata.schema.model import Schema

_FORMAT: Final = f"{NEWER_SCHEMA_COLLECTION}#jsonSchemaFormat"
_NDARRAY: Final = re.compile(
    r"https://(alt\.science|foundation\.ac)/schemas/atdata-ndarray-bytes/[0-9.]+(/?#/\$defs/ndarray)?"
)
_PRIMITIVES: Final = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}


def from_newer_record(record: Mapping[str, Any]) -> Schema:
    """Read a schema from a record of the newer family, which may be a stranger's.

    Raises:
        SchemaError: Says where the record makes no sense (``$.schema.properties``).
    """
    data = as_object(record, "$")
    if data.get("$type") != NEWER_SCHEMA_COLLECTION:
        raise wrong("$.$type", repr(NEWER_SCHEMA_COLLECTION), data.get("$type"))
    name = _class_name(as_name(data.get("name"), "$.name"))
    try:
        version = str(Version.parse(data.get("version")))  # type: ignore[arg-type]
    except RefError:
        raise wrong("$.version", "major.minor.patch", data.get("version")) from None
    body = as_object(data.get("schema"), "$.schema")
    if body.get("$type", _FORMAT) != _FORMAT:
        raise wrong("$.schema.$type", repr(_FORMAT), body.get("$type"))
    properties = as_object(body.get("properties"), "$.schema.properties")
    if len(properties) > limits.fields:
        raise wrong("$.schema.properties", f"at most {limits.fields:,} fields", len(properties))
    required = body.get("required", [])
    if not isinstance(required, list):
        raise wrong("$.schema.required", "a list", required)
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
        as_text(data.get("description"), "$.description"),
        None if metadata is None else dict(as_object(metadata, "$.metadata")),
    )


def _class_name(name: str) -> str:
    """A name for display as the name of a class; one that is a class's stays as it is."""
    head, dot, last = name.rpartition(".")
    if last.isidentifier():
        return head + dot + last
    plain = re.sub(r"\W+", "_", name).strip("_") or "Sample"
    return plain if plain.isidentifier() else f"_{plain}"


def _field(key: str, value: object, required: bool, path: str) -> Field:
    name = as_name(key, path)
    kind = _kind(value, path, 1)
    said = value.get("description") if isinstance(value, Mapping) else None
    if isinstance(kind, Maybe):
        return Field(name, kind.kind, True, as_text(said, f"{path}.description"))
    return Field(name, kind, not required, as_text(said, f"{path}.description"))


def _kind(value: object, path: str, depth: int) -> Kind:
    if depth > limits.nesting:
        raise wrong(path[:200], f"at most {limits.nesting} levels", value)
    data = as_object(value, path)
    sort = data.get("type")
    if isinstance(sort, list) and "null" in sort and len(sort) == 2:
        sort = next((one for one in sort if one != "null"), None)
        return Maybe(_kind({**data, "type": sort}, path, depth + 1))
    kind: Kind | None = None
    if isinstance(ref := data.get("$ref"), str):
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
        return Unknown(f"JSON Schema {shown!r:.100}", as_json(dict(data), path, limits.text))
    return kind


def _string(data: Mapping[str, Any], path: str) -> Kind:
    if data.get("format") == "byte" or data.get("contentEncoding") == "base64":
        return Primitive("bytes")
    if data.get("format") == "date-time":
        return DateTime()
    values = data.get("enum")
    if values is None:
        return Primitive("str")
    if not isinstance(values, list) or not 1 <= len(values) <= limits.choices:
        raise wrong(f"{path}.enum", f"a list of 1 to {limits.choices:,} str", values)
    seen: set[object] = set()
    for i, value in enumerate(values):
        if as_text(value, f"{path}.enum[{i}]") is None or value in seen:
            raise wrong(f"{path}.enum[{i}]", "a str that is not there yet", value)
        seen.add(value)
    return Choice(tuple(values))


def _array(data: Mapping[str, Any], path: str) -> Kind | None:
    name, shape = data.get("dtype"), data.get("shape")
    if name is None:
        dtype = None
    elif not isinstance(name, str):
        raise wrong(f"{path}.dtype", "a str", name)
    elif (dtype := known_dtype(name)) is None:
        return None
    if shape is not None:
        if not isinstance(shape, list) or len(shape) > limits.array_dimensions:
            raise wrong(
                f"{path}.shape", f"a list of at most {limits.array_dimensions} lengths", shape
            )
        for i, n in enumerate(shape):
            if n is not None and (type(n) is not int or not 0 <= n < 2**53):
                raise wrong(f"{path}.shape[{i}]", "a length or null", n)
    return Array(
        None if dtype is None else dtype_name(dtype), None if shape is None else tuple(shape)
    )
