"""Publishing a dataset: once, twice, at once, and with everything going wrong."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from atdata._refs import DATASET_COLLECTION
from atdata._shardlist import ShardInfo
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, AtmosphereIndexEntry
from atdata.errors import AtmosphereError, NoDataUrlsError, RecordError
from atdata.testing.network import Account
from tests.atmosphere.conftest import Digit, Login
from tests.atmosphere.publishing import publish_dataset
from tests.atmosphere.raw import write_raw
from tests.services.proxy import FaultProxy

SHARDS = [ShardInfo(f"https://data.example/a-{i:06d}.tar", 3, 1024, f"{i:064x}") for i in range(3)]
ProxyTo = Callable[[str], FaultProxy]


@pytest.fixture
def schema_uri(index: AtmosphereIndex) -> str:
    return index.publish_schema(Digit)


def publish(client: AtmosphereClient, schema_uri: str, **said: Any) -> AtmosphereIndexEntry:
    arguments = {"name": "digits", "schema_uri": schema_uri, "shards": SHARDS, **said}
    return publish_dataset(client, **arguments)


def uris(client: AtmosphereClient) -> list[str]:
    return [str(record.uri) for record in client.list_records(client.did, DATASET_COLLECTION)]


def test_twice_is_once(client: AtmosphereClient, schema_uri: str) -> None:
    """The same again changes nothing: same URI, same CID, one record."""
    first = publish(client, schema_uri, description="What.", tags=["a"], metadata={"a": 0.5})
    again = publish(client, schema_uri, description="What.", tags=["a"], metadata={"a": 0.5})
    assert again == first
    assert uris(client) == [first.uri]


def test_what_is_said_changes_in_place(client: AtmosphereClient, schema_uri: str) -> None:
    """Another description keeps the URI; what is not said stays; an empty one goes."""
    first = publish(client, schema_uri, description="Old.", tags=["a"], license="MIT")
    second = publish(client, schema_uri, description="New.")
    assert (second.uri, second.description) == (first.uri, "New.")
    assert (second.tags, second.license) == (("a",), "MIT")
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    third = publish(client, schema_uri, description="", tags=[])
    assert (third.description, third.tags, third.license) == (None, (), "MIT")
    assert uris(client) == [first.uri]


def test_moved_data_keep_their_uri(client: AtmosphereClient, schema_uri: str) -> None:
    """The same bytes under other URLs are the same dataset, which then names the new ones."""
    first = publish(client, schema_uri)
    moved = [shard.at(shard.url.replace("data", "mirror")) for shard in SHARDS]
    second = publish(client, schema_uri, shards=moved)
    assert second.uri == first.uri
    assert list(second.shards) == moved


def test_other_content_is_another_record(client: AtmosphereClient, schema_uri: str) -> None:
    """Other content, name or schema is another record; the old one stays."""
    first = publish(client, schema_uri)
    others = [
        publish(client, schema_uri, shards=SHARDS[:2]),
        publish(client, schema_uri, name="Digits"),
        publish(client, f"{schema_uri}x"),
    ]
    assert len({first.uri, *(other.uri for other in others)}) == 4
    assert client.get_record(first.uri).cid == first.cid


def test_many_at_once_make_one(client: AtmosphereClient, schema_uri: str) -> None:
    """Many that publish the same at once make one record."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: publish(client, schema_uri), range(8)))
    assert len({entry.uri for entry in made}) == 1
    assert uris(client) == [made[0].uri]


def _in_process(session: str, schema_uri: str, number: int, results: Any) -> None:
    client = AtmosphereClient()
    client.login_with_session(session)
    results.put((os.getpid(), publish(client, schema_uri, description=f"From {number}.").uri))


def test_processes_at_once_make_one(client: AtmosphereClient, schema_uri: str) -> None:
    """Processes that publish the same with other words at once make one record."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    running = [
        context.Process(target=_in_process, args=(client.session_string, schema_uri, n, results))
        for n in range(3)
    ]
    for process in running:
        process.start()
    made = [results.get(timeout=60) for _ in running]
    for process in running:
        process.join()
    assert len({pid for pid, _ in made}) == 3
    assert uris(client) == [made[0][1]]


def test_a_lost_answer(login: Login, account: Account, proxy_to: ProxyTo, schema_uri: str) -> None:
    """When the answer to the writing is lost, the record is written once all the same."""
    proxy = proxy_to(account.server_url)
    client = login(proxy.url)
    proxy.cut(after=5, match="putRecord")
    entry = publish(client, schema_uri)
    assert uris(client) == [entry.uri]


def test_a_server_that_fails_leaves_nothing(
    login: Login, account: Account, proxy_to: ProxyTo, schema_uri: str
) -> None:
    """A server that refuses leaves no record, and the same call succeeds later."""
    proxy = proxy_to(account.server_url)
    client = login(proxy.url)
    proxy.answer(400, match="putRecord", body=b'{"error":"Nope","message":"Not today"}')
    with pytest.raises(AtmosphereError, match="Nope: Not today"):
        publish(client, schema_uri)
    assert uris(client) == []
    entry = publish(client, schema_uri)
    assert uris(client) == [entry.uri]


def test_no_shards(client: AtmosphereClient, schema_uri: str) -> None:
    """A dataset without shards is not published."""
    with pytest.raises(NoDataUrlsError):
        publish(client, schema_uri, shards=[])


def test_too_large(client: AtmosphereClient, schema_uri: str) -> None:
    """A record that would be too large is refused, with what to do, and nothing is written."""
    with pytest.raises(RecordError, match="Shorten"):
        publish(client, schema_uri, description="x" * 200_000)
    assert uris(client) == []


def test_a_record_that_others_broke(client: AtmosphereClient, schema_uri: str) -> None:
    """A record of ours that another tool has broken is named, not overwritten in silence."""
    entry = publish(client, schema_uri)
    rkey = entry.uri.rpartition("/")[2]
    write_raw(client, DATASET_COLLECTION, rkey, {"$type": DATASET_COLLECTION})
    with pytest.raises(RecordError, match=rkey):
        publish(client, schema_uri)
