"""Schemas as records, and untrusted records."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata._limits import limits
from atdata.errors import AtmosphereError, SchemaError
from atdata.samples.kinds import (
    Array,
    Choice,
    ClassLabel,
    DateTime,
    Encoded,
    Field,
    JsonValue,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Primitive,
    Unknown,
)
from atdata.schema.alt_record import to_alt_record
from atdata.schema.build import build_type
from atdata.schema.model import Schema
from atdata.schema.record import from_record, to_record
from atdata.schema.reflect import schema_of
from atdata.testing.strategies import sample_types, schemas
from tests.schema.refs import Shelf
from tests.schema.test_reflect import Everything

KIND = "ac.foundation.dataset.schemaType"


def prim(name: str, **more: Any) -> dict[str, Any]:
    return {"$type": f"{KIND}#primitive", "primitive": name, **more}


def record_of(*kinds: Any, **more: Any) -> dict[str, Any]:
    fields = [{"name": f"f{i}", "fieldType": k, "optional": False} for i, k in enumerate(kinds)]
    return {"name": "lab.Thing", "version": "1.0.0", "fields": fields, **more}


def read(record: Any) -> Schema:
    return from_record(record, Shelf().resolve)


def kind_read(kind: Any) -> Any:
    return read(record_of(kind)).fields[0].kind


@given(schemas())
def test_a_schema_reads_back_from_its_record(schema: Schema) -> None:
    """Schema → record → JSON text → record → schema changes nothing, descriptions included."""
    shelf = Shelf()
    ref = shelf.publish(schema)
    shelf.records = json.loads(json.dumps(shelf.records))
    back = shelf.resolve(ref)
    assert back == schema
    assert str(back) == str(schema)
    assert (back.description, back.metadata) == (schema.description, schema.metadata)
    assert [f.description for f in back.fields] == [f.description for f in schema.fields]


@given(sample_types())
def test_a_type_survives_being_published(sample_type: type) -> None:
    """Type → schema → record → schema → type gives the very same class."""
    shelf = Shelf()
    ref = shelf.publish(schema_of(sample_type))
    assert build_type(shelf.resolve(ref)) is sample_type


def test_a_record_has_the_published_form() -> None:
    """The record has the keys that other programs look for, and extra ones for what is ours."""
    shelf = Shelf()
    record = to_record(schema_of(Everything, description="all"), shelf.ref_of)
    kinds = {f["name"]: f["fieldType"] for f in record["fields"]}
    assert record["$type"] == "ac.foundation.dataset.sampleSchema"
    assert record["name"].endswith("test_reflect.Everything")
    assert record["version"] == "1.0.0"
    assert record["description"] == "all"
    assert "createdAt" not in record
    assert kinds["text"] == prim("str")
    assert kinds["image"] == {"$type": f"{KIND}#ndarray", "dtype": "uint8"}
    assert kinds["anything"] == {"$type": f"{KIND}#ndarray", "dtype": "any"}
    assert kinds["points"] == {"$type": f"{KIND}#ndarray", "dtype": "float64", "shape": [None, 3]}
    assert kinds["boxes"]["items"] == {"$type": f"{KIND}#ref", "ref": next(iter(shelf.records))}
    assert kinds["named"]["values"]["items"] == prim("float", optional=True)
    assert kinds["when"] == prim("str", format="datetime")
    assert kinds["split"] == prim("str", enum=["train", "test"])
    assert [f["optional"] for f in record["fields"]] == [False] * 14 + [True]


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (prim("int"), Primitive("int")),
        (prim("str", format="uuid"), Primitive("str")),
        (prim("str", format="datetime"), DateTime()),
        (prim("str", enum=["a"]), Choice(("a",))),
        (prim("int", enum=[1]), Primitive("int")),
        ({"$type": f"{KIND}#ndarray", "dtype": "<f4", "shape": None}, Array("float32")),
        ({"$type": f"{KIND}#ndarray", "dtype": ">f4"}, Array(">f4")),
        (
            {"$type": f"{KIND}#array", "items": prim("int", optional=True)},
            ListOf(Maybe(Primitive("int"))),
        ),
        ({"$type": f"{KIND}#map", "values": prim("bytes")}, MapOf(Primitive("bytes"))),
    ],
)
def test_records_of_others_are_read(record: Any, kind: Any) -> None:
    """Every form that a record may have is read as its kind; keys we do not know are no error."""
    assert kind_read({**record, "later": 1}) == kind


@pytest.mark.parametrize(
    "record",
    [
        {"$type": f"{KIND}#tensor", "rank": 3},
        {"$type": "org.example.kind#complex"},
        {"$type": f"{KIND}#ndarray", "dtype": "bfloat17", "shape": [2]},
        {"$type": f"{KIND}#ndarray", "dtype": "O"},
        {"$type": f"{KIND}#ndarray", "dtype": "i4,(999999999,)f8"},
        prim("decimal", optional=True),
    ],
)
def test_unknown_kinds_are_kept_as_they_are(record: dict[str, Any]) -> None:
    """A kind of a later version does not stop the schema from being shown or passed on."""
    schema = read(record_of(record, prim("int")))
    assert isinstance(schema.fields[0].kind, Unknown)
    assert to_record(schema, Shelf().ref_of)["fields"][0]["fieldType"] == record


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": ""}, r"\$\.name"),
        ({"name": None}, r"\$\.name"),
        ({"name": "lab.a\nb"}, r"\$\.name"),
        ({"name": "x" * 600}, r"\$\.name"),
        ({"name": "lab.not a class"}, "name of a sample type"),
        ({"version": "1"}, r"\$\.version"),
        ({"version": None}, r"\$\.version"),
        ({"version": 1}, r"\$\.version"),
        ({"fields": {}}, r"\$\.fields"),
        ({"fields": [{}] * 1001}, "1,001 fields"),
        ({"fields": [1]}, r"\$\.fields\[0\]: expected an object, found 1"),
        ({"$type": "app.bsky.feed.post"}, r"\$\.\$type"),
        ({"description": 3}, r"\$\.description"),
        ({"description": "\ud800"}, r"\$\.description"),
        ({"metadata": [1]}, r"\$\.metadata"),
        ({"metadata": {"x": float("nan")}}, r"\$\.metadata"),
        ({"metadata": {"x": "y" * 200_000}}, r"\$\.metadata"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(change: dict[str, Any], path: str) -> None:
    """A record that makes no sense says where."""
    with pytest.raises(SchemaError, match=path):
        read({**record_of(prim("int")), **change})


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (None, r"fieldType: expected an object"),
        ({}, r"fieldType\.\$type"),
        (prim(3), r"fieldType\.primitive"),  # type: ignore[arg-type]
        (prim("str", enum=[]), r"fieldType\.enum"),
        (prim("str", enum=["a", "a"]), r"fieldType\.enum\[1\]"),
        (prim("str", enum=[1]), r"fieldType\.enum\[0\]"),
        (prim("str", optional=1), r"fieldType\.optional"),
        ({"$type": f"{KIND}#ndarray"}, r"fieldType\.dtype"),
        ({"$type": f"{KIND}#ndarray", "dtype": "int8", "shape": [-1]}, r"fieldType\.shape\[0\]"),
        ({"$type": f"{KIND}#ndarray", "dtype": "int8", "shape": [True]}, r"shape\[0\]"),
        ({"$type": f"{KIND}#ndarray", "dtype": "int8", "shape": [1] * 99}, r"fieldType\.shape"),
        ({"$type": f"{KIND}#array"}, r"fieldType\.items"),
        ({"$type": f"{KIND}#array", "items": {"$type": f"{KIND}#map"}}, r"items\.values"),
        ({"$type": f"{KIND}#ref", "ref": 1}, r"fieldType\.ref"),
        ({"$type": f"{KIND}#ref", "ref": "file:///etc/passwd"}, r"fieldType\.ref"),
        ({"$type": f"{KIND}#ref", "ref": "at://did:plc:x/a.b.c/gone"}, r"fieldType\.ref.*shelf"),
        ({"$type": "x#" + "y" * 600}, r"fieldType\.\$type"),
    ],
)
def test_what_is_wrong_in_a_kind_is_named_by_its_path(kind: Any, path: str) -> None:
    """So does a field of it."""
    with pytest.raises(SchemaError, match=rf"\$\.fields\[1\]\..*{path.split('fieldType')[-1]}"):
        read(record_of(prim("int"), kind))


def test_a_field_twice_is_refused() -> None:
    """Two fields of one name make no sense."""
    record = record_of(prim("int"))
    record["fields"] *= 2
    with pytest.raises(SchemaError, match="twice"):
        read(record)


def ref_record(ref: str) -> dict[str, Any]:
    return {"$type": f"{KIND}#ref", "ref": ref}


def uri(name: object) -> str:
    return f"at://did:plc:abc/ac.foundation.dataset.sampleSchema/{name}"


def test_schemas_that_contain_one_another_are_refused() -> None:
    """A circle of references ends in an error, not in endless fetching."""
    shelf = Shelf()
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        shelf.records[uri(name)] = record_of(ref_record(uri(other)))
    with pytest.raises(SchemaError, match="back to itself"):
        shelf.resolve(uri("a"))
    assert len(shelf.asked) < 10


def test_a_long_chain_of_schemas_is_refused() -> None:
    """So does a chain of references beyond 32."""
    shelf = Shelf()
    for i in range(100):
        shelf.records[uri(i)] = record_of(ref_record(uri(i + 1)))
    with pytest.raises(SchemaError, match="32 deep"):
        shelf.resolve(uri(0))
    assert len(shelf.asked) < 40


def test_many_schemas_behind_one_are_refused() -> None:
    """A record cannot make a reader fetch thousands of others."""
    shelf = Shelf()
    for i in range(1000):
        shelf.records[uri(i)] = record_of(prim("int"))
    with pytest.raises(SchemaError, match=f"more than {limits.references}"):
        from_record(record_of(*(ref_record(uri(i)) for i in range(1000))), shelf.resolve)
    assert len(shelf.asked) <= limits.references


def test_schemas_that_multiply_are_refused() -> None:
    """Few records that stand for millions of fields are refused before the fields are made."""
    shelf = Shelf()
    shelf.records[uri(0)] = record_of(prim("int"))
    for i in range(1, 20):
        shelf.records[uri(i)] = record_of(*[ref_record(uri(i - 1))] * 50)
    with pytest.raises(SchemaError, match="10,000"):
        shelf.resolve(uri(19))
    assert len(shelf.asked) == 20


def test_a_schema_is_asked_for_once() -> None:
    """A nested type that many fields have is fetched once."""
    shelf = Shelf()
    shelf.records[uri("box")] = record_of(prim("int"))
    schema = from_record(record_of(*[ref_record(uri("box"))] * 30), shelf.resolve)
    assert shelf.asked == [uri("box")]
    assert len(schema.fields) == 30


def test_a_kind_nested_too_deep_is_refused() -> None:
    """Lists of lists of lists end in an error, not in a full stack."""
    kind: dict[str, Any] = prim("int")
    for _ in range(5000):
        kind = {"$type": f"{KIND}#array", "items": kind}
    with pytest.raises(SchemaError, match="32 deep"):
        read(record_of(kind))


def test_a_network_that_fails_is_not_a_bad_schema() -> None:
    """Where the network fails while a nested schema is fetched, the error says that."""

    def unreachable(ref: str) -> Schema:
        raise AtmosphereError("the server does not answer")

    with pytest.raises(AtmosphereError):
        from_record(record_of(ref_record(uri("x"))), unreachable)
    assert read(record_of(prim("int"))).fields == (Field("f0", Primitive("int")),)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["str", "float32", "1.0.0", "any", uri("a"), f"{KIND}#array", f"{KIND}#ref"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=4)
            | st.sampled_from(
                ["$type", "name", "items", "values", "ref", "dtype", "shape", "enum"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_a_schema_or_a_schema_error(record: Any) -> None:
    """Any record gives a type or a SchemaError."""
    with suppress(SchemaError):
        build_type(read(record))


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A good record with one value in it replaced by any JSON."""
    shelf = Shelf()
    shelf.publish(draw(schemas(depth=1, min_fields=1)))
    records = list(shelf.records.values())
    record: Any = copy.deepcopy(records[-1])
    spot = record
    while True:
        keys = list(spot) if isinstance(spot, dict) else list(range(len(spot)))
        if not keys:
            return record
        key = draw(st.sampled_from(keys))
        deeper = spot[key]
        if not isinstance(deeper, (dict, list)) or draw(st.booleans()):
            spot[key] = draw(JSON)
            return record
        spot = deeper


@settings(max_examples=200)
@given(damaged())
def test_a_damaged_record_is_a_schema_or_a_schema_error(record: Any) -> None:
    """So does any record with any one value replaced."""
    with suppress(SchemaError):
        build_type(read(record))


NAMED = [
    (Encoded("image"), {"$type": f"{KIND}#image"}),
    (Encoded("audio"), {"$type": f"{KIND}#audio"}),
    (JsonValue(), {"$type": f"{KIND}#json"}),
    (ClassLabel("cat", "dog"), {"$type": f"{KIND}#classLabel", "names": ["cat", "dog"]}),
]


@pytest.mark.parametrize(("kind", "form"), NAMED, ids=lambda value: str(value)[:30])
def test_kinds_that_have_a_name_of_their_own(kind: Kind, form: dict[str, Any]) -> None:
    """A kind that older readers do not know has a type that they do not know either."""
    schema = Schema("lab.Thing", "1.0.0", (Field("f", kind),))
    written = to_record(schema, Shelf().ref_of)
    assert written["fields"][0]["fieldType"] == form
    assert kind_read({**form, "later": 1}) == kind
    alt = to_alt_record(schema)["schema"]
    [name] = alt["$defs"]
    keys = {key: value for key, value in form.items() if key != "$type"}
    assert alt["properties"] == {"f": {"$ref": f"#/$defs/{name}", **keys}}
    assert name == f"atdata-{form['$type'].rpartition('#')[2]}"


@pytest.mark.parametrize(
    "names",
    [None, "cat", [], [1], ["a", "a"], [""], ["a"] * 200_000, {"a": 1}],
    ids=lambda names: str(names)[:20],
)
def test_names_of_classes_that_make_no_sense(names: Any) -> None:
    """Names in a record may be untrusted: wrong ones are an error with their path."""
    with pytest.raises(SchemaError, match=r"\$\.fields\[0\]\.fieldType\.names"):
        read(record_of({"$type": f"{KIND}#classLabel", "names": names}))
