"""Reading over a bad network, through the cache, and of shards that are not what was recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import atdata
from atdata import Dataset, write_samples
from atdata.errors import AtdataError, IntegrityError, OptionError, SourceError
from tests.services.proxy import FaultProxy
from tests.services.s3 import S3Server
from tests.sources.web import web_server
from tests.training.items import Item, items

ProxyTo = Callable[[str], FaultProxy]


def large(count: int) -> list[Item]:
    rng = np.random.default_rng(0)
    return [Item(rng.random((50, 50), np.float32), i, f"n{i}") for i in range(count)]


@pytest.fixture
def remote(
    s3_server: S3Server, s3_bucket: str, proxy_to: ProxyTo, tmp_path: Path
) -> tuple[FaultProxy, Dataset[Item]]:
    """600 samples, 6 MB in 3 shards, in S3 behind a proxy that can fail."""
    written = write_samples(large(600), tmp_path / "items.tar", maxcount=200)
    proxy = proxy_to(s3_server.endpoint)
    access = {**s3_server.credentials(), "AWS_ENDPOINT": proxy.url}
    store = atdata.local.S3DataStore(access, bucket=s3_bucket)
    urls = store.write_shards(written, prefix="items")
    proxy.clear()
    return proxy, Dataset.of(Item, list(urls), shards=urls.shards)


WAYS = ["ordered", "shuffled", "split"]


def read(dataset: Dataset[Item], way: str) -> list[int]:
    if way == "ordered":
        return [s.number for s in dataset.ordered()]
    if way == "shuffled":
        return sorted(n for b in dataset.shuffled(32, seed=1) for n in b.number)
    parts = [dataset.split(rank, 3).ordered() for rank in range(3)]
    return [s.number for part in parts for s in part]


@pytest.mark.parametrize("way", WAYS)
def test_connections_that_drop_lose_nothing(
    remote: tuple[FaultProxy, Dataset[Item]], way: str
) -> None:
    """Every connection is cut after 1 MB, and now and then the server fails: the epoch is whole."""
    proxy, dataset = remote
    proxy.cut(after=1_000_000, times=None, match=r"\.tar( |$|\?)")
    proxy.answer(503, times=2, match=r"\.tar( |$|\?)")
    proxy.answer(500, times=1, match=r"\.tar( |$|\?)")
    assert read(dataset, way) == list(range(600))


@pytest.mark.parametrize("way", WAYS)
def test_truncated_answers_lose_nothing(remote: tuple[FaultProxy, Dataset[Item]], way: str) -> None:
    """Answers that end early in good order are gone on with, too."""
    proxy, dataset = remote
    proxy.cut(after=300_000, times=3, match=r"\.tar( |$|\?)", abrupt=False)
    assert read(dataset, way) == list(range(600))


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_stays_down_is_one_clear_error(
    remote: tuple[FaultProxy, Dataset[Item]], way: str
) -> None:
    """A server that answers 503 for ever ends in one error that names the shard and the cause."""
    proxy, dataset = remote
    proxy.answer(503, times=None)
    with pytest.raises(SourceError, match=r"503.*Gave up after"):
        read(dataset, way)


def test_the_cache_serves_streams_and_ranges(
    remote: tuple[FaultProxy, Dataset[Item]], tmp_path: Path
) -> None:
    """Once copied, an epoch in any order needs the server for nothing but small tables."""
    proxy, dataset = remote
    cached = dataset.cached(tmp_path / "cache")
    assert read(cached, "ordered") == list(range(600))
    before = proxy.bytes_down
    assert read(cached, "shuffled") == list(range(600))
    assert cached[599].number == 599
    assert proxy.bytes_down - before < 100_000
    with pytest.raises(OptionError):
        dataset.cached(tmp_path / "items-000000.tar")


def test_other_bytes_than_recorded_raise(tmp_path: Path) -> None:
    """Full verification finds one changed byte in streams and files; sizes are always looked at."""
    written = write_samples(items(50), tmp_path / "items.tar")
    (known,) = written.known_shards()
    path = Path(known.url)
    data = bytearray(path.read_bytes())
    data[data.index(b"n7")] ^= 1
    path.write_bytes(data)
    assert len(list(written)) == 50
    with pytest.raises(IntegrityError, match=f"{known.sha256}.*found"):
        list(written.verified("full"))
    with pytest.raises(IntegrityError):
        written.verified("full")[0]
    with web_server() as site:
        site.files["/items.tar"] = bytes(data)
        url = f"{site.url}/items.tar"
        remote = Dataset.of(Item, url, shards=[known.at(url)])
        with pytest.raises(IntegrityError):
            list(remote)
        assert len(list(remote.verified("sizes"))) == 50
        other = Dataset.of(Item, url, shards=[replace(known.at(url), bytes=known.bytes + 1)])  # type: ignore[operator]
        with pytest.raises(IntegrityError):
            list(other.verified("sizes"))
        assert len(list(other.verified("off"))) == 50
    path.write_bytes(data + bytes(512))
    with pytest.raises(IntegrityError, match="bytes"):
        list(written)
    with pytest.raises(OptionError):
        written.verified("maybe")  # type: ignore[arg-type]
    assert issubclass(IntegrityError, AtdataError)
