"""Schemas → records of the newer family; `json_schema` has the table and the way back."""

from __future__ import annotations

from typing import Any, Final

from atdata._refs import NEWER_SCHEMA_COLLECTION
from atdata.errors import SchemaError
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
)
from atdata.schema.model import Schema

_NDARRAY: Final = "https://alt.science/schemas/atdata-ndarray-bytes/1.0.0#/$defs/ndarray"
_TYPES: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def to_newer_record(schema: Schema) -> dict[str, Any]:
    """A schema as a record of the newer family, without ``createdAt``.

    Raises:
        SchemaError: A field that JSON Schema cannot say, such as a nested sample; names it.
    """
    record: dict[str, Any] = {
        "$type": NEWER_SCHEMA_COLLECTION,
        "name": schema.name,
        "version": schema.version,
        "schemaType": "jsonSchema",
        "schema": {
            "$type": f"{NEWER_SCHEMA_COLLECTION}#jsonSchemaFormat",
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": {field.name: _property(field) for field in schema.fields},
            "required": [field.name for field in schema.fields if not field.optional],
        },
        "description": schema.description,
        "metadata": schema.metadata,
    }
    return {key: value for key, value in record.items() if value is not None}


def _property(field: Field) -> dict[str, Any]:
    said = _said(field.kind, f"field {field.name!r}")
    return said if field.description is None else {**said, "description": field.description}


def _said(kind: Kind, where: str) -> dict[str, Any]:
    match kind:
        case Primitive(name="bytes"):
            return {"type": "string", "format": "byte", "contentEncoding": "base64"}
        case Primitive(name=name):
            return {"type": _TYPES[name]}
        case DateTime():
            return {"type": "string", "format": "date-time"}
        case Choice(values=values):
            return {"type": "string", "enum": list(values)}
        case Array(dtype=dtype, shape=shape):
            known = {"dtype": dtype, "shape": None if shape is None else list(shape)}
            return {"$ref": _NDARRAY, **{k: v for k, v in known.items() if v is not None}}
        case ListOf(items=items):
            return {"type": "array", "items": _said(items, where)}
        case MapOf(values=inner):
            return {"type": "object", "additionalProperties": _said(inner, where)}
        case Maybe(kind=inner) if "type" in (said := _said(inner, where)):
            return {**said, "type": [said["type"], "null"]}
        case _:
            raise SchemaError(
                f"{where}: {kind.describe()} cannot be said by records of the newer family. "
                "Publish with the first family, which has nested samples and all kinds."
            )
