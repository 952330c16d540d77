"""Reading over a bad network, through the cache, and of shards that are not what was recorded."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atdata import Dataset, write_samples
from atdata.errors import AtdataError, IntegrityError, OptionError, SourceError
from tests.sources.web import web_server
from tests.training.conftest import Remote
from tests.training.items import Item, items

WAYS = ["ordered", "shuffled", "split", "positions"]
SHARDS = r"\.tar( |$|\?)|getBlob"
ALL = list(range(600))


def read(dataset: Dataset[Item], way: str) -> list[int]:
    if way == "ordered":
        return [s.number for s in dataset.ordered()]
    if way == "shuffled":
        return sorted(n for b in dataset.shuffled(32, seed=1) for n in b.number)
    if way == "positions":
        single = {i: dataset[i].number for i in (599, 0, 203)}
        assert all(i == number for i, number in single.items())
        even = dataset[::2].number
        odd = dataset[np.arange(599, 0, -2)].number
        return sorted([*even, *odd])
    parts = [dataset.split(rank, 3).ordered() for rank in range(3)]
    return [s.number for part in parts for s in part]


@pytest.mark.parametrize("way", WAYS)
def test_connections_that_drop_lose_nothing(remote: Remote, way: str) -> None:
    """Every connection is cut after 1 MB, and now and then the server fails: the epoch is whole."""
    proxy, dataset = remote
    proxy.cut(after=1_000_000, times=None, match=SHARDS)
    proxy.answer(503, times=2, match=SHARDS)
    proxy.answer(500, times=1, match=SHARDS)
    assert read(dataset, way) == ALL


@pytest.mark.parametrize("way", ["ordered", "shuffled"])
def test_a_restart_in_an_epoch_loses_nothing(remote: Remote, way: str) -> None:
    """A server that resets all connections and refuses new ones for 3 s is waited for."""
    proxy, dataset = remote
    reading = dataset.ordered(10) if way == "ordered" else dataset.shuffled(10, seed=1, window=50)
    found = list(next(reading).number)
    proxy.refuse()
    back = threading.Timer(3, proxy.accept)
    back.start()
    found += [n for batch in reading for n in batch.number]
    back.join()
    assert sorted(found) == ALL


@pytest.mark.parametrize("way", WAYS)
def test_truncated_and_late_answers_lose_nothing(remote: Remote, way: str) -> None:
    """Responses that end early are resumed, and late ones are awaited."""
    proxy, dataset = remote
    proxy.cut(after=300_000, times=3, match=SHARDS, abrupt=False)
    proxy.delay(0.05)
    assert read(dataset, way) == ALL


@pytest.mark.parametrize("way", ["ordered", "shuffled", "positions"])
def test_a_server_that_stays_down_is_one_clear_error(remote: Remote, way: str) -> None:
    """A server that answers 503 for ever ends in one error that names the shard and the cause."""
    proxy, dataset = remote
    proxy.answer(503, times=None)
    with pytest.raises(SourceError, match=r"items.*503.*Gave up after 6 attempts"):
        read(dataset, way)


@pytest.mark.parametrize("way", WAYS)
def test_blobs_are_read_over_a_bad_network(blobs: Remote, way: str) -> None:
    """Blobs that drop, end early, come late or not at once are read whole all the same."""
    proxy, dataset = blobs
    proxy.answer(503, times=2, match=SHARDS)
    proxy.answer(500, times=1, match=SHARDS)
    proxy.cut(after=1_000_000, times=2, match=SHARDS)
    proxy.cut(after=300_000, times=2, match=SHARDS, abrupt=False)
    proxy.delay(0.05)
    assert read(dataset, way) == ALL


@pytest.mark.parametrize("way", ["ordered", "positions"])
def test_blobs_that_drop_for_ever_are_one_clear_error(blobs: Remote, way: str) -> None:
    """A blob's server has no ranges: where no connection holds, the error comes in seconds."""
    proxy, dataset = blobs
    proxy.cut(after=1_000_000, times=None, match=SHARDS)
    with pytest.raises(SourceError, match=r"at://.*at byte \d+ of .*Gave up after 6 attempts"):
        read(dataset, way)
    assert len(proxy.requests) < 60  # three shards at once


def test_ranges_are_asked_for_at_once(remote: Remote) -> None:
    """Samples that lie far from each other are not waited for one after the other."""
    proxy, dataset = remote
    assert dataset[0].number == 0
    proxy.delay(0.2)
    before = proxy.connections
    assert dataset[::40].number == ALL[::40]
    # One connection would do for one request after the other: these were under way at once.
    assert proxy.connections - before > 4


@pytest.mark.parametrize("way", ["ordered", "shuffled", "cached"])
def test_parent_and_child_read_on_after_a_fork(remote: Remote, way: str, tmp_path: Path) -> None:
    """An epoch that was begun before a fork is ended by both processes, each on its own."""
    _, dataset = remote
    dataset = dataset.cached(tmp_path / "cache") if way == "cached" else dataset
    reading = dataset.ordered() if way != "shuffled" else dataset.shuffled(seed=1, window=64)
    begin = [next(reading).number for _ in range(70)]
    answers, answer = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(60)
        seen = sorted([*begin, *(sample.number for sample in reading)])
        os.write(answer, b"y" if seen == ALL and dataset[7].number == 7 else b"n")
        os._exit(0)
    os.close(answer)
    assert sorted([*begin, *(sample.number for sample in reading)]) == ALL
    assert os.read(answers, 1) == b"y"
    os.close(answers)
    assert os.waitpid(child, 0)[1] == 0


def test_the_cache_serves_streams_and_ranges(remote: Remote, tmp_path: Path) -> None:
    """Once copied, an epoch in any order needs the server for nothing but small tables."""
    proxy, dataset = remote
    cached = dataset.cached(tmp_path / "cache")
    proxy.cut(after=1_000_000, times=None, match=SHARDS)
    assert read(cached, "ordered") == ALL
    before = proxy.bytes_down
    for way in WAYS:
        assert read(cached, way) == ALL
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


def test_batches_without_tables_read_each_shard_once(tmp_path: Path) -> None:
    """In order, shards on a server are read once, tables or not; a state resumes either way."""
    write_samples(items(50), tmp_path / "items.tar", maxcount=20)
    with web_server() as site:
        for path in tmp_path.glob("*.tar"):
            site.files[f"/{path.name}"] = path.read_bytes()
        dataset = Dataset[Item]([f"{site.url}{name}" for name in sorted(site.files)])
        found = [n for batch in dataset.batches(8) for n in batch["number"].tolist()]
        assert found == list(range(50))
        assert sorted(path for path, _ in site.asked if path in site.files) == sorted(site.files)
        reading = dataset.batches(8)
        begun = [n for _ in range(3) for n in next(reading)["number"].tolist()]
        again = dataset.batches(8)
        again.load_state_dict(reading.state_dict())
        assert begun + [n for batch in again for n in batch["number"].tolist()] == found
