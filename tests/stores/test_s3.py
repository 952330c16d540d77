"""A bucket as a store: what is checked first, what is sent, what stays after failures."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata._shardlist import ShardInfo
from atdata.errors import (
    BucketNotFoundError,
    CredentialsError,
    OptionError,
    StoreError,
    UrlError,
)
from atdata.stores.s3 import S3DataStore
from tests.services.proxy import FaultProxy
from tests.services.s3 import S3Server
from tests.stores.parts import Photo, Watched, photos

ProxyTo = Callable[[str], FaultProxy]


@pytest.fixture
def watched(tmp_path: Path) -> tuple[atdata.Dataset[Photo], Watched]:
    """A dataset of three shards, and its source, which tells what was read."""
    source = Watched(photos(tmp_path).source)
    return atdata.Dataset[Photo](source), source


def keys(server: S3Server, bucket: str) -> list[str]:
    """The shards that anyone sees in the bucket, without their tables."""
    found = server.client().list_objects_v2(Bucket=bucket).get("Contents", ())
    return [item["Key"] for item in found if not item["Key"].endswith(".idx")]


def store_at(server: S3Server, bucket: str, **changed: str) -> S3DataStore:
    """The owner's store, with some settings changed."""
    return S3DataStore({**server.credentials(), **changed}, bucket=bucket)


def test_written_and_read_by_its_url(s3_server: S3Server, s3_bucket: str, tmp_path: Path) -> None:
    """A dataset written with credentials from a .env file is read by its s3:// URLs alone."""
    path = tmp_path / "s3.env"
    path.write_text("".join(f"{k}={v}\n" for k, v in s3_server.credentials().items()))
    store = S3DataStore(path, bucket=s3_bucket)
    urls = store.write_shards(photos(tmp_path), prefix="photos/v1")
    assert list(urls) == [f"s3://{s3_bucket}/photos/v1/data-{n:06d}.tar" for n in range(3)]
    read = atdata.Dataset[Photo](f"s3://{s3_bucket}/photos/v1/data-{{000000..000002}}.tar")
    assert [sample.label for sample in read] == list(range(60))
    assert store.endpoint == s3_server.endpoint
    assert store.region == s3_server.region


def test_a_missing_bucket_is_found_before_anything_is_read(
    s3_server: S3Server, watched: tuple[atdata.Dataset[Photo], Watched]
) -> None:
    """Without the bucket, the error names it, and no shard of the dataset was opened."""
    dataset, source = watched
    with pytest.raises(BucketNotFoundError, match="no bucket 'not-a-bucket-of-ours'"):
        store_at(s3_server, "not-a-bucket-of-ours").write_shards(dataset, prefix="p")
    assert source.opened == []


@pytest.mark.parametrize("wrong", ["secret", "key", "rights"])
def test_wrong_keys_are_found_before_anything_is_read(
    s3_server: S3Server,
    s3_bucket: str,
    watched: tuple[atdata.Dataset[Photo], Watched],
    wrong: str,
) -> None:
    """A wrong secret, an unknown key and a user without rights are CredentialsErrors at once."""
    changed = {
        "secret": {"AWS_SECRET_ACCESS_KEY": "wr0ngs3cret"},
        "key": {"AWS_ACCESS_KEY_ID": "test:nobody"},
        "rights": {
            "AWS_ACCESS_KEY_ID": s3_server.other_access_key,
            "AWS_SECRET_ACCESS_KEY": s3_server.other_secret_key,
        },
    }[wrong]
    dataset, source = watched
    store = store_at(s3_server, s3_bucket, **changed)
    with pytest.raises(CredentialsError) as caught:
        store.write_shards(dataset, prefix="p")
    assert source.opened == []
    shown = str(caught.value) + repr(store)
    assert not any(secret in shown for secret in ("wr0ngs3cret", s3_server.other_secret_key))


def test_no_credentials_at_all_says_what_to_set(
    s3_server: S3Server, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without keys anywhere, the error names the variables to set."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = S3DataStore({"AWS_ENDPOINT": s3_server.endpoint}, bucket=s3_bucket)
    with pytest.raises(CredentialsError, match="Set AWS_ACCESS_KEY_ID"):
        store.write_shards(photos(tmp_path), prefix="p")


def test_a_server_that_is_down_is_found_before_anything_is_read(
    s3_server: S3Server,
    s3_bucket: str,
    proxy_to: ProxyTo,
    watched: tuple[atdata.Dataset[Photo], Watched],
) -> None:
    """With the server down, the error names the endpoint, after two attempts."""
    proxy = proxy_to(s3_server.endpoint)
    proxy.refuse()
    dataset, source = watched
    with pytest.raises(StoreError, match=rf"{proxy.url} cannot be reached"):
        store_at(s3_server, s3_bucket, AWS_ENDPOINT=proxy.url).write_shards(dataset, prefix="p")
    assert source.opened == []


@pytest.mark.parametrize("bucket", ["", "s3://b", "b/p", None])
def test_what_is_no_bucket_name_fails_at_once(bucket: Any) -> None:
    """A URL or nothing in place of the bucket's name says so when the store is made."""
    with pytest.raises(OptionError, match="name alone"):
        S3DataStore({}, bucket=bucket)


def test_a_name_that_no_bucket_can_have(s3_server: S3Server, tmp_path: Path) -> None:
    """A name with characters that buckets cannot have is an error of ours."""
    with pytest.raises((UrlError, StoreError), match="my bucket"):
        store_at(s3_server, "my bucket!").write_shards(photos(tmp_path), prefix="p")


def test_writing_again_sends_nothing(
    s3_server: S3Server, s3_bucket: str, proxy_to: ProxyTo, tmp_path: Path
) -> None:
    """The second time, shards are recognised by their hash, and not one byte is uploaded."""
    proxy = proxy_to(s3_server.endpoint)
    store = store_at(s3_server, s3_bucket, AWS_ENDPOINT=proxy.url)
    first = store.write_shards(photos(tmp_path), prefix="p")
    sent = proxy.bytes_up
    assert sent > 0
    assert store.write_shards(photos(tmp_path), prefix="p") == first
    assert proxy.bytes_up == sent


def test_what_another_program_put_there_is_known_by_its_bytes(
    s3_server: S3Server, s3_bucket: str, tmp_path: Path
) -> None:
    """An object without our hash, such as a copy by another tool, counts when its bytes agree."""
    store = store_at(s3_server, s3_bucket)
    dataset = photos(tmp_path)
    body = Path(dataset.shard_list[0]).read_bytes()
    s3_server.client().put_object(Bucket=s3_bucket, Key="p/data-000000.tar", Body=body)
    assert len(store.write_shards(dataset, prefix="p")) == 3
    other = body[:-1] + b"x"
    s3_server.client().put_object(Bucket=s3_bucket, Key="q/data-000000.tar", Body=other)
    with pytest.raises(StoreError, match="with other bytes"):
        store.write_shards(dataset, prefix="q")
    found = s3_server.client().get_object(Bucket=s3_bucket, Key="q/data-000000.tar")
    assert found["Body"].read() == other


def test_uploads_that_break_are_tried_again(
    s3_server: S3Server, s3_bucket: str, proxy_to: ProxyTo, tmp_path: Path
) -> None:
    """A connection that breaks within an upload and a busy server do not end the writing."""
    proxy = proxy_to(s3_server.endpoint)
    proxy.cut_upload(after=5_000, match="PUT")
    proxy.answer(503, match="PUT .*data-000001")
    store = store_at(s3_server, s3_bucket, AWS_ENDPOINT=proxy.url)
    urls = store.write_shards(photos(tmp_path), prefix="p")
    assert [sample.label for sample in atdata.Dataset[Photo](urls)] == list(range(60))


def test_after_a_failure_of_the_server_a_second_run_goes_on(
    s3_server: S3Server, s3_bucket: str, proxy_to: ProxyTo, tmp_path: Path
) -> None:
    """What the server took before it failed stays, and is not sent again."""
    proxy = proxy_to(s3_server.endpoint)
    proxy.answer(500, times=None, match="PUT .*data-000002")
    store = store_at(s3_server, s3_bucket, AWS_ENDPOINT=proxy.url)
    with pytest.raises(StoreError, match="500"):
        store.write_shards(photos(tmp_path), prefix="p")
    assert keys(s3_server, s3_bucket) == ["p/data-000000.tar", "p/data-000001.tar"]
    proxy.clear()
    before = len(proxy.requests)
    assert len(store.write_shards(photos(tmp_path), prefix="p")) == 3
    puts = [str(r) for r in proxy.requests[before:] if r.method == "PUT"]
    assert [name for name in puts if name.endswith(".tar")] == puts[:1]
    assert "data-000002" in puts[0]


def test_after_a_bad_sample_nothing_stays(
    s3_server: S3Server, s3_bucket: str, tmp_path: Path
) -> None:
    """When the dataset itself is at fault, what was sent of it is removed again."""

    def check(photo: Photo) -> Photo:
        if photo.label == 45:
            raise ArithmeticError("bad photo")
        return photo

    with pytest.raises(ArithmeticError):
        store_at(s3_server, s3_bucket).write_shards(photos(tmp_path).map(check), prefix="p")
    assert keys(s3_server, s3_bucket) == []


PROGRAM = """
import json, sys
from pathlib import Path
from atdata.stores.s3 import S3DataStore
from tests.stores.parts import photos
settings, bucket, folder = json.loads(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
S3DataStore(settings, bucket=bucket).write_shards(photos(folder), prefix="p")
"""


def test_a_killed_writer_leaves_whole_shards_only(
    s3_server: S3Server, s3_bucket: str, proxy_to: ProxyTo, tmp_path: Path
) -> None:
    """Killed in the upload of the third shard, two are whole, and a second run resumes."""
    import json

    proxy = proxy_to(s3_server.endpoint)
    upload = proxy.pause(match=r"PUT .*data-000002")
    settings = {**s3_server.credentials(), "AWS_ENDPOINT": proxy.url}
    arguments = [json.dumps(settings), s3_bucket, str(tmp_path)]
    writer = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments])
    upload.wait()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    proxy.clear()
    assert keys(s3_server, s3_bucket)[:2] == ["p/data-000000.tar", "p/data-000001.tar"]
    urls = store_at(s3_server, s3_bucket).write_shards(photos(tmp_path), prefix="p")
    assert [sample.label for sample in atdata.Dataset[Photo](urls)] == list(range(60))


def test_two_writers_at_once_agree(s3_server: S3Server, s3_bucket: str, tmp_path: Path) -> None:
    """Several writers of the same dataset under the same prefix end with the same shards, and one
    file that has their type."""
    store = store_at(s3_server, s3_bucket)
    datasets = [photos(tmp_path / str(n)) for n in range(4)]
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(store.write_shards, ds, prefix="p") for ds in datasets]
    assert len({tuple(future.result()) for future in futures}) == 1
    assert len(keys(s3_server, s3_bucket)) == 4
    assert atdata.load_dataset(futures[0].result()[0], split="train")[0].label == 0


def test_a_large_shard_is_sent_in_parts(
    s3_server: S3Server, s3_bucket: str, proxy_to: ProxyTo
) -> None:
    """A shard over 64 MiB goes in parts, arrives exactly, and is not sent a second time."""
    body = os.urandom(1 << 20) * 66
    shard = ShardInfo("big.tar", 1, len(body), hashlib.sha256(body).hexdigest())
    proxy = proxy_to(s3_server.endpoint)
    proxy.cut_upload(after=100_000, match=r"PUT .*partNumber=3")
    store = store_at(s3_server, s3_bucket, AWS_ENDPOINT=proxy.url)
    (url,) = store.copy_shards([shard], lambda url: io.BytesIO(body), prefix="big")
    assert sum(request.method == "PUT" for request in proxy.requests) > 4
    with atdata.URLSource(url).open_shard(url) as stream:
        assert stream.read() == body
    sent = proxy.bytes_up
    assert store.copy_shards([shard], lambda url: io.BytesIO(b""), prefix="big") == [url]
    assert proxy.bytes_up == sent


def test_a_large_shard_that_fails_leaves_nothing(
    s3_server: S3Server, s3_bucket: str, proxy_to: ProxyTo
) -> None:
    """When a part cannot be sent, nothing is visible, and the parts are given up."""
    body = bytes(66 << 20)
    proxy = proxy_to(s3_server.endpoint)
    proxy.answer(500, times=None, match=r"PUT .*partNumber=4")
    store = store_at(s3_server, s3_bucket, AWS_ENDPOINT=proxy.url)
    with pytest.raises(StoreError):
        store.copy_shards([ShardInfo("big.tar")], lambda url: io.BytesIO(body), prefix="big")
    assert keys(s3_server, s3_bucket) == []
    assert "Uploads" not in s3_server.client().list_multipart_uploads(Bucket=s3_bucket)


def test_only_its_own_urls_are_resolved(s3_server: S3Server, s3_bucket: str) -> None:
    """read_url takes URLs of the store's bucket and no others."""
    store = store_at(s3_server, s3_bucket)
    assert store.read_url(f"s3://{s3_bucket}/p/x.tar") == f"s3://{s3_bucket}/p/x.tar"
    for url in ("s3://another-bucket/x.tar", "/x.tar"):
        with pytest.raises(UrlError):
            store.read_url(url)
