"""Many records at once, as programs publish them, without what publishing checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from atdata.atmosphere import AtmosphereClient
from atdata.atproto.xrpc import Body
from atdata.testing.network import Account

DATASET = "ac.foundation.dataset.record"
SCHEMA = "ac.foundation.dataset.sampleSchema"
TIME = "2026-01-31T12:00:00Z"


def logged_in(account: Account) -> AtmosphereClient:
    """A client of an account."""
    client = AtmosphereClient(account.server_url)
    client.login(account.handle, account.password)
    return client


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
