"""Schemas as records of the newer family."""

from __future__ import annotations

import json

import pytest

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
    Nested,
    Primitive,
)
from atdata.schema.json_schema import from_newer_record
from atdata.schema.json_writer import to_newer_record
from atdata.schema.model import Schema

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
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.describe())
@pytest.mark.parametrize("optional", [False, True])
def test_what_is_written_is_read(kind: Kind, optional: bool) -> None:
    """Every kind that JSON Schema can say comes back from the record as it was."""
    schema = Schema("module.Sample", "1.2.3", (Field("value", kind, optional, "What."),), "All.")
    record = json.loads(json.dumps(to_newer_record(schema)))
    assert from_newer_record(record) == schema


@pytest.mark.parametrize(
    "kind",
    [Nested("m.Inner", (Field("x", Primitive("int")),)), ListOf(Maybe(Array(None, None)))],
    ids=["nested", "an array or nothing"],
)
def test_what_cannot_be_said_is_named(kind: Kind) -> None:
    """A field that JSON Schema cannot say is refused by name."""
    with pytest.raises(SchemaError, match="'value'"):
        to_newer_record(Schema("module.Sample", "1.0.0", (Field("value", kind),)))
