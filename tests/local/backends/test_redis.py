"""Redis servers that lose keys, are emptied, or are named by a socket."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

import atdata
from atdata.errors import BackendError
from atdata.local import LocalIndex
from atdata.local.backends import _redis_scripts as lua
from tests.local.conftest import Digit, MakeDigits
from tests.services.proxy import FaultProxy
from tests.services.redis import RedisServer


@atdata.packable
class Other:
    """Another sample."""

    text: str


def filled(url: str, digits: MakeDigits) -> LocalIndex:
    """An index with a dataset, its schema and a label."""
    index = LocalIndex(url)
    entry = index.insert_dataset(digits(), name="digits", description="first")
    index.label("digits", "1.0.0", entry)
    return index


USES: dict[str, Callable[[LocalIndex], object]] = {
    "publish": lambda index: index.publish_schema(Digit),
    "publish a version": lambda index: index.publish_schema(Digit, version="1.0.0"),
    "publish another": lambda index: index.publish_schema(Other),
    "list schemas": lambda index: list(index.list_schemas()),
    "decode": lambda index: index.decode_schema("atdata://local/sampleSchema/Digit@1.0.0"),
    "get": lambda index: index.get_dataset("digits"),
    "label": lambda index: index.get_dataset("@local/digits@1.0.0"),
    "list": lambda index: list(index.list_datasets()),
    "history": lambda index: index.history("digits"),
    "search": lambda index: index.search("first"),
    "search for a beginning": lambda index: index.search("fir"),
    "delete": lambda index: index.delete_dataset("digits"),
}


@pytest.mark.parametrize(
    "key", ["schema-keys", "schemas", "dataset:digits", "term-pages", "format"]
)
def test_evicted_keys(redis_url: str, digits: MakeDigits, key: str) -> None:
    """Whatever key a server evicts, every use ends: as before, or with an error that says why."""
    import redis

    said = {}
    for name, use in USES.items():
        index = filled(redis_url, digits)
        with redis.Redis.from_url(redis_url) as client:
            assert client.delete(f"atdata:{key}") == 1
            try:
                use(index)
            except (BackendError, KeyError) as error:
                said[name] = str(error)
            client.flushdb()
        index.close()
    assert said
    assert all("noeviction" in text for text in said.values()), said


@pytest.mark.parametrize(
    "key",
    ["schema-keys", "schemas", "notes", "note-keys", "added", "term-pages", "term-order", "format"],
)
def test_opening_looks_for_evicted_keys(redis_url: str, digits: MakeDigits, key: str) -> None:
    """Opening an index that lacks keys is refused, and says what keeps servers from that."""
    import redis

    filled(redis_url, digits).close()
    with redis.Redis.from_url(redis_url) as client:
        assert client.delete(f"atdata:{key}") == 1
        with pytest.raises(BackendError, match=f"{key}.*noeviction"):
            LocalIndex(redis_url)


def test_a_server_that_evicts_is_refused(redis_url: str, redis_server: RedisServer) -> None:
    """A server with bounded memory that throws any key away is no place for an index."""
    import redis

    with redis.Redis.from_url(redis_url) as client:
        try:
            client.config_set("maxmemory-policy", "allkeys-lru")
            with pytest.warns(UserWarning, match="noeviction"):
                LocalIndex(redis_url).close()
            client.config_set("maxmemory", "1gb")
            with pytest.raises(BackendError, match="noeviction"):
                LocalIndex(redis_url)
            for policy in ("volatile-lru", "noeviction"):
                client.config_set("maxmemory-policy", policy)
                LocalIndex(redis_url).close()
        finally:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 0)


@pytest.mark.parametrize("use", USES)
def test_an_emptied_server_is_noticed(redis_url: str, digits: MakeDigits, use: str) -> None:
    """An open index whose server lost everything says so, at every use, and writes nothing."""
    import redis

    index = filled(redis_url, digits)
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        with pytest.raises(BackendError, match="no longer holds this index"):
            USES[use](index)
        with pytest.raises(BackendError, match="no longer holds this index"):
            index.insert_dataset(digits(2), name="digits")
        assert client.dbsize() == 0
    index.close()
    with LocalIndex(redis_url) as again:
        assert list(again.list_datasets()) == []


def test_a_socket_names_a_server(redis_server: RedisServer, redis_url: str) -> None:
    """unix:///path?db=… opens the same index as host and port, with a prefix as well."""
    number = redis_url.rpartition("/")[2]
    place = f"unix://{redis_server.socket}?db={number}"
    with LocalIndex(place) as by_path, LocalIndex(redis_url) as by_port:
        by_path.publish_schema(Digit)
        assert len(list(by_port.list_schemas())) == 1
        assert redis_server.socket in repr(by_path)
    with LocalIndex(f"{place}&prefix=mine:") as other:
        assert list(other.list_schemas()) == []
        assert "prefix=mine" in repr(other)


def test_a_client_that_decodes(redis_url: str, digits: MakeDigits) -> None:
    """A client of the caller's that decodes its answers is searched with as every other."""
    import redis

    client = redis.Redis.from_url(redis_url, decode_responses=True)
    with LocalIndex(redis=client) as index:
        for number in range(3):
            index.insert_dataset(digits(number), name=f"n{number}", tags=["all"])
        assert [entry.name for entry in index.search(tags=["all"])] == ["n0", "n1", "n2"]
        assert len(index.search("n")) == 3
    client.close()


def test_others_wait_for_no_search(redis_url: str) -> None:
    """No command of a search reads more than a few hundred pages at once on the server."""
    import redis

    with LocalIndex(redis_url) as index:
        backend = index._backend
        backend.index([])
        numbers = itertools.count()
        with redis.Redis.from_url(redis_url) as client:
            for _ in range(4):
                rows = []
                for number in itertools.islice(numbers, 1_000):
                    name = f"n{number:05d}"
                    client.rpush(f"atdata:dataset:{name}", "cid {}")
                    client.zadd("atdata:names", {name: 0})
                    client.zadd("atdata:unindexed", {name: 0})
                    rows.append(name)
                page = backend.newest_of(rows)
                backend.index([(row, {"wall": 0, f"w{row.name}": 1}) for row in page])
            client.config_resetstat()
            assert [row.name for row in backend.search(["all"], [], 3)] == [
                "n00000",
                "n00001",
                "n00002",
            ]
            assert len(backend.search(["n"], [], 10)) == 10
            stats = client.info("commandstats")
            assert not {"cmdstat_zadd", "cmdstat_hset", "cmdstat_smembers", "cmdstat_hgetall"} & {
                *stats
            }
            assert stats["cmdstat_hmget"]["calls"] < 20
            assert stats["cmdstat_hget"]["calls"] < 100


@pytest.mark.parametrize(
    ("script", "write"),
    [
        ("ADD", lambda index, _: index.publish_schema(Other)),
        ("ADD_ENTRY", lambda index, ds: index.insert_dataset(ds, name="new").revision),
        (
            "ADD_ENTRY",
            lambda index, ds: index.insert_dataset(ds, name="digits").revision,
        ),
        (
            "ADD",
            lambda index, _: index.label("x", "1.0.0", index.get_dataset("digits")),
        ),
        ("REMOVE", lambda index, _: index.delete_dataset("digits")),
    ],
    ids=["publish", "insert", "insert a revision", "label", "delete"],
)
def test_a_lost_answer_to_a_client_that_tries_again(
    redis_url: str,
    digits: MakeDigits,
    proxy_to: Callable[[str], FaultProxy],
    script: str,
    write: Callable[[LocalIndex, object], object],
) -> None:
    """A write that redis-py sends twice, as its answer was lost, is done and answered once."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    first, second, new = digits(1), digits(2), digits(3)
    proxy = proxy_to(redis_url)
    at = urlsplit(proxy.url)
    client = redis.Redis(
        host="127.0.0.1", port=at.port or 0, db=int(at.path[1:]), retry=Retry(NoBackoff(), 3)
    )
    said, left = [], []
    for faulty in (False, True):
        with LocalIndex(redis=client) as index:
            for ds in (first, second):
                index.insert_dataset(ds, name="digits", description="some")
            before = proxy.connections
            if faulty:
                proxy.lose(match=hashlib.sha1(lua.SCRIPTS[script].encode()).hexdigest())
            said.append(write(index, new))
            assert proxy.connections == before + faulty
            left.append(
                (
                    [(e.name, e.revision, e.cid) for e in index.list_datasets()],
                    [e.name for e in index.search("some")],
                    len(list(index.list_schemas())),
                )
            )
        client.flushdb()
    client.close()
    assert said[0] == said[1]
    assert left[0] == left[1]
