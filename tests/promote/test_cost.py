"""What a promotion and a lookup cost does not depend on how much the account holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from atdata._refs import DATASET_COLLECTION, SCHEMA_COLLECTION
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.atmosphere.record_keys import dataset_rkey, schema_rkey
from atdata.atproto.xrpc import Body, XrpcServer
from atdata.local import LocalDatasetEntry, LocalIndex
from atdata.promote import plan_promotion, promote_to_atmosphere
from atdata.testing.network import Account, Network
from tests.services.proxy import FaultProxy

pytestmark = pytest.mark.filterwarnings("ignore:.*is on this machine")
TIME = "2026-01-01T10:00:00.000000Z"


def fill(client: AtmosphereClient, first: int, last: int) -> None:
    """Write schemas and datasets of these numbers, as publishing them would."""
    writes = [write for n in range(first, last) for write in _records(client.did, n)]
    _apply(client, writes)


def _apply(client: AtmosphereClient, writes: list[dict[str, Any]]) -> None:
    token = client.session_string.split(":::")[2]
    for start in range(0, len(writes), 200):
        body = Body.of_json({"repo": client.did, "writes": writes[start : start + 200]})
        XrpcServer(client.server).procedure("com.atproto.repo.applyWrites", body, token=token)


def _records(did: str, n: int) -> Iterator[dict[str, Any]]:
    schema = f"other.Sample{n}"
    uri = f"at://{did}/{SCHEMA_COLLECTION}/{schema_rkey(schema, '1.0.0')}"
    field = {
        "name": "label",
        "fieldType": {
            "$type": "ac.foundation.dataset.schemaType#primitive",
            "primitive": "int",
        },
        "optional": False,
    }
    yield _create(
        SCHEMA_COLLECTION,
        schema_rkey(schema, "1.0.0"),
        {"name": schema, "version": "1.0.0", "fields": [field]},
    )
    storage = {
        "$type": "ac.foundation.dataset.storageExternal",
        "urls": [f"https://data.example/{n}.tar"],
    }
    yield _create(
        DATASET_COLLECTION,
        dataset_rkey(f"dataset {n}", uri, str(n)),
        {"name": f"dataset {n}", "schemaRef": uri, "storage": storage},
    )


def _create(collection: str, rkey: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        "$type": "com.atproto.repo.applyWrites#create",
        "collection": collection,
        "rkey": rkey,
        "value": {"$type": collection, **value, "createdAt": TIME},
    }


def fill_as_others(client: AtmosphereClient, first: int, last: int) -> None:
    """Write schemas and datasets under keys that the server chooses, as other tools do."""
    writes = [write for n in range(first, last) for write in _records(client.did, n)]
    for write in writes:
        del write["rkey"]
    _apply(client, writes)


@pytest.fixture
def counted(
    account: Account, at_home: Network, proxy_to: Callable[[str], FaultProxy]
) -> tuple[FaultProxy, AtmosphereClient]:
    """What counts the requests of a client, and that client, logged in."""
    proxy = proxy_to(at_home.servers[0].url)
    through = AtmosphereClient(proxy.url)
    through.login(account.handle, account.password)
    return proxy, through


@pytest.mark.parametrize("step", ["promote", "publish"])
def test_records_of_other_tools_are_listed_once(
    step: str,
    client: AtmosphereClient,
    counted: tuple[FaultProxy, AtmosphereClient],
    local: LocalIndex,
    entry: LocalDatasetEntry,
) -> None:
    """A schema that is new costs one listing of the schemas of other tools, and no more."""
    proxy, through = counted
    fill_as_others(client, 0, 250)
    before = len(proxy.requests)
    if step == "promote":
        promote_to_atmosphere(entry, local, through, data_store=PDSBlobStore(through))
    else:
        AtmosphereIndex(through).publish_schema(local.decode_schema(entry.schema_ref))
    asked = [str(request) for request in proxy.requests[before:]]
    of_schemas = [r for r in asked if "listRecords" in r and f"collection={SCHEMA_COLLECTION}" in r]
    # Three pages, one more that is empty, and one that is asked for ours alone.
    assert len(of_schemas) <= 5, of_schemas
    assert len(asked) < 28


def test_a_promotion_asks_once_for_what_its_plan_found(
    counted: tuple[FaultProxy, AtmosphereClient], local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """With shards that stay where they are, promoting asks what planning asks, and then writes."""
    proxy, through = counted
    urls = [f"https://data.example/{n}.tar" for n in range(3)]
    away = LocalDatasetEntry("away", entry.schema_ref, data_urls=urls)

    def reads(step: Callable[[], object]) -> list[str]:
        before = len(proxy.requests)
        step()
        asked = proxy.requests[before:]
        return [f"{r.method} {r.path.partition('?')[0]}" for r in asked if r.method == "GET"]

    planned = reads(lambda: plan_promotion(away, local, through))
    assert reads(lambda: promote_to_atmosphere(away, local, through)) == planned


def test_two_thousand_records_cost_no_more_than_ten(
    client: AtmosphereClient,
    counted: tuple[FaultProxy, AtmosphereClient],
    local: LocalIndex,
    entry: LocalDatasetEntry,
) -> None:
    """Plan, promotion, dedupe and lookup send as many requests with 2,000 records as with 10."""
    proxy, through = counted
    index, blobs = AtmosphereIndex(through), PDSBlobStore(through)

    def requests(step: Callable[[], object]) -> int:
        before = len(proxy.requests)
        step()
        return len(proxy.requests) - before

    def costs(name: str) -> dict[str, int]:
        arguments: dict[str, Any] = {"name": name, "data_store": blobs}
        return {
            "plan": requests(lambda: plan_promotion(entry, local, through, **arguments)),
            "promote": requests(lambda: promote_to_atmosphere(entry, local, through, **arguments)),
            "again": requests(lambda: promote_to_atmosphere(entry, local, through, **arguments)),
            "lookup": requests(lambda: index.get_dataset(name)),
            "by handle": requests(lambda: index.get_dataset(f"@{through.did}/{name}@1.0.0")),
            "schema": requests(lambda: index.publish_schema(local.schema_of_ref(entry.schema_ref))),
        }

    # The schema and the blobs are there from now on, in both measurements.
    promote_to_atmosphere(entry, local, through, name="first", data_store=blobs)
    fill(client, 0, 10)
    few = costs("few")
    fill(client, 10, 2_000)
    assert costs("many") == few
    assert max(few.values()) < 25, few
    assert index.get_dataset("dataset 1999").shards[0].url == "https://data.example/1999.tar"
