"""Records found by what their keys begin with."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from atdata._refs import DATASET_COLLECTION, SCHEMA_COLLECTION, is_rkey
from atdata._shardlist import ShardInfo
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex
from atdata.atmosphere.key_ranges import foreign_records, records_in
from atdata.atmosphere.record_keys import (
    OURS,
    dataset_range,
    dataset_rkey,
    label_range,
    label_rkey,
    lens_range,
    lens_rkey,
    schema_range,
    schema_rkey,
)
from atdata.testing.network import Account
from tests.atmosphere.conftest import Digit, Login
from tests.atmosphere.publishing import publish_dataset
from tests.services.proxy import FaultProxy

NAMES = st.text(min_size=1, max_size=300).filter(lambda s: s.isprintable() and s == s.strip())


@given(NAMES, NAMES)
def test_keys_of_a_name_are_a_range(one: str, other: str) -> None:
    """Keys of ours are legal, begin with their name's range, and lie in no other name's."""
    pairs = [
        (schema_range, schema_rkey(one, "1.0.0")),
        (dataset_range, dataset_rkey(one, "at://x", "content")),
        (label_range, label_rkey(one, "1.0.0")),
        (lambda name: lens_range(name, "at://b"), lens_rkey(one, "at://b", "lens")),
    ]
    for range_of, key in pairs:
        assert is_rkey(key)
        assert key.startswith(OURS)
        assert key.startswith(range_of(one))
        assert key.startswith(range_of(other)) == (one == other)
        assert key < f"{range_of(one)}{OURS}"


def put_foreign(client: AtmosphereClient, rkey: str) -> None:
    storage = {
        "$type": "ac.foundation.dataset.storageExternal",
        "urls": ["https://a.example/1.tar"],
    }
    value = {
        "$type": DATASET_COLLECTION,
        "name": "theirs",
        "schemaRef": f"at://{client.did}/{SCHEMA_COLLECTION}/x",
        "storage": storage,
        "createdAt": "2026-01-01T10:00:00Z",
    }
    client.put_record(DATASET_COLLECTION, rkey, value, replaces=None)


def test_others_keys_are_the_rest(index: AtmosphereIndex) -> None:
    """Whatever keys other tools choose, their records are found by name, and ours by range."""
    client = index.client
    shards = [ShardInfo("https://data.example/a.tar")]
    schema = index.publish_schema(Digit)
    for name in ("a", "a-", "a b", "aa"):
        publish_dataset(client, name=name, schema_uri=schema, shards=shards)
    keys = ["3k2yihcrp6f2c", "zzz", "a:b", "_x"]
    for key in keys:
        put_foreign(client, key)
    did = client.did
    for name in ("a", "a-", "a b", "aa"):
        found = records_in(client, did, DATASET_COLLECTION, dataset_range(name))
        assert [record.value["name"] for record in found] == [name]
    theirs = foreign_records(client, did, DATASET_COLLECTION)
    assert {record.uri.rkey for record in theirs} == set(keys)
    assert index.get_dataset("theirs").name == "theirs"


def test_a_server_whose_cursors_are_no_keys(
    index: AtmosphereIndex,
    login: Login,
    account: Account,
    proxy_to: Callable[[str], FaultProxy],
) -> None:
    """Where a server refuses a key as a cursor, everything is listed, and found all the same."""
    schema = index.publish_schema(Digit)
    shards = [ShardInfo("https://data.example/a.tar")]
    entry = publish_dataset(index.client, name="a", schema_uri=schema, shards=shards)
    put_foreign(index.client, "3k2yihcrp6f2c")
    proxy = proxy_to(account.server_url)
    body = b'{"error":"InvalidRequest","message":"Malformed cursor"}'
    proxy.answer(400, times=None, match=r"listRecords.*cursor=[^&]*~(&|$)", body=body)
    through = AtmosphereIndex(login(proxy.url))
    assert through.get_dataset("a").uri == entry.uri
    assert through.get_dataset("theirs").name == "theirs"
    assert through.publish_schema(Digit) == schema
