"""Schemas as records of the science.alt family, in both directions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.errors import SchemaError, UnknownKindError
from atdata.samples.kinds import (
    Array,
    Choice,
    ClassLabel,
    DateTime,
    Field,
    JsonValue,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Nested,
    Primitive,
    Unknown,
)
from atdata.schema.alt_record import from_alt_record, to_alt_record
from atdata.schema.build import build_type
from atdata.schema.model import Schema

SHIM = "https://alt.science/schemas/atdata-ndarray-bytes/1.0.0#/$defs/ndarray"


def record(properties: Any, required: Any = (), **more: Any) -> dict[str, Any]:
    return {
        "$type": "science.alt.dataset.schema",
        "name": "ImageSample",
        "version": "1.0.0",
        "schemaType": "jsonSchema",
        "schema": {
            "$type": "science.alt.dataset.schema#jsonSchemaFormat",
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": properties,
            "required": list(required) if isinstance(required, tuple) else required,
        },
        "createdAt": "2026-11-21T10:00:00Z",
        **more,
    }


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"type": "string"}, Primitive("str")),
        ({"type": "integer"}, Primitive("int")),
        ({"type": "number"}, Primitive("float")),
        ({"type": "boolean"}, Primitive("bool")),
        ({"type": "string", "format": "byte", "contentEncoding": "base64"}, Primitive("bytes")),
        ({"type": "string", "format": "date-time"}, DateTime()),
        ({"type": "string", "enum": ["a", "b"]}, Choice(("a", "b"))),
        ({"$ref": SHIM}, Array()),
        ({"$ref": SHIM, "dtype": "float32", "shape": [3, None]}, Array("float32", (3, None))),
        ({"type": "array", "items": {"type": "integer"}}, ListOf(Primitive("int"))),
        (
            {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
            MapOf(Maybe(Primitive("float"))),
        ),
    ],
)
def test_kinds(said: dict[str, Any], kind: object) -> None:
    """Each property becomes the kind that reads its values."""
    (field,) = from_alt_record(record({"x": said}, ("x",))).fields
    assert (field.name, field.kind, field.optional) == ("x", kind, False)
    (field,) = from_alt_record(record({"x": said})).fields
    assert field.optional


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"type": "null"},
        {"type": "object"},
        {"type": "array"},
        {"type": ["string", "integer"]},
        {"$ref": "https://elsewhere.example/shim"},
        {"$ref": SHIM, "dtype": "float3000"},
    ],
)
def test_what_is_not_known_stays_readable(said: dict[str, Any]) -> None:
    """A property of another kind is kept, and the error of making a type names DictSample."""
    schema = from_alt_record(record({"x": said}))
    assert isinstance(schema.fields[0].kind, Unknown)
    with pytest.raises(UnknownKindError, match="DictSample"):
        build_type(schema)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"$type": "other"}, r"\$\.\$type"),
        ({"name": 1}, r"\$\.name"),
        ({"version": "1"}, r"\$\.version"),
        ({"schema": []}, r"\$\.schema"),
        ({"schema": {"$type": "other#format"}}, r"\$\.schema\.\$type"),
        ({"schema": {"properties": 1}}, r"\$\.schema\.properties"),
        ({"schema": {"properties": {"a": 1}}}, r"\$\.schema\.properties\.a"),
        ({"schema": {"properties": {}, "required": 1}}, r"\$\.schema\.required"),
        ({"schema": {"properties": {"a": {"type": "string", "enum": []}}}}, r"\.a\.enum"),
        ({"schema": {"properties": {"a": {"type": "string", "enum": ["x", "x"]}}}}, r"enum\[1\]"),
        ({"schema": {"properties": {"a": {"$ref": SHIM, "dtype": 1}}}}, r"\.a\.dtype"),
        ({"schema": {"properties": {"a": {"$ref": SHIM, "shape": [-1]}}}}, r"shape\[0\]"),
        ({"schema": {"properties": {f"f{n}": {} for n in range(1001)}}}, "1,000"),
        ({"metadata": 1}, r"\$\.metadata"),
        ({"description": 1}, r"\$\.description"),
    ],
)
def test_nonsense_is_named(change: dict[str, Any], path: str) -> None:
    """What makes no sense is a SchemaError with the path."""
    with pytest.raises(SchemaError, match=path):
        from_alt_record({**record({}), **change})


def test_too_deep() -> None:
    """Nesting without end is refused, not followed."""
    said: dict[str, Any] = {"type": "string"}
    for _ in range(100):
        said = {"type": "array", "items": said}
    with pytest.raises(SchemaError, match="levels"):
        from_alt_record(record({"x": said}))


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        ("ImageSample", "ImageSample"),
        ("my.module.ImageSample", "my.module.ImageSample"),
        ("Images of cats", "Images_of_cats"),
        ("3D scans", "_3D_scans"),
        ("!!!", "Sample"),
    ],
)
def test_names_for_display(shown: str, name: str) -> None:
    """A name for people becomes the name of a class."""
    assert from_alt_record(record({}, name=shown)).name == name


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "items", "enum", "$ref", "dtype", "shape", "format"]),
                inner | st.sampled_from(["string", "array", "object", SHIM]),
            )
        ),
        max_leaves=10,
    )
)
def test_any_garbage_is_a_schema_error(said: Any) -> None:
    """Any properties give a Schema or a SchemaError."""
    for properties in (said, {"x": said}):
        try:
            from_alt_record(record(properties))
        except SchemaError:
            continue


KINDS: list[Kind] = [
    *(Primitive(name) for name in ("str", "int", "float", "bool", "bytes")),
    DateTime(),
    Choice(("a", "b")),
    Array("float32", (3, None)),
    Array(None, None),
    ListOf(Primitive("int")),
    ListOf(Array("uint8", (2,))),
    ListOf(Maybe(Primitive("str"))),
    MapOf(ListOf(DateTime())),
    ListOf(Maybe(Array(None, None))),
    JsonValue(),
    ClassLabel("cat", "dog"),
    ListOf(Maybe(ClassLabel("cat"))),
    MapOf(JsonValue()),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.describe())
@pytest.mark.parametrize("optional", [False, True])
def test_what_is_written_is_read(kind: Kind, optional: bool) -> None:
    """Every kind that JSON Schema can say comes back from the record as it was."""
    schema = Schema("module.Sample", "1.2.3", (Field("value", kind, optional, "What."),), "All.")
    written = json.loads(json.dumps(to_alt_record(schema)))
    assert from_alt_record(written) == schema


def test_what_cannot_be_said_is_named() -> None:
    """A field that JSON Schema cannot say is refused by name."""
    kind = Nested("m.Inner", (Field("x", Primitive("int")),))
    with pytest.raises(SchemaError, match="'value'"):
        to_alt_record(Schema("module.Sample", "1.0.0", (Field("value", kind),)))
