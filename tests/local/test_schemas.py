"""Schemas of a local index: references, versions, nested types, what cannot be published."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import atdata
from atdata.errors import (
    SchemaConflictError,
    SchemaError,
    SchemaNotFoundError,
    SchemaRefError,
)
from atdata.local import LocalIndex
from atdata.schema.build import build_type
from atdata.testing.strategies import schemas
from tests.local.conftest import Digit


@atdata.packable
class Box:
    """A sample inside others."""

    width: int


@atdata.packable
class Inner:
    """A sample with a sample inside, and itself inside another."""

    box: Box


class Outer(atdata.PackableSample):
    """Samples inside lists, maps and None."""

    inner: Inner
    boxes: list[Box]
    named: dict[str, Box]
    maybe: Box | None = None


def thing(**fields: Any) -> type:
    """A sample type ``Thing`` with these fields."""
    members = {"__annotations__": fields, "__module__": __name__}
    optional = {name: None for name, kind in fields.items() if type(None) in _arms(kind)}
    return atdata.packable(type("Thing", (), {**members, **optional}))


def _arms(kind: Any) -> tuple[Any, ...]:
    return getattr(kind, "__args__", ())


def test_a_ref_is_of_the_class_and_version(index: LocalIndex) -> None:
    """A reference names class and version; the legacy forms mean the same schema."""
    ref = index.publish_schema(Digit, version="1.0.0")
    assert ref == "atdata://local/sampleSchema/Digit@1.0.0"
    record = index.get_schema(ref)
    assert record.ref == ref
    for legacy in ("local://schemas/Digit@1.0.0", "local://schemas/some.module.Digit@1.0.0"):
        assert index.get_schema(legacy) == record
        assert index.get_schema(legacy).ref == ref
        assert index.decode_schema(legacy) is index.decode_schema(ref)
        assert index.schema_of_ref(legacy) == atdata.schema_of(Digit)


def test_nested_types_are_published_first(index: LocalIndex) -> None:
    """The schemas of nested types are published too, and referred to by local refs."""
    ref = index.publish_schema(Outer)
    assert [record.ref.rpartition("/")[2] for record in index.list_schemas()] == [
        "Box@1.0.0",
        "Inner@1.0.0",
        "Outer@1.0.0",
    ]
    fields = index.get_schema(ref)["fields"]
    assert fields[0]["fieldType"]["ref"] == "atdata://local/sampleSchema/Inner@1.0.0"
    assert fields[1]["fieldType"]["items"]["ref"] == "atdata://local/sampleSchema/Box@1.0.0"
    assert index.schema_of_ref(ref) == atdata.schema_of(Outer)
    decoded = index.decode_schema(ref)
    box = Box(3)
    sample = Outer(Inner(box), [box], {"a": box}, box)
    assert decoded.from_bytes(sample.packed).packed == sample.packed
    assert index.publish_schema(decoded) == ref


def test_a_nested_schema_from_elsewhere_finds_its_place(index: LocalIndex) -> None:
    """A nested type whose version has other fields here is published under the next one."""
    other = atdata.Schema("elsewhere.Box", "1.0.0", atdata.schema_of(Digit).fields)
    index.publish_schema(other)
    kind: Any = atdata.schema_of(Inner).fields[0].kind
    nested = atdata.Field("box", type(kind)("elsewhere.Box", kind.fields, None, "1.0.0"))
    ref = index.publish_schema(atdata.Schema("elsewhere.Inner", "1.0.0", (nested,)))
    box = index.get_schema(ref)["fields"][0]["fieldType"]["ref"]
    assert box == "atdata://local/sampleSchema/Box@2.0.0"
    assert index.schema_of_ref(ref).fields == (nested,)


def test_a_refused_schema_publishes_nothing(index: LocalIndex) -> None:
    """A conflict of the outer schema is found before a nested one is written."""
    index.publish_schema(thing(a=int), version="1.0.0")
    with pytest.raises(SchemaConflictError) as caught:
        index.publish_schema(thing(a=Box), version="1.0.0")
    assert "a: int → Box" in str(caught.value)
    assert "version=None" in str(caught.value)
    assert len(list(index.list_schemas())) == 1


def test_versions(index: LocalIndex) -> None:
    """Versions count by their numbers; the newest with the same fields is found among all."""
    for version in ("9.0.0", "10.0.0", "2.11.0", "2.2.0"):
        index.publish_schema(thing(a=int), version=version)
    assert [record["version"] for record in index.list_schemas()] == [
        "2.2.0",
        "2.11.0",
        "9.0.0",
        "10.0.0",
    ]
    refs = [
        index.publish_schema(thing(a=int)),
        index.publish_schema(thing(a=int, b=str | None)),
        index.publish_schema(thing(a=int)),
        index.publish_schema(thing(a=int, b=str | None)),
    ]
    versions = [ref.rpartition("@")[2] for ref in refs]
    assert versions == ["10.0.0", "10.1.0", "10.0.0", "10.1.0"]


def test_classes_of_one_name(index: LocalIndex) -> None:
    """Classes of two modules with one name take turns in versions, and each finds its own again."""
    one, two = (atdata.Field(name, atdata.schema_of(Digit).fields[1].kind) for name in "ab")
    built = [
        build_type(atdata.Schema("first.Thing", "1.0.0", (one,))),
        build_type(atdata.Schema("second.Thing", "1.0.0", (two,))),
        build_type(atdata.Schema("first.Thing", "1.0.0", (one,))),
        build_type(atdata.Schema("first.Thing", "1.0.0", (one, two))),
        build_type(atdata.Schema("second.Thing", "1.0.0", (two,))),
        build_type(atdata.Schema("third.Thing", "1.0.0", (one, two))),
    ]
    versions = [index.publish_schema(each).rpartition("@")[2] for each in built]
    assert versions == ["1.0.0", "2.0.0", "1.0.0", "3.0.0", "2.0.0", "3.0.0"]


def test_a_schema_is_taken_as_it_is(index: LocalIndex) -> None:
    """A Schema is published under its own version and name, with its description."""
    schema = atdata.schema_of(
        Digit, version="1.2.3", description="A digit.", metadata={"a": [1, None, "ü"]}
    )
    ref = index.publish_schema(schema)
    assert ref.endswith("Digit@1.2.3")
    found = index.schema_of_ref(ref)
    assert found == schema
    assert (found.description, found.metadata) == (schema.description, schema.metadata)
    record = index.get_schema(ref)
    assert (record["description"], record["metadata"]) == ("A digit.", {"a": [1, None, "ü"]})
    assert record["createdAt"]


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(schema=schemas())
def test_every_schema_comes_back(schema: atdata.Schema, tmp_path: Any) -> None:
    """Any schema, nested ones and kinds of newer versions included, is read as it was published."""
    with LocalIndex(tmp_path / "index.db") as index:
        fresh = max(
            (int(record["version"].partition(".")[0]) for record in index.list_schemas()),
            default=0,
        )
        ref = index.publish_schema(schema, version=f"{fresh + 1}.0.0")
        found = index.schema_of_ref(ref)
        assert found.fields == schema.fields
        assert found.name == schema.name
        assert found.description == schema.description


@pytest.mark.parametrize(
    "metadata",
    [{"a": object()}, {"a": float("nan")}, {"a": b"bytes"}, {"a": "x" * 200_000}, [1], "text"],
    ids=["object", "NaN", "bytes", "too long", "list", "str"],
)
def test_metadata_that_are_not_json(index: LocalIndex, metadata: Any) -> None:
    """Metadata of a schema that could not be read back are refused before anything is written."""
    with pytest.raises(SchemaError, match="metadata"):
        index.publish_schema(Outer, metadata=metadata)
    assert list(index.list_schemas()) == []


def test_what_is_too_large_to_read_back(index: LocalIndex) -> None:
    """A description or a class name beyond the limits is refused."""
    with pytest.raises(SchemaError, match="description"):
        index.publish_schema(Digit, description="x" * 10_001)
    with pytest.raises(SchemaError, match="characters"):
        index.publish_schema(atdata.Schema("X" * 600, "1.0.0", atdata.schema_of(Digit).fields))
    assert list(index.list_schemas()) == []


def test_schemas_that_are_not_there(index: LocalIndex) -> None:
    """The error for an unknown schema says which versions or classes there are."""
    index.publish_schema(Digit, version="1.0.0")
    index.publish_schema(Digit, version="1.2.0")
    with pytest.raises(SchemaNotFoundError, match=r"versions of Digit: 1\.0\.0, 1\.2\.0"):
        index.get_schema("atdata://local/sampleSchema/Digit@2.0.0")
    with pytest.raises(SchemaNotFoundError, match="Did you mean 'Digit'"):
        index.get_schema("atdata://local/sampleSchema/Digits@1.0.0")
    with pytest.raises(SchemaNotFoundError, match="of the network"):
        index.get_schema("at://did:plc:abc/ac.foundation.dataset.sampleSchema/x")
    with pytest.raises(SchemaRefError, match="has no version"):
        index.get_schema("atdata://local/sampleSchema/Digit")


def test_publishing_at_once(index: LocalIndex) -> None:
    """Threads that publish versions of one class at once get one version for each set of fields."""
    types = [thing(a=int, **{f"f{n}": int}) for n in range(4)] * 2
    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(index.publish_schema, types))
    published = {record.ref: record["fields"] for record in index.list_schemas()}
    for sample_type, ref in zip(types, refs, strict=True):
        names = [field["name"] for field in published[ref]]
        assert names == list(atdata.schema_of(sample_type).field_names)
    assert len({repr(fields) for fields in published.values()}) == 4
