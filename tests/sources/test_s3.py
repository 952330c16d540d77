"""Shards in buckets, on a real server that checks signatures."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata import Dataset, DictSample
from atdata._protocols import DataSource
from atdata._shardlist import LocatedUrl
from atdata.errors import (
    BucketNotFoundError,
    CredentialsError,
    IntegrityError,
    NoDataUrlsError,
    OptionError,
    ShardNotFoundError,
    SourceError,
    UnsafeUrlError,
    UrlError,
)
from atdata.net.policy import STRANGER
from atdata.sources.s3 import S3Source
from atdata.sources.s3_access import S3Access, access_for, remember
from atdata.sources.url import URLSource
from atdata.stores.s3 import S3DataStore
from tests.services.proxy import FaultProxy
from tests.services.s3 import S3Server
from tests.sources.web import WebServer

ProxyTo = Callable[[str], FaultProxy]
BODIES = [b"shard %d " % n * 100_000 for n in range(3)]


@pytest.fixture
def bucket(s3_server: S3Server, s3_bucket: str) -> str:
    """A bucket with three shards below p/, one deeper, and something else."""
    client = s3_server.client()
    for number, body in enumerate(BODIES):
        client.put_object(Bucket=s3_bucket, Key=f"p/a-{number:06d}.tar", Body=body)
    client.put_object(Bucket=s3_bucket, Key="p/deep/b.tar", Body=b"b")
    client.put_object(Bucket=s3_bucket, Key="p/notes.txt", Body=b"notes")
    return s3_bucket


def source_of(server: S3Server, *urls: str, endpoint: str | None = None, **kw: Any) -> S3Source:
    """The shards, opened with the owner's keys."""
    return S3Source(
        urls,
        endpoint=endpoint or server.endpoint,
        access_key=kw.get("access_key", server.access_key),
        secret_key=kw.get("secret_key", server.secret_key),
        region=server.region,
    )


def read_first(source: DataSource) -> bytes:
    """The bytes of the first shard."""
    with source.open_shard(source.shard_list[0]) as stream:
        return stream.read()


@pytest.mark.parametrize(
    "name",
    ["p/a-{000000..000002}.tar", "p/*.tar", "p/", "p/a-00000?.tar", "p/a-00000[0-2].tar", "p/a**"],
)
def test_every_way_to_name_shards(s3_server: S3Server, bucket: str, name: str) -> None:
    """Braces, globs and a folder stand for the same shards, in order, and are read whole."""
    source = source_of(s3_server, f"s3://{bucket}/{name}")
    assert source.shard_list == [f"s3://{bucket}/p/a-{n:06d}.tar" for n in range(3)]
    assert [stream.read() for _, stream in source.shards()] == BODIES
    assert isinstance(source, DataSource)


def test_across_folders(s3_server: S3Server, bucket: str) -> None:
    """Two stars, and a prefix, reach into folders below."""
    deep = [f"s3://{bucket}/p/a-{n:06d}.tar" for n in range(3)] + [f"s3://{bucket}/p/deep/b.tar"]
    assert source_of(s3_server, f"s3://{bucket}/p/**.tar").shard_list == deep
    assert source_of(s3_server, f"s3://{bucket}/**/*.tar").shard_list == deep
    credentials = s3_server.credentials()
    assert S3Source.from_credentials(credentials, bucket=bucket, prefix="p/").shard_list == deep
    keyed = S3Source.from_credentials(credentials, bucket=bucket, keys=["p/a-{000001..000002}.tar"])
    assert keyed.shard_list == deep[1:3]


@pytest.mark.parametrize(
    "key", ["a b.tar", "é/ü.tar", "a#b?c&d=e.tar", "a%20b.tar", "a+b.tar", "a[1].tar", "a*.tar"]
)
def test_keys_of_any_characters(s3_server: S3Server, s3_bucket: str, key: str) -> None:
    """A key is what it is: nothing in it is taken for syntax where an object is called so."""
    s3_server.client().put_object(Bucket=s3_bucket, Key=key, Body=b"x")
    source = source_of(s3_server, f"s3://{s3_bucket}/{key}")
    assert [stream.read() for _, stream in source.shards()] == [b"x"]


def test_a_url_alone_is_read_where_the_bucket_is_known(s3_server: S3Server, bucket: str) -> None:
    """After an S3Source was made, its bucket's URLs are read with the same keys and endpoint."""
    source_of(s3_server, f"s3://{bucket}/p/")
    assert (
        URLSource(f"s3://{bucket}/p/*.tar").open_shard(f"s3://{bucket}/p/a-000001.tar").read()
        == (BODIES[1])
    )


def test_two_sources_keep_their_own_keys(s3_server: S3Server, bucket: str) -> None:
    """A later source with other keys for the same bucket does not take an earlier one's away."""
    own = source_of(s3_server, f"s3://{bucket}/p/a-000000.tar")
    other = source_of(
        s3_server,
        f"s3://{bucket}/p/a-000000.tar",
        access_key=s3_server.other_access_key,
        secret_key=s3_server.other_secret_key,
    )
    assert read_first(own) == BODIES[0]
    with pytest.raises(CredentialsError, match="does not allow"):
        read_first(other)


def test_drops_and_busy_answers_are_survived(
    s3_server: S3Server, bucket: str, proxy_to: ProxyTo
) -> None:
    """A connection that drops twice and a server that is busy still give the whole shard."""
    proxy = proxy_to(s3_server.endpoint)
    proxy.answer(503, match="GET")
    proxy.cut(after=300_000, times=2, match="GET", abrupt=False)
    source = source_of(s3_server, f"s3://{bucket}/p/a-000002.tar", endpoint=proxy.url)
    assert [stream.read() for _, stream in source.shards()] == [BODIES[2]]
    assert len(proxy.requests) == 4


def test_a_shard_that_is_replaced_meanwhile_is_an_error(
    s3_server: S3Server, bucket: str, proxy_to: ProxyTo
) -> None:
    """When the object is replaced during a drop, its bytes are not mixed with the old ones."""
    client, key = s3_server.client(), "big.tar"
    client.put_object(Bucket=bucket, Key=key, Body=b"old " * 1_000_000)
    proxy = proxy_to(s3_server.endpoint)
    proxy.cut(after=2_500_000, match="GET", abrupt=False)
    (shard,) = source_of(s3_server, f"s3://{bucket}/{key}", endpoint=proxy.url).shards()
    source = source_of(s3_server, f"s3://{bucket}/{key}", endpoint=proxy.url)
    proxy.cut(after=2_500_000, match="GET", abrupt=False)
    with source.open_shard(shard[0]) as stream:
        stream.read(10)
        client.put_object(Bucket=bucket, Key=key, Body=b"new " * 1_000_000)
        with pytest.raises(IntegrityError, match="changed on the server"):
            stream.read()


def test_a_wrong_secret_says_so(s3_server: S3Server, bucket: str) -> None:
    """A wrong secret is a CredentialsError in reading and in listing, and shows no secret."""
    for name in ("p/a-000000.tar", "p/*.tar"):
        source = source_of(s3_server, f"s3://{bucket}/{name}", secret_key="wr0ngs3cret")
        with pytest.raises(CredentialsError, match="does not accept the access key") as caught:
            read_first(source)
        assert "wr0ngs3cret" not in str(caught.value) + repr(source)


def test_a_missing_bucket_or_shard_says_which(s3_server: S3Server, bucket: str) -> None:
    """No such bucket and no such object are different errors; both are FileNotFoundErrors."""
    with pytest.raises(BucketNotFoundError, match="'no-such-bucket-here'"):
        read_first(source_of(s3_server, "s3://no-such-bucket-here/a.tar"))
    with pytest.raises(BucketNotFoundError, match="'no-such-bucket-here'"):
        read_first(source_of(s3_server, "s3://no-such-bucket-here/"))
    with pytest.raises(ShardNotFoundError, match=r"p/none\.tar"):
        read_first(source_of(s3_server, f"s3://{bucket}/p/none.tar"))
    with pytest.raises(NoDataUrlsError, match="matches no tar file"):
        _ = source_of(s3_server, f"s3://{bucket}/none/").shard_list


def test_an_endpoint_that_is_down_says_so(
    s3_server: S3Server, bucket: str, proxy_to: ProxyTo
) -> None:
    """With the server down, reading and listing name it, and do not show the signature."""
    proxy = proxy_to(s3_server.endpoint)
    proxy.refuse()
    for name in ("p/a-000000.tar", "p/*.tar"):
        with pytest.raises(SourceError, match="cannot be reached") as caught:
            read_first(source_of(s3_server, f"s3://{bucket}/{name}", endpoint=proxy.url))
        assert "Signature" not in str(caught.value)


def test_a_pickle_can_be_made_without_keys(s3_server: S3Server, bucket: str) -> None:
    """Within without_keys() no pickle of a source, a dataset or a store has a key; the endpoint
    stays, so that a process with keys of its own reads there."""
    source = source_of(s3_server, f"s3://{bucket}/p/")
    store = S3DataStore(s3_server.credentials(), bucket=bucket)
    keys = (s3_server.access_key.encode(), s3_server.secret_key.encode())
    kept = [source, URLSource(f"s3://{bucket}/p/a-000000.tar"), Dataset.of(DictSample, source)]
    assert all(key in pickle.dumps(thing) for thing in kept for key in keys)
    with atdata.without_keys():
        pickles = [pickle.dumps(thing) for thing in (*kept, store)]
    assert not [key for made in pickles for key in keys if key in made]
    assert all(s3_server.endpoint.encode() in made for made in pickles)
    assert read_first(pickle.loads(pickles[1])) == BODIES[0]


def test_a_spawned_worker_gets_the_keys(s3_server: S3Server, bucket: str) -> None:
    """A source by URL alone, sent to a process that knows nothing, reads there, too."""
    source_of(s3_server, f"s3://{bucket}/p/")
    source = pickle.dumps(URLSource(f"s3://{bucket}/p/a-000000.tar"))
    program = (
        "import pickle, sys; s = pickle.loads(sys.stdin.buffer.read());"
        "sys.stdout.buffer.write(s.open_shard(s.shard_list[0]).read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=source, stdout=subprocess.PIPE, check=True
    )
    assert done.stdout == BODIES[0]


def test_the_aws_environment_is_used(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a source or store made for it, a bucket is read as the AWS environment says."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    assert [stream.read() for _, stream in URLSource(f"s3://{bucket}/p/*.tar").shards()] == BODIES


def test_without_credentials_the_error_says_what_to_set(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where no keys are known and the server wants some, the error names the variables."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    with pytest.raises(CredentialsError, match="Set AWS_ACCESS_KEY_ID"):
        read_first(URLSource(f"s3://{bucket}/p/a-000000.tar"))


def test_public_buckets_need_no_keys(
    web: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A public object is read unsigned: when asked to, and when there are no keys."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    web.files["/public-bucket/a.tar"] = b"x"
    source = S3Source("s3://public-bucket/a.tar", endpoint=web.url, anonymous=True)
    assert read_first(source) == b"x"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", web.url)
    assert read_first(URLSource("s3://public-bucket/a.tar")) == b"x"
    assert {path for path, _ in web.asked} == {"/public-bucket/a.tar"}


def test_a_strangers_endpoint_gets_no_keys(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, proxy_to: ProxyTo
) -> None:
    """A record that names our bucket at another endpoint is asked without our keys, if at all."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    source_of(s3_server, f"s3://{bucket}/p/")
    evil = proxy_to(s3_server.endpoint)
    url = LocatedUrl(f"s3://{bucket}/p/a-000000.tar", endpoint=evil.url, stranger=True)
    monkeypatch.delenv("ATDATA_ALLOW_PRIVATE", raising=False)
    with pytest.raises(UnsafeUrlError):
        read_first(URLSource(url))
    assert evil.connections == 0
    monkeypatch.setenv("ATDATA_ALLOW_PRIVATE", "1")
    with pytest.raises(CredentialsError):
        read_first(URLSource(url))
    (asked,) = evil.requests
    assert "Signature" not in asked.path
    assert s3_server.access_key not in str(asked.headers)


def test_a_strangers_url_of_a_known_bucket_is_read(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that names a bucket where this process has access to it is read with the keys."""
    monkeypatch.delenv("ATDATA_ALLOW_PRIVATE", raising=False)
    source_of(s3_server, f"s3://{bucket}/p/")
    url = f"s3://{bucket}/p/a-{{000000..000002}}.tar"
    source = URLSource(url, policy=STRANGER, endpoint=s3_server.endpoint)
    assert [stream.read() for _, stream in source.shards()] == BODIES


def test_keys_stay_with_their_endpoint() -> None:
    """Asked for a bucket at another endpoint, what is remembered of it does not apply."""
    access = S3Access("http://one:9000", None, "k", "s")
    remember("b-of-two-endpoints", access)
    assert access_for("b-of-two-endpoints") == (access, True)
    assert access_for("b-of-two-endpoints", endpoint="http://one:9000/") == (access, True)
    elsewhere, own = access_for("b-of-two-endpoints", endpoint="http://two:9000", stranger=True)
    assert (elsewhere.access_key, elsewhere.anonymous, own) == (None, True, False)


def test_settings_from_a_file(tmp_path: Path) -> None:
    """A .env file gives endpoint, keys and region; quotes, comments and export are understood."""
    path = tmp_path / "creds.env"
    path.write_text(
        "# keys\n\nexport AWS_ENDPOINT='http://localhost:9000/'\nAWS_ACCESS_KEY_ID = abc # mine\n"
        'AWS_SECRET_ACCESS_KEY="x=#y z"\nAWS_DEFAULT_REGION=eu-west-1\nOTHER=1\n'
    )
    access = S3Access.from_settings(path)
    assert access == S3Access("http://localhost:9000", "eu-west-1", "abc", "x=#y z")
    assert S3Access.from_settings(str(path)) == access
    assert "x=#y" not in repr(access)
    assert "abc" not in repr(access)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"AWS_ACCESS_KEY_ID": "a"}, CredentialsError, "AWS_SECRET_ACCESS_KEY is missing"),
        ({"AWS_SECRET_ACCESS_KEY": "s3cret"}, CredentialsError, "AWS_ACCESS_KEY_ID is missing"),
        ({"AWS_ENDPOINT": "localhost:9000"}, UrlError, "with its scheme"),
        ({"AWS_ENDPOINT": "http://u:s3cret@h"}, UrlError, "password"),
        ({"AWS_REGION": 5}, CredentialsError, "'AWS_REGION' is not a str"),
        ("/none/creds.env", CredentialsError, "/none/creds.env cannot be read"),
        (17, CredentialsError, "not int"),
    ],
)
def test_bad_settings_say_what_is_wrong(
    settings: Any, error: type[Exception], message: str
) -> None:
    """Missing keys, endpoints without scheme and missing files each have an error, sans secret."""
    with pytest.raises(error, match=message) as caught:
        S3Access.from_settings(settings)
    assert "s3cret" not in str(caught.value)


def test_a_bad_line_is_named_but_not_shown(tmp_path: Path) -> None:
    """A line that is no setting is named by its number, since it may be a secret."""
    path = tmp_path / ".env"
    path.write_text("A=1\ns3cret\n")
    with pytest.raises(CredentialsError, match="line 2") as caught:
        S3Access.from_settings(path)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, OptionError),
        ({"urls": "s3://b/k", "bucket": "b"}, OptionError),
        ({"urls": "s3://b/k", "prefix": "p"}, OptionError),
        ({"bucket": "b", "prefix": "p", "keys": ["k"]}, OptionError),
        ({"bucket": "b", "keys": []}, NoDataUrlsError),
        ({"urls": []}, NoDataUrlsError),
        ({"urls": "https://h/x"}, UrlError),
        ({"urls": "s3:///k"}, UrlError),
        ({"urls": "s3://b/k", "access_key": "a"}, CredentialsError),
        (
            {"urls": "s3://b/k", "access_key": "a", "secret_key": "b", "anonymous": True},
            OptionError,
        ),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], error: type[Exception]) -> None:
    """Contradictory arguments fail at once."""
    with pytest.raises(error):
        S3Source(**arguments)
