"""Answers of S3 servers that are lost, late, or about something else: what is stored stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import atdata
from atdata.errors import NotFoundError, ShardExistsError, StoreError
from atdata.net.retries import RetryPolicy
from atdata.stores import s3_sink, s3_upload
from atdata.stores.s3 import S3DataStore
from tests.services.proxy import FaultProxy
from tests.services.s3 import S3Server
from tests.stores.parts import Photo, photos

COMPLETE, SECOND = r"POST .*uploadId=", r".*/data-000001\.tar"


@pytest.fixture
def proxy(s3_server: S3Server, proxy_to: Callable[[str], FaultProxy]) -> FaultProxy:
    """A proxy in front of the server."""
    return proxy_to(s3_server.endpoint)


@pytest.fixture
def store(s3_server: S3Server, s3_bucket: str, proxy: FaultProxy) -> S3DataStore:
    """A store on that server."""
    return S3DataStore({**s3_server.credentials(), "AWS_ENDPOINT": proxy.url}, bucket=s3_bucket)


@pytest.fixture(params=["whole", "in parts"])
def in_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether shards are sent in parts, as large ones are."""
    if request.param == "in parts":
        monkeypatch.setattr(s3_upload, "MULTIPART_BYTES", 1)
    return bool(request.param == "in parts")


@pytest.fixture
def bucket_in_order(s3_server: S3Server, s3_bucket: str) -> Iterator[None]:
    """At the end the bucket has every shard, whole, and no parts."""
    yield
    urls = f"s3://{s3_bucket}/p/data-{{000000..000002}}.tar"
    S3DataStore(s3_server.credentials(), bucket=s3_bucket)
    assert [sample.label for sample in atdata.Dataset[Photo](urls)] == list(range(60))
    assert "Uploads" not in s3_server.client().list_multipart_uploads(Bucket=s3_bucket)


@pytest.mark.usefixtures("bucket_in_order")
@pytest.mark.parametrize("times", [1, 4])
def test_lost_answers_lose_no_shard(
    store: S3DataStore, proxy: FaultProxy, in_parts: bool, times: int, tmp_path: Path
) -> None:
    """The server took the shard and its answers did not arrive, once or each time: it is there."""
    proxy.lose(times=times, match=COMPLETE if in_parts else f"PUT {SECOND}")
    assert len(store.write_shards(photos(tmp_path), prefix="p")) == 3


@pytest.mark.usefixtures("bucket_in_order", "in_parts")
def test_a_server_that_shows_objects_late_is_waited_for(
    store: S3DataStore, proxy: FaultProxy, tmp_path: Path
) -> None:
    """An object that a HEAD does not find for a while after it was stored is no error."""
    proxy.answer(404, times=3, match=f"HEAD {SECOND}$")
    assert len(store.write_shards(photos(tmp_path), prefix="p")) == 3


@pytest.mark.usefixtures("bucket_in_order")
def test_a_server_that_shows_an_object_never_says_so(
    store: S3DataStore, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is neither of another shard nor of a missing one; a second run sends no shard."""
    monkeypatch.setattr(s3_sink, "_UNTIL_SHOWN", RetryPolicy(attempts=2))
    dataset = photos(tmp_path)
    proxy.answer(404, times=None, match=f"HEAD {SECOND}$")
    with pytest.raises(StoreError, match="does not show it") as caught:
        store.write_shards(dataset, prefix="p")
    assert not isinstance(caught.value, NotFoundError | ShardExistsError)
    proxy.clear()
    before = len(proxy.requests)
    store.write_shards(dataset, prefix="p")
    sent = [str(request) for request in proxy.requests[before:] if request.method == "PUT"]
    assert [name for name in sent if "data-000001.tar" in name and ".idx" not in name] == []


@pytest.mark.usefixtures("bucket_in_order")
def test_a_missing_thing_in_writing_is_an_error_of_the_store(
    store: S3DataStore, proxy: FaultProxy, s3_server: S3Server, in_parts: bool, tmp_path: Path
) -> None:
    """404 to a PUT is not "there is no such shard"; what was stored before stays."""
    dataset = photos(tmp_path)
    proxy.answer(404, times=None, match=f"PUT {SECOND}")
    with pytest.raises(StoreError, match="404") as caught:
        store.write_shards(dataset, prefix="p")
    assert not isinstance(caught.value, NotFoundError)
    client = s3_server.client()
    assert client.head_object(Bucket=store.bucket, Key="p/data-000000.tar")["ContentLength"]
    proxy.clear()
    assert len(store.write_shards(dataset, prefix="p")) == 3


@pytest.mark.usefixtures("bucket_in_order", "in_parts")
def test_a_writer_at_the_same_key_is_waited_for(
    store: S3DataStore, proxy: FaultProxy, tmp_path: Path
) -> None:
    """409, which servers answer while another writes the key, is tried again."""
    proxy.answer(409, times=2, match=f"(PUT|POST) {SECOND}")
    assert len(store.write_shards(photos(tmp_path), prefix="p")) == 3


def test_parts_are_kept_where_nobody_knows_whether_they_became_an_object(
    store: S3DataStore,
    proxy: FaultProxy,
    s3_server: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that fails to answer whether an upload is complete may complete it yet."""
    monkeypatch.setattr(s3_upload, "MULTIPART_BYTES", 1)
    dataset = photos(tmp_path)
    proxy.answer(503, times=None, match=COMPLETE)
    with pytest.raises(StoreError, match="503"):
        store.write_shards(dataset, prefix="p")
    client = s3_server.client()
    (upload,) = client.list_multipart_uploads(Bucket=store.bucket)["Uploads"]
    assert upload["Key"] == "p/data-000000.tar"
    proxy.clear()
    assert len(store.write_shards(dataset, prefix="p")) == 3
