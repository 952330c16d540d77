"""Copies of the network's records in a local index, on every backend."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from atdata._shardlist import ShardInfo
from atdata.errors import DatasetNotFoundError, SchemaNotFoundError
from atdata.local import LocalIndex
from tests.local.conftest import MakeDigits

ALICE, BOB = "did:plc:" + "a" * 24, "did:plc:" + "b" * 24
DATASET, SCHEMA = "ac.foundation.dataset.record", "ac.foundation.dataset.sampleSchema"
TIME = datetime(2026, 1, 31, tzinfo=UTC)
RECORD = {
    "$type": SCHEMA,
    "name": "mine.A",
    "version": "1.0.0",
    "fields": [
        {
            "name": "a",
            "fieldType": {
                "$type": "ac.foundation.dataset.schemaType#primitive",
                "primitive": "int",
            },
        }
    ],
    "createdAt": "2026-01-31T12:00:00Z",
}


@dataclass(frozen=True)
class Entry:
    """What a record of the network says."""

    name: str = "cats"
    schema_ref: str = f"at://{ALICE}/{SCHEMA}/a"
    shards: tuple[ShardInfo, ...] = (ShardInfo("s3://bucket/a.tar", 3, 10, "0" * 64),)
    metadata: dict[str, Any] | None = None
    description: str | None = "Felines"
    tags: tuple[str, ...] = ("animals",)
    license: str | None = "MIT"
    endpoint: str | None = "https://s3.example"
    region: str | None = "eu"
    updated_at: datetime = TIME

    @property
    def data_urls(self) -> list[str]:
        """Not asked for."""
        return []


def test_a_copy_says_what_the_record_says(index: LocalIndex) -> None:
    """A copy is found by its URI, CID and words; kept again it replaces what there was."""
    uri, store = f"at://{ALICE}/{DATASET}/a", index.mirrored
    store.put_dataset(uri, Entry(), cid="bafy-one", owner="alice.test")
    entry = index.get_dataset(uri)
    assert (entry.title, entry.cid, entry.stranger) == ("@alice.test/cats", "bafy-one", True)
    assert (entry.shards, entry.endpoint, entry.created_at) == (
        Entry().shards,
        "https://s3.example",
        TIME,
    )
    assert [found.name for found in index.search("feline", license="MIT", schema="a")] == [uri]
    again = replace(Entry(), description="Lions", tags=())
    for _ in range(2):
        store.put_dataset(uri, again, cid="bafy-two", owner="alice.test")
    assert index.get_dataset(uri).description == "Lions"
    assert [found.revision for found in index.list_datasets()] == [1]
    assert index.search("feline") == index.search(tags=["animals"]) == []
    store.rename(ALICE, "new.test")
    assert index.get_dataset(uri).title == "@new.test/cats"
    assert [found.name for found in index.search("new test lions")] == [uri]
    store.remove(uri)
    store.remove(uri)
    with pytest.raises(DatasetNotFoundError):
        index.get_dataset(uri)
    assert index.search() == []


def test_schemas_of_copies(index: LocalIndex) -> None:
    """A mirrored schema is listed, read and built into a type without a network."""
    ref = f"at://{ALICE}/{SCHEMA}/a"
    with pytest.raises(SchemaNotFoundError):
        index.get_schema(ref)
    index.mirrored.put_schema(ref, RECORD)
    assert index.get_schema(ref) == RECORD
    assert [schema.ref for schema in index.list_schemas()] == [ref]
    sample: Any = index.decode_schema(ref)
    assert sample(a=3).a == 3
    index.mirrored.remove(ref)
    assert list(index.list_schemas()) == []


def test_copies_and_ones_own_stay_apart(index: LocalIndex, digits: MakeDigits) -> None:
    """What is known of one account, and one's own datasets, are not touched by another's end."""
    store = index.mirrored
    index.insert_dataset(digits(), name="at-home")
    for did in (ALICE, BOB):
        for key in "abc":
            store.put_dataset(f"at://{did}/{DATASET}/{key}", Entry(), cid=key, owner=did)
        store.put_schema(f"at://{did}/{SCHEMA}/a", RECORD)
        store.set_account(did, {"rev": "1"})
    assert len(store.uris()) == 8
    assert store.uris(ALICE) == [
        *(f"at://{ALICE}/{DATASET}/{k}" for k in "abc"),
        Entry().schema_ref,
    ]
    assert store.accounts() == [ALICE, BOB]
    for uri in store.uris(ALICE):
        store.remove(uri)
    store.set_account(ALICE, None)
    assert (store.uris(ALICE), store.accounts()) == ([], [BOB])
    assert (store.account(ALICE), store.account(BOB)) == (None, {"rev": "1"})
    assert len(store.uris(BOB)) == 4
    assert index.get_dataset("at-home").title is None
    assert len(list(index.list_datasets())) == 4


def test_cursors(index: LocalIndex) -> None:
    """The place in each server's stream is kept by itself, and can be forgotten."""
    store = index.mirrored
    assert store.cursor("https://a.example") is None
    store.set_cursor("https://a.example", 0)
    store.set_cursor("https://b.example", 7)
    store.set_cursor("https://a.example", 9)
    assert (store.cursor("https://a.example"), store.cursor("https://b.example")) == (9, 7)
    store.set_cursor("https://a.example", None)
    assert (store.cursor("https://a.example"), store.cursor("https://b.example")) == (None, 7)
