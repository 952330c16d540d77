"""A mirror ends with what the servers list, whatever happens to either."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from atdata._shardlist import ShardInfo
from atdata.atmosphere import AtmosphereClient, Mirror
from atdata.atmosphere.discover import COLLECTIONS
from atdata.atproto.commits import changes_of
from atdata.atproto.dag import cid_of
from atdata.atproto.firehose import Firehose
from atdata.atproto.reader import Reader
from atdata.errors import AtmosphereError
from atdata.local import LocalIndex
from atdata.net.identity import signing_key
from atdata.testing import network as net
from atdata.testing.network import Network
from tests.atmosphere.publishing import (
    DATASET,
    SCHEMA,
    call,
    create,
    dataset_record,
    delete,
    logged_in,
    publish_dataset,
    schema_record,
    update,
    write_all,
)
from tests.atmosphere.test_accounts import administer, take_down
from tests.services.proxy import FaultProxy
from tests.services.s3 import S3Server


@pytest.fixture(scope="module")
def own_network() -> Iterator[Network]:
    """Two servers that no other test writes to."""
    with net.start(servers=2, accounts=()) as network:
        yield network


@pytest.fixture
def servers(own_network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """URLs of the two servers, whose network the environment names."""
    monkeypatch.setenv("ATDATA_PLC_URL", own_network.plc_url)
    monkeypatch.setenv("ATDATA_PDS_URL", own_network.servers[0].url)
    monkeypatch.setenv("ATDATA_DATA_DIR", str(tmp_path / "data"))
    return [server.url for server in own_network.servers]


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalIndex]:
    """An empty index on each backend."""
    if request.param == "sqlite":
        place = str(tmp_path / "mirror.db")
    else:
        place = request.getfixturevalue(f"{request.param}_url")
    with LocalIndex(place) as index:
        yield index


def listed(dids: list[str]) -> dict[str, str]:
    """AT URI → CID of every schema and dataset that the servers list now."""
    reader, found = Reader(), {}
    for did in dids:
        for collection in COLLECTIONS:
            for record in reader.list_records(did, collection):
                found[str(record.uri)] = record.cid
    return found


def kept(index: LocalIndex) -> dict[str, str]:
    """AT URI → CID of every dataset in a mirror; of a schema, its version instead."""
    found = {entry.name: entry.cid for entry in index.list_datasets()}
    for schema in index.list_schemas():
        found[schema.ref] = schema["version"]
    return found


def expected(dids: list[str]) -> dict[str, str]:
    """What `kept` should give."""
    reader, found = Reader(), listed(dids)
    for did in dids:
        for record in reader.list_records(did, SCHEMA):
            found[str(record.uri)] = record.value["version"]
    return found


@contextmanager
def following(mirror: Mirror, servers: list[str]) -> Iterator[None]:
    """The mirror follows these servers while the block runs."""
    stop = threading.Event()
    threads = [threading.Thread(target=mirror.follow, args=(url, stop)) for url in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def until(holds: Callable[[], bool], *, minutes: int = 1) -> None:
    """Poll until it is true, for a limited number of minutes."""
    waiting = threading.Event()
    for _ in range(300 * minutes):
        if holds():
            return
        waiting.wait(0.2)
    assert holds()


def test_everything_that_happens_to_an_account(
    own_network: Network, servers: list[str], index: LocalIndex
) -> None:
    """Writes, a new handle, deactivation and return reach the mirror, on every backend."""
    before = own_network.create_account()
    client = logged_in(before)
    write_all(
        client,
        [
            create(SCHEMA, "mine.A:1.0.0", schema_record("A")),
            create(DATASET, "a", dataset_record(client.did, "cats", "Felines of Århus")),
            create(DATASET, "b", dataset_record(client.did, "dogs")),
            create(DATASET, "broken", {"$type": DATASET, "name": 7}),
        ],
    )
    mirror = Mirror(index.mirrored)
    with following(mirror, servers[:1]):
        until(lambda: len(index.mirrored.uris(client.did)) == 3)
        uri = f"at://{client.did}/{DATASET}/a"
        entry = index.get_dataset(uri)
        assert entry.title == f"@{before.handle}/cats"
        assert entry.stranger
        assert entry.metadata == {"a": 1}
        assert list(entry.data_urls) == ["https://data.example/cats.tar"]
        assert index.decode_schema(entry.schema_ref)("x").text == "x"  # type: ignore[call-arg, attr-defined]
        assert [found.name for found in index.search("arhus feline")] == [uri]
        assert uri in [found.name for found in index.search("cats", tags=["made"], schema="A")]

        write_all(client, [update(DATASET, "a", dataset_record(client.did, "cats", "Whiskers"))])
        until(lambda: index.get_dataset(uri).description == "Whiskers")
        assert index.search("feline") == []
        client.delete_record(f"at://{client.did}/{DATASET}/b")
        until(lambda: len(index.mirrored.uris(client.did)) == 2)

        renamed = f"n{before.handle}"
        body = {"did": client.did, "handle": renamed}
        administer(own_network, "com.atproto.admin.updateAccountHandle", body)
        until(lambda: index.get_dataset(uri).title == f"@{renamed}/cats")

        new = own_network.create_account()
        other = logged_in(new)
        write_all(other, [create(DATASET, "c", dataset_record(other.did, "new"))])
        until(lambda: len(index.mirrored.uris(other.did)) == 1)

        call(client, "deactivateAccount", {}, of="server")
        take_down(own_network, other.did)
        until(lambda: not index.mirrored.uris(client.did) + index.mirrored.uris(other.did))
        call(client, "activateAccount", None, of="server")
        administer(own_network, "com.atproto.admin.deleteAccount", {"did": other.did})
        until(lambda: len(index.mirrored.uris(client.did)) == 2)
    assert index.mirrored.uris(other.did) == []
    assert mirror.counts.refused == 0
    # What happens while nobody looks is found by the next update, without a firehose.
    client.delete_record(uri)
    Mirror(index.mirrored).update(servers[0])
    assert len(index.mirrored.uris(client.did)) == 1


def test_killed_in_the_middle_of_many_writes(
    own_network: Network, servers: list[str], tmp_path: Path
) -> None:
    """Killed six times in 2,000 writes, updates and deletes on two servers, it misses nothing."""
    accounts = [own_network.create_account(server=number % 2) for number in range(6)]
    clients = [logged_in(account) for account in accounts]
    dids = [client.did for client in clients]
    rng = random.Random(7)
    live: dict[str, list[tuple[str, str]]] = {did: [] for did in dids}
    number = 0

    def some_writes(client: AtmosphereClient, count: int) -> list[dict[str, Any]]:
        nonlocal number
        mine, writes, touched = live[client.did], [], set()
        for _ in range(count):
            number += 1
            free = [key for key in mine if key not in touched]
            kind = rng.choice(["create", "create", "update", "delete"]) if free else "create"
            if kind == "create":
                collection = rng.choice([DATASET, DATASET, DATASET, SCHEMA])
                key = (collection, f"k{number}")
                mine.append(key)
            else:
                key = rng.choice(free)
            touched.add(key)
            if kind == "delete":
                mine.remove(key)
                writes.append(delete(*key))
                continue
            value = (
                dataset_record(client.did, f"set-{key[1]}", f"word{number}")
                if key[0] == DATASET
                else schema_record(f"A{key[1]}", f"1.0.{number}")
            )
            writes.append((create if kind == "create" else update)(*key, value))
        return writes

    place = tmp_path / "mirror.db"
    command = [sys.executable, "-m", "atdata", "discover", *servers, "--follow"]
    command += ["--into", str(place)]
    kills = written = 0
    reached: dict[str, int] = {}
    process = subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True)

    def has_followed() -> bool:
        """Whether the process has applied events of both streams since it was started."""
        with LocalIndex(place) as index:
            now = {url: index.mirrored.cursor(url) or 0 for url in servers}
        if all(now[url] > reached.get(url, 0) for url in servers):
            reached.update(now)
            return True
        return False

    while written < 2_000:
        for client in rng.sample(clients, 2):
            writes = some_writes(client, rng.choice([1, 3, 10, 25]))
            write_all(client, writes)
            written += len(writes)
        if written // 300 > kills:
            until(has_followed)
            write_all(client, some_writes(client, 20))
            written += 20
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            process = subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True)
        if kills == 3:
            call(clients[0], "deactivateAccount", {}, of="server")
            call(clients[0], "activateAccount", None, of="server")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert kills >= 6
    call(clients[1], "deactivateAccount", {}, of="server")

    with LocalIndex(place) as index:
        assert kept(index)
        wanted = expected([did for did in dids if did != clients[1].did])
        mine = tuple(f"at://{did}/" for did in dids)

        def kept_of_mine() -> dict[str, str]:
            return {uri: cid for uri, cid in kept(index).items() if uri.startswith(mine)}

        mirror = Mirror(index.mirrored)
        with following(mirror, servers):
            until(lambda: kept_of_mine() == wanted)
        assert mirror.counts.refused == 0
        assert len(wanted) > 300
        print(f"{written} writes, {kills} kills, {len(wanted)} records; then {mirror.counts}")


def test_more_shards_than_a_record_names(
    own_network: Network, servers: list[str], tmp_path: Path
) -> None:
    """A mirrored dataset with a manifest has every shard."""
    client = logged_in(own_network.create_account())
    write_all(client, [create(SCHEMA, "a", schema_record("A"))])
    shards = [
        ShardInfo(f"https://data.example/{n * n}-{n}.tar", n, 10 * n, f"{n:064x}")
        for n in range(3_000)
    ]
    entry = publish_dataset(
        client, name="large", schema_uri=f"at://{client.did}/{SCHEMA}/a", shards=shards
    )
    assert entry.manifest is not None
    with LocalIndex(tmp_path / "mirror.db") as index:
        Mirror(index.mirrored).update(servers[0])
        assert list(index.get_dataset(entry.uri).shards) == shards


def test_a_manifest_that_is_closed_to_us(
    servers: list[str],
    own_network: Network,
    s3_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A dataset with an unreadable manifest counts as broken; the others are mirrored, and the
    account is tried again."""
    monkeypatch.setenv("ATDATA_ALLOW_PRIVATE", "1")
    client = logged_in(own_network.create_account())
    closed = {
        **dataset_record(client.did, "closed"),
        "storage": {
            "$type": "ac.foundation.dataset.storageObject",
            "manifestObject": {
                "url": "s3://another-team/manifest.json",
                "cid": "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
                "endpoint": s3_server.endpoint,
            },
        },
    }
    opened = dataset_record(client.did, "opened")
    write_all(client, [create(DATASET, "closed", closed), create(DATASET, "opened", opened)])
    with LocalIndex(tmp_path / "mirror.db") as index:
        mirror = Mirror(index.mirrored)
        mirror.update(servers[0])
        kept = {entry.title for entry in index.list_datasets()}
        assert f"@{client.handle}/opened" in kept
        assert f"@{client.handle}/closed" not in kept
        assert mirror.counts.broken >= 1  # other tests leave broken ones there, too


def test_a_dropped_connection_is_made_again(
    own_network: Network, servers: list[str], tmp_path: Path
) -> None:
    """Records written during an outage arrive after it."""
    client = logged_in(own_network.create_account())
    write_all(client, [create(DATASET, "a", dataset_record(client.did, "a"))])
    # Passed on as bytes: a stream is no answer to a request.
    with (
        FaultProxy(servers[0].replace("http://", "ws://")) as proxy,
        LocalIndex(tmp_path / "mirror.db") as index,
    ):
        reported: list[str] = []
        mirror = Mirror(index.mirrored, report=reported.append)
        with following(mirror, [proxy.url.replace("ws://", "http://")]):
            until(lambda: len(index.mirrored.uris(client.did)) == 1)
            for number in range(3):
                proxy.refuse()
                key = f"b{number}"
                write_all(client, [create(DATASET, key, dataset_record(client.did, key))])
                proxy.accept()
                until(lambda: len(index.mirrored.uris(client.did)) == number + 2)  # noqa: B023
        assert any("ended" in line for line in reported)
        assert mirror.counts.refused == 0


def test_what_the_server_does_not_keep_is_asked_for(tmp_path: Path) -> None:
    """A cursor that is too old or too new costs one listing and loses nothing."""
    with (
        net.start(servers=1, accounts=("carol",), pds={"repoBackfillLimitMs": 1}) as network,
        LocalIndex(tmp_path / "mirror.db") as index,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in network.environment().items():
            patch.setenv(name, value)
        patch.setenv("ATDATA_DATA_DIR", str(tmp_path / "data"))
        server = network.servers[0].url
        client = logged_in(network.accounts[0])
        reported: list[str] = []
        for number, cursor in enumerate([None, 1, 1_000_000]):
            key = f"a{number}"
            write_all(client, [create(DATASET, key, dataset_record(client.did, key))])
            index.mirrored.set_cursor(server, cursor)
            with following(Mirror(index.mirrored, report=reported.append), [server]):
                until(lambda: kept(index) == expected([client.did]))
        assert any("no longer has all" in line for line in reported)
        assert any("FutureCursor" in line for line in reported)


def test_what_the_account_has_not_signed_is_not_believed(
    own_network: Network, servers: list[str], tmp_path: Path
) -> None:
    """A forged commit changes nothing; the account is listed instead."""
    account = own_network.create_account()
    client = logged_in(account)
    write_all(client, [create(DATASET, "a", dataset_record(client.did, "cats"))])
    with LocalIndex(tmp_path / "mirror.db") as index:
        mirror = Mirror(index.mirrored)
        mirror.update(servers[0])
        before = kept(index)
        known = index.mirrored.account(client.did)
        assert known is not None
        forged = {
            "repo": client.did,
            "rev": "3zzzzzzzzzz2z",
            "since": known["rev"],
            "ops": [{"action": "delete", "path": f"{DATASET}/a", "cid": None}],
            "blocks": b"",
            "commit": b"",
        }
        mirror._commit(client.did, known["rev"], forged)
        assert mirror.counts.refused == 1
        assert kept(index) == before
        for field, value in (("ops", None), ("rev", 7)):
            with pytest.raises(AtmosphereError, match="without ops or rev"):
                mirror._commit(client.did, known["rev"], {**forged, field: value})


def test_a_stream_from_its_beginning_is_what_the_servers_list(
    own_network: Network, servers: list[str]
) -> None:
    """Every commit of a real server is verified with its account's key, record by record."""
    client = logged_in(own_network.create_account(server=1))
    write_all(
        client,
        [create(DATASET, f"k{n}", dataset_record(client.did, f"n{n}")) for n in range(40)],
    )
    write_all(client, [delete(DATASET, f"k{n}") for n in range(0, 40, 3)])
    key, found = signing_key(client.did), {}
    for event in Firehose(servers[1]).events(0, threading.Event()):
        if event is None:
            break
        if event.kind == "#commit" and event.body["repo"] == client.did:
            for change in changes_of(event.body, key, COLLECTIONS):
                found[str(change.uri)] = (change.cid, change.value)
    for record in Reader().list_records(client.did, DATASET):
        assert cid_of(record.value) == record.cid
    there = {
        str(record.uri): (record.cid, record.value)
        for record in Reader().list_records(client.did, DATASET)
    }
    assert {uri: value for uri, value in found.items() if value[0] is not None} == there
    assert len(found) == 40
