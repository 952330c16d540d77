"""Schemas on the network."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from atdata._refs import SCHEMA_COLLECTION
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex
from atdata.atmosphere.schemas import publish_schema
from atdata.errors import (
    AtdataWarning,
    RecordError,
    SchemaConflictError,
    SchemaError,
    SchemaNotFoundError,
    SchemaRefError,
    UnknownKindError,
)
from atdata.samples.packable import packable
from atdata.schema.reflect import schema_of
from atdata.testing.network import Network
from tests.atmosphere.conftest import Digit
from tests.atmosphere.raw import write_raw

PRIMITIVE = "ac.foundation.dataset.schemaType#primitive"


@packable
class Inner:
    """Inside another."""

    width: int


@packable
class Outer:
    """With two of the same inside."""

    first: Inner
    rest: list[Inner]


def record(name: str, version: str, *fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "$type": SCHEMA_COLLECTION,
        "name": name,
        "version": version,
        "fields": list(fields),
        "createdAt": "2026-11-21T10:00:00Z",
    }


def field(name: str, primitive: str = "int") -> dict[str, Any]:
    kind = {"$type": PRIMITIVE, "primitive": primitive}
    return {"name": name, "fieldType": kind, "optional": False}


def test_the_uri_is_readable(index: AtmosphereIndex) -> None:
    """The URI of a schema ends in its name and version."""
    uri = index.publish_schema(Digit, version="1.0.0")
    assert uri.endswith(f"{SCHEMA_COLLECTION}/~{Digit.__module__}.Digit:1.0.0")


def test_many_at_once_make_one(index: AtmosphereIndex) -> None:
    """Many that publish the same schema at once make one record, with and without version."""
    with ThreadPoolExecutor(8) as pool:
        versions = ["1.0.0", None] * 4
        uris = list(pool.map(lambda v: index.publish_schema(Digit, version=v), versions))
    assert len(set(uris)) == 1
    assert len(list(index.list_schemas())) == 1


def test_many_other_fields_at_once_make_versions(index: AtmosphereIndex) -> None:
    """Many that publish other fields under one name at once each get a version of their own."""

    def variant(number: int) -> type:
        annotations = {"label": int, f"field{number}": int}
        made = type("Thing", (), {"__annotations__": annotations, "__module__": __name__})
        return packable(made)

    with ThreadPoolExecutor(4) as pool:
        uris = list(pool.map(lambda n: index.publish_schema(variant(n)), range(4)))
    versions = sorted(index.get_schema(uri)["version"] for uri in uris)
    assert versions == ["1.0.0", "2.0.0", "3.0.0", "4.0.0"]


def test_found_under_another_tools_key(index: AtmosphereIndex) -> None:
    """A schema that another tool published is found by name and version, whatever its key."""
    value = record(f"{__name__}.Inner", "1.0.0", field("width"))
    there = index.client.put_record(SCHEMA_COLLECTION, "3k2yihcrp6f2c", value, replaces=None)
    assert index.publish_schema(Inner, version="1.0.0") == str(there.uri)
    assert index.publish_schema(Inner) == str(there.uri)
    assert len(list(index.list_schemas())) == 1


def test_conflict_under_another_tools_key(index: AtmosphereIndex) -> None:
    """A published schema with other fields is a conflict, and nothing is published."""
    value = record(f"{__name__}.Inner", "1.0.0", field("height"))
    index.client.put_record(SCHEMA_COLLECTION, "3k2yihcrp6f2c", value, replaces=None)
    with pytest.raises(SchemaConflictError, match="height"):
        index.publish_schema(Inner, version="1.0.0")
    assert len(list(index.list_schemas())) == 1


def test_a_key_that_is_taken_by_something_else(index: AtmosphereIndex) -> None:
    """A record that stands where the schema would go is not overwritten."""
    client = index.client
    key = f"~{__name__}.Inner:1.0.0"
    there = client.put_record(SCHEMA_COLLECTION, key, record("x.Y", "1.0.0"), replaces=None)
    with pytest.raises(OSError, match="something else"):
        publish_schema(client, schema_of(Inner))
    assert client.get_record(there.uri).cid == there.cid


def test_nested_ones_are_published_first(index: AtmosphereIndex) -> None:
    """A nested sample's schema is a record of its own, published once, and read back."""
    uri = index.publish_schema(Outer)
    assert len(list(index.list_schemas())) == 2
    assert index.schema_of_ref(uri) == schema_of(Outer)
    assert index.publish_schema(index.decode_schema(uri)) == uri


def test_of_another_account(index: AtmosphereIndex, at_home: Network) -> None:
    """Another account's schema is read from its server, its nested ones too, without a login."""
    uri = index.publish_schema(Outer)
    stranger = AtmosphereIndex(AtmosphereClient(at_home.servers[1].url))
    assert stranger.schema_of_ref(uri) == schema_of(Outer)
    assert [r["name"] for r in stranger.list_schemas(index.client.handle)] == [
        r["name"] for r in index.list_schemas()
    ]


def test_a_schema_nested_in_another_account(index: AtmosphereIndex, at_home: Network) -> None:
    """A schema may refer to one of another account."""
    bob = at_home.create_account(server=1)
    other = AtmosphereClient(bob.server_url)
    other.login(bob.handle, bob.password)
    inner = AtmosphereIndex(other).publish_schema(Inner)
    kind = {"$type": "ac.foundation.dataset.schemaType#ref", "ref": inner}
    value = record("m.Mixed", "1.0.0", {"name": "box", "fieldType": kind, "optional": False})
    uri = str(index.client.put_record(SCHEMA_COLLECTION, "mixed", value, replaces=None).uri)
    sample_type: Any = index.decode_schema(uri)
    assert sample_type.from_data({"box": {"width": 3}}).box.width == 3


def test_one_that_refers_to_itself(index: AtmosphereIndex) -> None:
    """A schema that leads back to itself is refused, not followed."""
    uri = f"at://{index.client.did}/{SCHEMA_COLLECTION}/circle"
    kind = {"$type": "ac.foundation.dataset.schemaType#ref", "ref": uri}
    value = record("m.Circle", "1.0.0", {"name": "again", "fieldType": kind, "optional": True})
    index.client.put_record(SCHEMA_COLLECTION, "circle", value, replaces=None)
    with pytest.raises(SchemaError, match="refers back"):
        index.decode_schema(uri)


def test_a_reference_into_a_local_index(index: AtmosphereIndex) -> None:
    """A record that refers to a schema of somebody's local index is refused with its path."""
    local = "atdata://local/sampleSchema/Inner@1.0.0"
    kind = {"$type": "ac.foundation.dataset.schemaType#ref", "ref": local}
    value = record("m.Odd", "1.0.0", {"name": "box", "fieldType": kind, "optional": False})
    uri = str(write_raw(index.client, SCHEMA_COLLECTION, "odd", value).uri)
    with pytest.raises(SchemaError, match=r"\$\.fields\[0\]\.fieldType\.ref"):
        index.decode_schema(uri)


def test_kinds_of_the_future(index: AtmosphereIndex) -> None:
    """A kind that this version does not know is an error that names DictSample."""
    kind = {"$type": "ac.foundation.dataset.schemaType#tensor9"}
    value = record("m.New", "1.0.0", {"name": "x", "fieldType": kind, "optional": False})
    uri = str(index.client.put_record(SCHEMA_COLLECTION, "new", value, replaces=None).uri)
    with pytest.raises(UnknownKindError, match="DictSample"):
        index.decode_schema(uri)


def test_nonsense_is_named(index: AtmosphereIndex) -> None:
    """A record that is no schema is an error with its URI."""
    client = index.client
    value = {"$type": SCHEMA_COLLECTION, "name": "m.X"}
    half = write_raw(client, SCHEMA_COLLECTION, "half", value)
    with pytest.raises(SchemaError, match=r"half: \$\.version"):
        index.decode_schema(str(half.uri))
    # It is not in the way of publishing.
    assert index.publish_schema(Inner) == index.publish_schema(Inner, version="1.0.0")


@pytest.mark.parametrize(
    "ref",
    [
        "Inner@1.0.0",
        "atdata://local/sampleSchema/Inner@1.0.0",
        "at://did:plc:x/ac.foundation.dataset.record/x",
        "at://did:plc:x",
        "https://schema.example",
    ],
)
def test_what_is_no_schema_ref(at_home: Network, ref: str) -> None:
    """What is not the AT URI of a schema is refused without asking anyone."""
    with pytest.raises(SchemaRefError):
        AtmosphereIndex(AtmosphereClient()).get_schema(ref)


def test_missing(index: AtmosphereIndex) -> None:
    """A schema that is not there is a KeyError with its URI."""
    ref = f"at://{index.client.did}/{SCHEMA_COLLECTION}/nothing"
    with pytest.raises(SchemaNotFoundError, match=ref):
        index.decode_schema(ref)


def test_metadata_without_floats(index: AtmosphereIndex) -> None:
    """Metadata of a schema travel along; a float in them is refused before anything is sent."""
    uri = index.publish_schema(Inner, description="A width.", metadata={"unit": "mm"})
    assert index.get_schema(uri)["metadata"] == {"unit": "mm"}
    with pytest.raises(RecordError, match="no floats"):
        index.publish_schema(Digit, metadata={"scale": 0.5})
    assert len(list(index.list_schemas())) == 1


def test_a_class_of_a_notebook_is_published_with_a_warning(index: AtmosphereIndex) -> None:
    """Its name is `__main__.…`, which tells nobody whose it is. Others warn of nothing."""
    body = {"__annotations__": {"x": int}, "__module__": "__main__"}
    sample_type: type[Any] = packable(type("Notebook", (), body))
    with pytest.warns(AtdataWarning, match=r"__main__\.Notebook: .*in a module of its own"):
        ref = index.publish_schema(sample_type)
    assert schema_of(index.decode_schema(ref)).name == "__main__.Notebook"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index.publish_schema(Inner)
