"""Schema ↔ the record ``ac.foundation.dataset.sampleSchema``, in JSON terms.

Kinds that the record format does not name are written with optional extra keys, so that a
reader that does not know them sees the nearest kind that it knows:

===================  ==========================================================
kind                 ``fieldType``
===================  ==========================================================
Primitive            ``#primitive`` with ``primitive``
DateTime             ``#primitive`` str with ``format: "datetime"``
Choice               ``#primitive`` str with ``enum: [...]``
Array                ``#ndarray`` with ``dtype`` (``"any"``: any), ``shape``, ``axes``
ListOf, MapOf        ``#array`` with ``items``, ``#map`` with ``values``
Nested               ``#ref`` with ``ref``
Maybe inside these   the inner kind with ``optional: true``
Unknown              the record that it was read from
any other            ``#name`` with the keys that `named_kinds` lists
===================  ==========================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from atdata._json_checks import in_schema
from atdata._limits import limits
from atdata._refs import SCHEMA_COLLECTION, Version, parse_schema_ref
from atdata._secrets import redacted_repr
from atdata.errors import NotFoundError, RecordError, RefError, SchemaError
from atdata.samples.kinds import (
    PRIMITIVES,
    Array,
    Choice,
    DateTime,
    Field,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Nested,
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

_KIND_TYPE: Final = "ac.foundation.dataset.schemaType"
"""What ``$type`` of a field type begins with, before the ``#``."""


def to_record(schema: Schema, ref_of: Callable[[Nested], str]) -> dict[str, Any]:
    """Write a schema as a record, without ``createdAt``.

    Args:
        schema: The schema.
        ref_of: Gives the reference under which a nested sample's schema is published. Called
            for samples nested directly in this schema, not for those nested in them.

    Raises:
        SchemaError: A field of a kind that no record can hold.
    """
    record: dict[str, Any] = {
        "$type": SCHEMA_COLLECTION,
        "name": schema.name,
        "version": schema.version,
        "fields": [_field_record(f, ref_of) for f in schema.fields],
    }
    if schema.description is not None:
        record["description"] = schema.description
    if schema.metadata is not None:
        record["metadata"] = dict(schema.metadata)
    return record


def _field_record(f: Field, ref_of: Callable[[Nested], str]) -> dict[str, Any]:
    record = {"name": f.name, "fieldType": _kind_record(f.kind, ref_of), "optional": f.optional}
    if f.description is not None:
        record["description"] = f.description
    if f.unit is not None:
        record["unit"] = f.unit
    if f.members:
        record["members"] = list(f.members)
    return record


def _kind_record(kind: Kind, ref_of: Callable[[Nested], str]) -> dict[str, Any]:
    match kind:
        case Primitive(name):
            return _typed("primitive", primitive=name)
        case DateTime():
            return _typed("primitive", primitive="str", format="datetime")
        case Choice(values):
            return _typed("primitive", primitive="str", enum=list(values))
        case Array(dtype, shape, axes):
            record = _typed("ndarray", dtype=dtype or "any")
            sizes = {} if shape is None else {"shape": list(shape)}
            return {
                **record,
                **sizes,
                **({} if axes is None else {"axes": [name or "" for name in axes]}),
            }
        case ListOf(inner):
            return _typed("array", items=_kind_record(inner, ref_of))
        case MapOf(inner):
            return _typed("map", values=_kind_record(inner, ref_of))
        case Maybe(inner):
            return {**_kind_record(inner, ref_of), "optional": True}
        case Nested():
            return _typed("ref", ref=ref_of(kind))
        case Unknown():
            record = json.loads(kind.record)
            return dict(record)
        case _:
            named = named_record(kind, lambda inner: _kind_record(inner, ref_of))
            if named is None:
                raise SchemaError(f"{kind!r:.80} has no place in a record.")
            return _typed(named[0], **named[1])


def _typed(name: str, **rest: Any) -> dict[str, Any]:
    return {"$type": f"{_KIND_TYPE}#{name}", **rest}


@redacted_repr
@dataclass
class _Walk:
    """State while a schema, and the schemas that it references, are read."""

    path: list[str] = field(default_factory=list)
    """References from the first schema to this one."""
    known: dict[str, Schema] = field(default_factory=dict)


# `resolve` usually calls `from_record` again; a context variable carries the walk through it.
_walk: ContextVar[_Walk | None] = ContextVar("atdata schema walk", default=None)


def from_record(record: Mapping[str, Any], resolve: Callable[[str], Schema]) -> Schema:
    """Read a schema from its record, which may be untrusted.

    Args:
        record: The record, as JSON has it. Unknown keys are ignored.
        resolve: Gives the schema that a reference names; called once for each reference. It
            may call `from_record` itself: circular references and chains that are too long
            are refused.

    Returns:
        The schema. A field of an unknown kind becomes an `Unknown`, which keeps its record.

    Raises:
        SchemaError: Says where the record makes no sense (``$.fields[2].fieldType``).
    """
    outer = _walk.get()
    token = _walk.set(outer or _Walk())
    try:
        return _schema(record, resolve)
    finally:
        _walk.reset(token)


def _schema(record: object, resolve: Callable[[str], Schema]) -> Schema:
    data = in_schema.mapping(record, "$")
    kind = data.get("$type", SCHEMA_COLLECTION)
    if kind != SCHEMA_COLLECTION:
        raise in_schema.wrong("$.$type", repr(SCHEMA_COLLECTION), kind)
    name = in_schema.name(data.get("name"), "$.name")
    version = data.get("version")
    try:
        Version.parse(version)  # type: ignore[arg-type]
    except RefError:
        raise in_schema.wrong("$.version", "major.minor.patch", version) from None
    raw = data.get("fields")
    if not isinstance(raw, list):
        raise in_schema.wrong("$.fields", "a list", raw)
    if len(raw) > limits.fields:
        raise SchemaError(f"$.fields: {len(raw):,} fields; at most {limits.fields:,} are allowed.")
    fields = tuple(_field(item, f"$.fields[{i}]", resolve) for i, item in enumerate(raw))
    metadata = data.get("metadata")
    if metadata is not None:
        metadata = dict(in_schema.mapping(metadata, "$.metadata"))
        in_schema.json(metadata, "$.metadata", limits.metadata)
    description = in_schema.text(data.get("description"), "$.description")
    check_limits(name, fields)
    return Schema(name, str(version), fields, description, metadata)


def _field(value: object, path: str, resolve: Callable[[str], Schema]) -> Field:
    data = in_schema.mapping(value, path)
    name = in_schema.name(data.get("name"), f"{path}.name")
    optional = in_schema.boolean(data.get("optional", False), f"{path}.optional")
    kind = _kind(data.get("fieldType"), f"{path}.fieldType", resolve, 1)
    if isinstance(kind, Maybe):
        kind, optional = kind.kind, True
    description = in_schema.text(data.get("description"), f"{path}.description")
    unit = as_unit(data.get("unit"), f"{path}.unit")
    return Field(name, kind, optional, description, unit, as_members(data, path))


def _kind(value: object, path: str, resolve: Callable[[str], Schema], depth: int) -> Kind:
    if depth > limits.nesting:
        raise SchemaError(f"{path[:200]}: nested more than {limits.nesting} deep.")
    data = in_schema.mapping(value, path)
    tag = data.get("$type")
    if not isinstance(tag, str):
        raise in_schema.wrong(f"{path}.$type", "a str", tag)
    base, _, name = tag.partition("#")
    kind: Kind | None = None
    if base == _KIND_TYPE and name == "primitive":
        kind = _primitive(data, path)
    elif base == _KIND_TYPE and name == "ndarray":
        kind = _array(data, path)
    elif base == _KIND_TYPE and name == "array":
        kind = ListOf(_kind(data.get("items"), f"{path}.items", resolve, depth + 1))
    elif base == _KIND_TYPE and name == "map":
        kind = MapOf(_kind(data.get("values"), f"{path}.values", resolve, depth + 1))
    elif base == _KIND_TYPE and name == "ref":
        kind = _nested(data.get("ref"), f"{path}.ref", resolve)
    elif base == _KIND_TYPE:
        kind = named_kind(name, data, path, lambda value, at: _kind(value, at, resolve, depth + 1))
    if kind is None:
        # Kept as it is, `optional` included, so that it can be written again.
        return Unknown(
            in_schema.name(tag, f"{path}.$type"), in_schema.json(dict(data), path, limits.metadata)
        )
    return (
        Maybe(kind) if in_schema.boolean(data.get("optional", False), f"{path}.optional") else kind
    )


def _primitive(data: Mapping[str, Any], path: str) -> Kind | None:
    name = data.get("primitive")
    if not isinstance(name, str):
        raise in_schema.wrong(f"{path}.primitive", "a str", name)
    if name not in PRIMITIVES:
        return None
    if name == "str" and "enum" in data:
        return Choice(as_choices(data["enum"], f"{path}.enum"))
    if name == "str" and data.get("format") == "datetime":
        return DateTime()
    return Primitive(name)


def _array(data: Mapping[str, Any], path: str) -> Kind | None:
    name = data.get("dtype")
    if not isinstance(name, str):
        raise in_schema.wrong(f"{path}.dtype", "a str", name)
    dtype = None if name == "any" else as_dtype(name)
    if dtype is None and name != "any":
        return None
    return Array(dtype, *as_shape(data, path))


def _nested(ref: object, path: str, resolve: Callable[[str], Schema]) -> Nested:
    if not isinstance(ref, str):
        raise in_schema.wrong(path, "a reference", ref)
    try:
        parse_schema_ref(ref)
    except RefError as error:
        raise SchemaError(f"{path}: {error}") from None
    walk = _walk.get() or _Walk()
    if ref in walk.path:
        raise SchemaError(f"{path}: {ref} refers back to itself.")
    if len(walk.path) >= limits.nesting:
        raise SchemaError(f"{path}: nested more than {limits.nesting} deep.")
    if ref not in walk.known:
        if len(walk.known) + len(walk.path) >= limits.references:
            raise SchemaError(f"{path}: refers to more than {limits.references} other schemas.")
        walk.path.append(ref)
        try:
            walk.known[ref] = resolve(ref)
        except SchemaError as error:
            # The innermost reference is named; outer ones would only repeat it.
            raise SchemaError(f"{ref}: {error}" if str(error)[0] == "$" else str(error)) from None
        except (NotFoundError, RefError, RecordError) as error:
            raise SchemaError(f"{path}: {ref} cannot be read: {error}") from error
        finally:
            walk.path.pop()
    schema = walk.known[ref]
    return Nested(schema.name, schema.fields, None, schema.version, schema.description)
