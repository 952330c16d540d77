"""LocalIndex with a data store: every sample arrives there, and then the entry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.errors import NoDataUrlsError, StoreError
from atdata.local import DiskDataStore, LocalIndex, S3DataStore
from atdata.sources.s3_access import access_for
from atdata.sources.s3_client import client_for
from tests.local.conftest import Digit, MakeDigits
from tests.services.proxy import FaultProxy
from tests.services.s3 import S3Server


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An empty store, in a folder and in S3 in turn."""
    if request.param == "disk":
        return DiskDataStore(tmp_path / "store")
    server: S3Server = request.getfixturevalue("s3_server")
    bucket: str = request.getfixturevalue("s3_bucket")
    return S3DataStore(server.credentials(), bucket=bucket)


@pytest.fixture
def index(tmp_path: Path, store: Any) -> LocalIndex:
    """An empty index with that store."""
    return LocalIndex(tmp_path / "index.db", data_store=store)


def labels(entry: Any) -> list[int]:
    """The labels of all samples of an entry, read from its first URL."""
    return [sample.label for sample in atdata.Dataset[Digit](entry.data_urls[0])]


def test_every_sample_arrives(index: LocalIndex, digits: MakeDigits) -> None:
    """The store has every sample, resharded as requested, with recorded hashes."""
    dataset = digits(5, samples=20)
    entry = index.insert_dataset(dataset, name="My Digits!", maxcount=8)
    assert [shard.samples for shard in entry.shards] == [8, 8, 4]
    assert all(shard.sha256 and shard.bytes for shard in entry.shards)
    assert all("/my-digits/" in shard.url for shard in entry.shards)
    assert not {shard.url for shard in entry.shards} & set(dataset.shard_list)
    found = index.get_dataset("My Digits!")
    assert list(atdata.Dataset[Digit](found.data_urls[0])) == list(dataset)


def test_the_prefix_is_used(index: LocalIndex, digits: MakeDigits) -> None:
    """Shards are placed right below the prefix; other content with the same one a folder below."""
    one = index.insert_dataset(digits(1), name="digits", prefix="data/digits")
    two = index.insert_dataset(digits(2), name="digits", prefix="data/digits")
    assert all("/data/digits/data-00000" in shard.url for shard in one.shards)
    assert all("/data/digits/" in shard.url for shard in two.shards)
    assert labels(one) == [1] * 7
    assert labels(two) == [2] * 7
    assert index.insert_dataset(digits(2), name="digits", prefix="data/digits") == two
    assert [entry.revision for entry in index.history("digits")] == [1, 2]


def test_the_same_content_is_stored_once(
    index: LocalIndex, digits: MakeDigits, store: Any, tmp_path: Path
) -> None:
    """Inserting again gives the same entry; in another store, a revision that leads there."""
    dataset = digits(3)
    first = index.insert_dataset(dataset, name="digits")
    assert index.insert_dataset(dataset, name="digits") == first
    filtered = dataset.filter(lambda sample: True)
    assert index.insert_dataset(filtered, name="digits") == first
    elsewhere = DiskDataStore(tmp_path / "elsewhere")
    with LocalIndex(tmp_path / "index.db", data_store=elsewhere) as other:
        moved = other.insert_dataset(dataset, name="digits")
    assert (moved.revision, moved.cid) == (2, first.cid)
    assert str(tmp_path / "elsewhere") in moved.data_urls[0]
    assert labels(moved) == labels(first)


def test_an_entry_from_before_the_store(
    index: LocalIndex, digits: MakeDigits, tmp_path: Path
) -> None:
    """A dataset that was indexed in place and is inserted again with a store moves there."""
    dataset = digits(3)
    with LocalIndex(tmp_path / "index.db") as bare:
        first = bare.insert_dataset(dataset, name="digits")
    second = index.insert_dataset(dataset, name="digits")
    assert second.revision == 2
    assert not {shard.url for shard in second.shards} & {shard.url for shard in first.shards}
    assert index.add_entry(dataset, name="in place").data_urls == first.data_urls


def test_what_was_filtered_mapped_and_seen_otherwise(index: LocalIndex, digits: MakeDigits) -> None:
    """With a store, a dataset is written as it comes out: filtered, mapped."""
    dataset = digits(5, samples=10).filter(lambda sample: sample.image[0, 0] % 2 == 1)

    def lower(sample: Digit) -> Digit:
        return Digit(sample.image, sample.label - 1)

    entry = index.insert_dataset(dataset.map(lower), name="odd")
    assert labels(entry) == [4] * 5
    with pytest.raises(NoDataUrlsError):
        index.insert_dataset(dataset.filter(lambda sample: False), name="none")
    assert [entry.name for entry in index.list_datasets()] == ["odd"]


def test_what_nobody_else_can_have_found_is_removed(
    index: LocalIndex, digits: MakeDigits, store: Any
) -> None:
    """A mapped dataset that fails late leaves no shard: its place is named by chance."""
    shards: list[list[str]] = []

    def fails(sample: Digit) -> Digit:
        shards.append(stored(store))
        if len(shards) == 20:
            raise ArithmeticError("late")
        return sample

    dataset = atdata.Dataset[Digit](
        [url for n in range(5) for url in digits(n, samples=4).shard_list]
    )
    with pytest.raises(ArithmeticError, match="late"):
        index.insert_dataset(dataset.map(fails), name="digits")
    assert shards[-1]
    assert stored(store) == []


def stored(store: Any) -> list[str]:
    """The shards and tables in a store."""
    if isinstance(store, DiskDataStore):
        return [path.name for path in store.path.rglob("data-*") if path.is_file()]
    client, _ = client_for(access_for(store.bucket)[0])
    found = client.list_objects_v2(Bucket=store.bucket).get("Contents", ())
    return [row["Key"] for row in found]


def test_the_entry_knows_its_server(
    s3_server: S3Server, s3_bucket: str, tmp_path: Path, digits: MakeDigits
) -> None:
    """An entry of shards in S3 records endpoint and region and no key, also when added by URL."""
    store = S3DataStore(s3_server.credentials(), bucket=s3_bucket)
    with LocalIndex(tmp_path / "index.db", data_store=store) as index:
        stored = index.insert_dataset(digits(), name="stored")
        added = index.add_entry(atdata.Dataset[Digit](stored.data_urls[0]), name="added")
        for entry in (stored, added):
            assert entry.endpoint == s3_server.endpoint
            assert entry.region == s3_server.region
            assert s3_server.secret_key not in repr(entry)
        assert s3_server.secret_key not in repr(index)
    for file in tmp_path.glob("index.db*"):
        assert s3_server.secret_key.encode() not in file.read_bytes()


def test_a_failing_store_leaves_no_entry(
    s3_server: S3Server,
    s3_bucket: str,
    tmp_path: Path,
    digits: MakeDigits,
    proxy_to: Callable[[str], FaultProxy],
) -> None:
    """When the server goes away while shards are written, no entry names them; later it works."""
    proxy = proxy_to(s3_server.endpoint)
    credentials = {**s3_server.credentials(), "AWS_ENDPOINT": proxy.url}
    store = S3DataStore(credentials, bucket=s3_bucket)
    with LocalIndex(tmp_path / "index.db", data_store=store) as index:
        dataset = digits(6)
        proxy.answer(403, times=1000, match=r"PUT .*data-000001\.tar")
        with pytest.raises(StoreError):
            index.insert_dataset(dataset, name="digits")
        assert list(index.list_datasets()) == []
        proxy.clear()
        assert labels(index.insert_dataset(dataset, name="digits")) == [6] * 7


def test_a_failing_disk_leaves_no_entry(tmp_path: Path, digits: MakeDigits) -> None:
    """When the store's folder cannot be made, there is no entry."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "digits").write_text("in the way")
    store = DiskDataStore(tmp_path / "store")
    with LocalIndex(tmp_path / "index.db", data_store=store) as index:
        with pytest.raises(StoreError):
            index.insert_dataset(digits(), name="digits")
        assert list(index.list_datasets()) == []
