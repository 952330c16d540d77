"""Shards as blobs: sent once, whole, and only where the server takes them."""

from __future__ import annotations

import hashlib
import io
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from atdata._digest import blob_cid
from atdata._protocols import AbstractDataStore
from atdata._refs import SHARD_BLOBS_COLLECTION, BlobRef, parse_blob_ref
from atdata._shardlist import ShardInfo
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.atmosphere.blobs import place_of
from atdata.dataset.dataset import Dataset
from atdata.dataset.write import write_samples
from atdata.errors import (
    AtmosphereError,
    AuthenticationError,
    IntegrityError,
    NoDataUrlsError,
    OptionError,
    RefError,
    StoreError,
)
from atdata.stores.journal import Journal, journal_path
from atdata.testing.network import Account, Network
from tests.atmosphere.conftest import Digit, Login
from tests.atmosphere.publishing import publish_dataset
from tests.services.proxy import FaultProxy
from tests.stores.journal import sent

ProxyTo = Callable[[str], FaultProxy]
Shards = dict[str, bytes]


def opener(shards: Shards) -> Callable[[str], IO[bytes]]:
    return lambda url: io.BytesIO(shards[url])


def known(shards: Shards) -> list[ShardInfo]:
    return [
        ShardInfo(url, 1, len(data), hashlib.sha256(data).hexdigest())
        for url, data in shards.items()
    ]


def as_blob(client: AtmosphereClient, shard: ShardInfo) -> ShardInfo:
    """The shard as a blob of the account."""
    assert shard.sha256 is not None
    return shard.at(str(BlobRef(client.did, blob_cid(shard.sha256))))


def uploads(proxy: FaultProxy) -> int:
    return sum("uploadBlob" in str(request) for request in proxy.requests)


@pytest.fixture
def shards() -> Shards:
    """Bytes that no other test has."""
    seed = np.random.default_rng()
    return {f"mem://{n}.tar": seed.bytes(5000 + n) for n in range(3)}


def test_it_is_a_store(client: AtmosphereClient) -> None:
    """It has the members of the protocol, and streams."""
    store = PDSBlobStore(client)
    assert isinstance(store, AbstractDataStore)
    assert store.supports_streaming()


def test_not_a_client() -> None:
    """A store needs a client."""
    with pytest.raises(OptionError):
        PDSBlobStore("alice.test")  # type: ignore[arg-type]


def test_not_logged_in(at_home: Network, digits: Dataset[Digit]) -> None:
    """Without a login nothing is read or sent."""
    store = PDSBlobStore(AtmosphereClient())
    with pytest.raises(AuthenticationError):
        store.write_shards(digits, prefix="x")
    with pytest.raises(AuthenticationError):
        store.copy_shards([ShardInfo("mem://x")], opener({}), prefix="x")


def test_written_and_read_as_anyone(
    client: AtmosphereClient, index: AtmosphereIndex, digits: Dataset[Digit]
) -> None:
    """Every sample of every shard arrives; anyone downloads just the bytes that were sent."""
    store = PDSBlobStore(client)
    urls = store.write_shards(digits, prefix="unused", maxcount=6)
    assert [shard.samples for shard in urls.shards] == [6, 6, 6, 2]
    publish_dataset(
        client, name="digits", schema_uri=index.publish_schema(Digit), shards=urls.shards
    )
    for shard in urls.shards:
        with urllib.request.urlopen(store.read_url(shard.url)) as answer:
            data = answer.read()
            assert answer.headers["Content-Type"] == "application/x-tar"
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard.bytes, shard.sha256)
    assert list(Dataset.of(Digit, list(urls))) == list(digits)


def test_copied_byte_for_byte(client: AtmosphereClient, shards: Shards) -> None:
    """Copies keep order, samples, size and hash, known beforehand or not."""
    copies = PDSBlobStore(client).copy_shards(known(shards), opener(shards), prefix="x").shards
    assert [copy.at("") for copy in copies] == [shard.at("") for shard in known(shards)]
    bare = [ShardInfo(url) for url in shards]
    again = PDSBlobStore(client).copy_shards(bare, opener(shards), prefix="x").shards
    assert [copy.sha256 for copy in again] == [shard.sha256 for shard in known(shards)]
    assert [copy.url for copy in again] == [copy.url for copy in copies]


def test_nothing_is_sent_twice(
    login: Login, account: Account, proxy_to: ProxyTo, shards: Shards
) -> None:
    """What a broken run has sent is neither sent nor even read again by the next."""
    proxy = proxy_to(account.server_url)
    store = PDSBlobStore(login(proxy.url))
    two = dict(list(shards.items())[:2])
    with pytest.raises(KeyError):
        store.copy_shards(known(shards), opener(two), prefix="x")
    assert uploads(proxy) == 2
    last = dict(list(shards.items())[2:])
    store.copy_shards(known(shards), opener(last), prefix="x")
    assert uploads(proxy) == 3


@pytest.mark.parametrize(
    "start", [b"", b"ID3", b"\xff\xfb", b"BM", b"PK\x03\x04", b"GIF8", b"MZ", b"II*\x00", b"<?xml "]
)
def test_a_shard_that_a_record_has_is_not_sent(
    start: bytes, login: Login, account: Account, proxy_to: ProxyTo, shards: Shards
) -> None:
    """A shard that a record references is found, journal or not, whatever type the server sees."""
    shards = {url: start + data for url, data in shards.items()}
    proxy = proxy_to(account.server_url)
    client = login(proxy.url)
    index, store = AtmosphereIndex(client), PDSBlobStore(client)
    copies = store.copy_shards(known(shards), opener(shards), prefix="x").shards
    publish_dataset(client, name="a", schema_uri=index.publish_schema(Digit), shards=copies)
    journal_path().unlink()
    assert store.copy_shards(known(shards), opener({}), prefix="x").shards == copies
    assert uploads(proxy) == 3


def test_sent_again_when_the_server_has_lost_it(
    login: Login, account: Account, proxy_to: ProxyTo, shards: Shards
) -> None:
    """If the server has dropped blobs that it took, they are sent again and the record written."""
    proxy = proxy_to(account.server_url)
    client = login(proxy.url)
    schema_uri = AtmosphereIndex(client).publish_schema(Digit)
    for shard in known(shards):
        # As if a run of hours ago had sent it.
        Journal().add(place_of(client), as_blob(client, shard))
    store = PDSBlobStore(client)

    def copy() -> tuple[ShardInfo, ...]:
        return store.copy_shards(known(shards), opener(shards), prefix="x").shards

    copies = copy()
    assert uploads(proxy) == 0
    with pytest.raises(AtmosphereError, match="no longer has blobs"):
        publish_dataset(client, name="a", schema_uri=schema_uri, shards=copies)
    entry = publish_dataset(client, name="a", schema_uri=schema_uri, shards=copies, resend=copy)
    assert uploads(proxy) == 3
    assert entry.shards == copies


def test_only_what_was_lost_is_sent_again(
    login: Login, account: Account, proxy_to: ProxyTo, shards: Shards
) -> None:
    """If the server has dropped one blob of several, that one is sent again."""
    proxy = proxy_to(account.server_url)
    client = login(proxy.url)
    schema_uri = AtmosphereIndex(client).publish_schema(Digit)
    Journal().add(place_of(client), as_blob(client, known(shards)[1]))
    store = PDSBlobStore(client)

    def copy() -> tuple[ShardInfo, ...]:
        return store.copy_shards(known(shards), opener(shards), prefix="x").shards

    copies = copy()
    assert uploads(proxy) == 2
    publish_dataset(client, name="a", schema_uri=schema_uri, shards=copies, resend=copy)
    assert uploads(proxy) == 3


@pytest.mark.parametrize("start", [b"", b"BM"])
def test_what_arrived_is_not_sent_again(
    start: bytes, login: Login, account: Account, proxy_to: ProxyTo, shards: Shards
) -> None:
    """Shards that the server has, though its answers were lost, are found there by asking."""
    shards = {url: start + data for url, data in shards.items()}
    proxy = proxy_to(account.server_url)
    client = login(proxy.url)
    index, store = AtmosphereIndex(client), PDSBlobStore(client)
    proxy.cut(after=0, times=None, match="uploadBlob")
    with pytest.raises(AtmosphereError):
        store.copy_shards(known(shards), opener(shards), prefix="x")
    proxy.clear()
    before = len(sent(place_of(client))), uploads(proxy)
    copies = store.copy_shards(known(shards), opener(shards), prefix="x").shards
    assert (before[0], uploads(proxy)) == (0, before[1])
    publish_dataset(client, name="a", schema_uri=index.publish_schema(Digit), shards=copies)
    assert list(client.list_records(client.did, SHARD_BLOBS_COLLECTION)) == []


def test_a_server_that_does_not_look_at_references(
    login: Login, account: Account, proxy_to: ProxyTo, shards: Shards
) -> None:
    """Where a server takes any reference, asking it tells nothing: what is in doubt is sent."""
    proxy = proxy_to(account.server_url)
    client = login(proxy.url)
    url, data = next(iter(shards.items()))
    sent = known({url: data})[0]
    blob = as_blob(client, sent)
    Journal().doubt(place_of(client), [blob])
    cid = parse_blob_ref(blob.url).cid
    uri = f"at://{client.did}/{SHARD_BLOBS_COLLECTION}/~{cid}"
    proxy.answer(200, match="putRecord", body=json.dumps({"uri": uri, "cid": cid}).encode())
    PDSBlobStore(client).copy_shards([sent], opener(shards), prefix="x")
    assert uploads(proxy) == 1
    assert any("deleteRecord" in str(request) for request in proxy.requests)


def test_blobs_that_another_tool_has_sent(client: AtmosphereClient, shards: Shards) -> None:
    """The server keeps them under the type that they came with; the record names that one."""
    for shard, data in zip(known(shards), shards.values(), strict=True):
        assert shard.bytes is not None
        assert shard.sha256 is not None
        stream, kind = io.BytesIO(data), "application/octet-stream"
        client.upload_blob(stream, size=shard.bytes, sha256=shard.sha256, content_type=kind)
    store, index = PDSBlobStore(client), AtmosphereIndex(client)
    copies = store.copy_shards(known(shards), opener(shards), prefix="x").shards
    said = publish_dataset(client, name="a", schema_uri=index.publish_schema(Digit), shards=copies)
    storage = client.get_record(said.uri).value["storage"]
    assert {blob["mimeType"] for blob in storage["blobs"]} == {"application/octet-stream"}


def test_a_dropped_upload_is_repeated(
    login: Login, account: Account, proxy_to: ProxyTo, shards: Shards
) -> None:
    """An upload that breaks off is sent again from its first byte."""
    proxy = proxy_to(account.server_url)
    store = PDSBlobStore(login(proxy.url))
    proxy.cut_upload(after=1000, times=2, match="uploadBlob")
    proxy.cut(after=5, match="uploadBlob")
    copies = store.copy_shards(known(shards), opener(shards), prefix="x").shards
    assert [copy.sha256 for copy in copies] == [shard.sha256 for shard in known(shards)]


def test_changed_bytes_are_not_sent(
    login: Login, account: Account, proxy_to: ProxyTo, shards: Shards
) -> None:
    """A shard with other bytes than recorded is an IntegrityError, and is not sent."""
    proxy = proxy_to(account.server_url)
    store = PDSBlobStore(login(proxy.url))
    changed = {url: data[:-1] + b"!" for url, data in shards.items()}
    shorter = {url: data[:-1] for url, data in shards.items()}
    for wrong in (changed, shorter):
        with pytest.raises(IntegrityError, match="mem://0"):
            store.copy_shards(known(shards), opener(wrong), prefix="x")
    assert uploads(proxy) == 0


def test_too_large(login: Login, account: Account, proxy_to: ProxyTo, tmp_path: Path) -> None:
    """A shard over the server's limit is refused before it is sent; the error says maxsize=."""
    proxy = proxy_to(account.server_url)
    client = login(proxy.url)
    store = PDSBlobStore(client)
    big = write_samples([Digit(np.zeros((2400, 2400), np.uint8), 1)], tmp_path / "big.tar")
    with pytest.raises(StoreError, match="maxsize=5242880"):
        store.write_shards(big, prefix="x")
    with pytest.raises(StoreError, match="maxsize=5242880"):
        store.copy_shards([ShardInfo("mem://x", None, 6_000_000)], opener({}), prefix="x")
    assert uploads(proxy) == 0


def test_too_large_for_a_server_that_does_not_say(
    login: Login, account: Account, proxy_to: ProxyTo, shards: Shards
) -> None:
    """A server that refuses a blob only when it comes is a StoreError that says maxsize=."""
    proxy = proxy_to(account.server_url)
    store = PDSBlobStore(login(proxy.url))
    proxy.answer(413, match="uploadBlob", body=b'{"error":"PayloadTooLarge"}')
    with pytest.raises(StoreError, match="maxsize="):
        store.copy_shards(known(shards), opener(shards), prefix="x")


def test_nothing_to_copy(client: AtmosphereClient) -> None:
    """Copying no shards is an error."""
    with pytest.raises(NoDataUrlsError):
        PDSBlobStore(client).copy_shards([], opener({}), prefix="x")


def test_read_url_of_something_else(client: AtmosphereClient) -> None:
    """Only blobs have an address."""
    with pytest.raises(RefError):
        PDSBlobStore(client).read_url("s3://bucket/a.tar")


def test_sizes_are_asked_where_they_are_not_known(
    client: AtmosphereClient, index: AtmosphereIndex, digits: Dataset[Digit]
) -> None:
    """A dataset opened by its blobs' URLs alone is published with references to them."""
    store = PDSBlobStore(client)
    first = AtmosphereIndex(client, data_store=store).insert_dataset(digits, name="one")
    bare = Dataset.of(Digit, [shard.url for shard in first.shards])
    second = index.insert_dataset(bare, name="two")
    storage = client.get_record(second.uri).value["storage"]
    assert storage["$type"].endswith("storageBlobs")
    assert [blob["size"] for blob in storage["blobs"]] == [s.bytes for s in first.shards]
