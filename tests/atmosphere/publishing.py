"""Publishing shards by keywords; and many records at once, without what publishing checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from atdata._shardlist import ShardInfo
from atdata.atmosphere import AtmosphereClient, AtmosphereIndexEntry
from atdata.atmosphere.manifest import ObjectPlace
from atdata.atmosphere.publish import Publication
from atdata.atmosphere.publish import publish_dataset as publish
from atdata.atproto.xrpc import Body
from atdata.indexing.dataset_spec import DatasetSpec
from atdata.indexing.placement import PlacedShards
from atdata.testing.network import Account

DATASET = "ac.foundation.dataset.record"
SCHEMA = "ac.foundation.dataset.sampleSchema"
TIME = "2026-01-31T12:00:00Z"


def logged_in(account: Account) -> AtmosphereClient:
    """A client of an account."""
    client = AtmosphereClient(account.server_url)
    client.login(account.handle, account.password)
    return client


def publish_dataset(
    client: AtmosphereClient,
    *,
    name: str,
    schema_uri: str,
    shards: Sequence[ShardInfo],
    object_place: ObjectPlace | None = None,
    resend: Callable[[], Sequence[ShardInfo]] | None = None,
    **described: Any,
) -> AtmosphereIndexEntry:
    """Publish shards that are somewhere already."""
    spec = DatasetSpec(name, **described).checked()
    wanted = Publication(spec, schema_uri, PlacedShards(tuple(shards)), object_place=object_place)
    return publish(client, wanted, resend=resend)


def schema_record(name: str, version: str = "1.0.0") -> dict[str, Any]:
    """A schema with one field."""
    kind = {"$type": "ac.foundation.dataset.schemaType#primitive", "primitive": "str"}
    return {
        "$type": SCHEMA,
        "name": f"mine.{name}",
        "version": version,
        "fields": [{"name": "text", "fieldType": kind}],
        "createdAt": TIME,
    }


def dataset_record(did: str, name: str, description: str = "") -> dict[str, Any]:
    """A dataset of one shard, with metadata."""
    return {
        "$type": DATASET,
        "name": name,
        "schemaRef": f"at://{did}/{SCHEMA}/mine.A:1.0.0",
        "storage": {
            "$type": "ac.foundation.dataset.storageExternal",
            "urls": [f"https://data.example/{name}.tar"],
        },
        "description": description or "none",
        "tags": ["made"],
        "metadata": {"$bytes": "gaFhAQ"},
        "createdAt": TIME,
    }


def create(collection: str, rkey: str, value: dict[str, Any]) -> dict[str, Any]:
    """One write of `write_all`."""
    kind = "com.atproto.repo.applyWrites#create"
    return {"$type": kind, "collection": collection, "rkey": rkey, "value": value}


def update(collection: str, rkey: str, value: dict[str, Any]) -> dict[str, Any]:
    """One write of `write_all`."""
    kind = "com.atproto.repo.applyWrites#update"
    return {"$type": kind, "collection": collection, "rkey": rkey, "value": value}


def delete(collection: str, rkey: str) -> dict[str, Any]:
    """One write of `write_all`."""
    kind = "com.atproto.repo.applyWrites#delete"
    return {"$type": kind, "collection": collection, "rkey": rkey}


def write_all(client: AtmosphereClient, writes: Sequence[dict[str, Any]]) -> None:
    """Several writes in one commit."""
    call(client, "applyWrites", {"repo": client.did, "validate": False, "writes": list(writes)})


def call(
    client: AtmosphereClient, name: str, body: dict[str, Any] | None, of: str = "repo"
) -> None:
    """Call a method as the account that is logged in."""
    method = f"com.atproto.{of}.{name}"
    sent = None if body is None else Body.of_json(body)
    client._authorized(lambda home, token: home.procedure(method, sent, token=token))
