"""The fault proxy makes the requested faults, and otherwise changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest
import redis
import urllib3
from botocore.exceptions import ClientError

from atdata.testing.network import Network
from tests.services.postgres import PostgresServer
from tests.services.proxy import FaultProxy
from tests.services.s3 import S3Server

ProxyTo = Callable[[str], FaultProxy]
PAYLOAD = bytes(range(256)) * 4000


@pytest.fixture
def object_url(s3_server: S3Server, s3_bucket: str, proxy_to: ProxyTo) -> tuple[FaultProxy, str]:
    """A proxy in front of S3, and a signed URL of an object of about 1 MB."""
    s3_server.client().put_object(Bucket=s3_bucket, Key="shard.tar", Body=PAYLOAD)
    proxy = proxy_to(s3_server.endpoint)
    signed = s3_server.client(proxy.url).generate_presigned_url(
        "get_object", Params={"Bucket": s3_bucket, "Key": "shard.tar"}
    )
    return proxy, signed


def _get(url: str) -> urllib3.BaseHTTPResponse:
    return urllib3.request("GET", url, retries=False, timeout=30)


def _read_into(seen: bytearray, answer: urllib3.BaseHTTPResponse) -> None:
    while piece := answer.read(10_000):
        seen += piece


def test_passes_signed_requests(s3_server: S3Server, s3_bucket: str, proxy_to: ProxyTo) -> None:
    """Signed uploads and downloads go through unchanged, and are counted."""
    proxy = proxy_to(s3_server.endpoint)
    client = s3_server.client(proxy.url)
    client.put_object(Bucket=s3_bucket, Key="shard.tar", Body=PAYLOAD)
    assert client.get_object(Bucket=s3_bucket, Key="shard.tar")["Body"].read() == PAYLOAD
    assert [request.method for request in proxy.requests] == ["PUT", "GET"]
    assert proxy.bytes_up >= len(PAYLOAD)
    assert proxy.bytes_down >= len(PAYLOAD)


def test_answers_in_the_services_place(object_url: tuple[FaultProxy, str]) -> None:
    """The next two requests are throttled; the third reaches the service."""
    proxy, url = object_url
    proxy.answer(429, times=2, match="GET .*shard", headers={"Retry-After": "1"}, body=b"later")
    for _ in range(2):
        answer = _get(url)
        assert (answer.status, answer.headers["Retry-After"], answer.data) == (429, "1", b"later")
    assert _get(url).data == PAYLOAD
    assert len(proxy.requests) == 3


def test_rules_spare_other_requests(object_url: tuple[FaultProxy, str]) -> None:
    """A fault for some requests does not touch the others."""
    proxy, url = object_url
    proxy.answer(503, times=None, match="^PUT ")
    assert _get(url).data == PAYLOAD


@pytest.mark.parametrize("abrupt", [True, False])
def test_cuts_downloads(object_url: tuple[FaultProxy, str], abrupt: bool) -> None:
    """A body ends after so many bytes, by a reset or in good order, and only once."""
    proxy, url = object_url
    proxy.cut(after=100_000, abrupt=abrupt)
    answer = urllib3.request("GET", url, retries=False, preload_content=False, timeout=30)
    seen = bytearray()
    with pytest.raises(urllib3.exceptions.ProtocolError):
        _read_into(seen, answer)
    assert len(seen) <= 100_000
    assert PAYLOAD.startswith(seen)
    assert _get(url).data == PAYLOAD


def test_cuts_uploads(s3_server: S3Server, s3_bucket: str, proxy_to: ProxyTo) -> None:
    """A cut upload leaves no object, and the client's own retry succeeds."""
    proxy = proxy_to(s3_server.endpoint)
    proxy.cut_upload(after=50_000, match="^PUT .*shard")
    s3_server.client(proxy.url).put_object(Bucket=s3_bucket, Key="shard.tar", Body=PAYLOAD)
    assert [request.method for request in proxy.requests] == ["PUT", "PUT"]
    found = s3_server.client().head_object(Bucket=s3_bucket, Key="shard.tar")
    assert found["ContentLength"] == len(PAYLOAD)


def test_refuses_and_accepts_again(object_url: tuple[FaultProxy, str]) -> None:
    """A refused connection is refused by the system, and the same URL works afterwards."""
    proxy, url = object_url
    proxy.refuse()
    with pytest.raises(urllib3.exceptions.NewConnectionError):
        _get(url)
    proxy.accept()
    assert _get(url).data == PAYLOAD


def test_holds_requests(object_url: tuple[FaultProxy, str]) -> None:
    """A held request has arrived, and continues only when it is released."""
    proxy, url = object_url
    pause = proxy.pause(match="shard")
    answers: list[bytes] = []
    reader = threading.Thread(target=lambda: answers.append(_get(url).data))
    reader.start()
    pause.wait()
    assert answers == []
    pause.release()
    reader.join(30)
    assert answers == [PAYLOAD]


def test_the_network_works_behind_it(network: Network, proxy_to: ProxyTo) -> None:
    """A server of the AT Protocol answers through it, kept-alive connections included."""
    proxy = proxy_to(network.servers[0].url)
    with urllib3.PoolManager(num_pools=1) as pool:
        for _ in range(3):
            url = f"{proxy.url}/xrpc/com.atproto.server.describeServer"
            answer = pool.request("GET", url, retries=False, timeout=30)
            assert answer.json()["did"] == network.servers[0].did
    assert proxy.connections == 1
    assert len(proxy.requests) == 3


def test_redis_behind_it(redis_url: str, proxy_to: ProxyTo) -> None:
    """Redis works through it, its database number kept, until the connection is cut."""
    proxy = proxy_to(redis_url)
    with redis.Redis.from_url(redis_url) as direct:
        direct.set("shard", PAYLOAD)
    with redis.Redis.from_url(proxy.url) as client:
        assert client.get("shard") == PAYLOAD
    proxy.cut(after=100_000)
    with redis.Redis.from_url(proxy.url, retry=None) as client, pytest.raises(redis.RedisError):
        client.get("shard")


def test_postgres_behind_it(postgres_server: PostgresServer, proxy_to: ProxyTo) -> None:
    """PostgreSQL works through it, user and password kept, until it is refused."""
    proxy = proxy_to(postgres_server.url)
    with psycopg.connect(proxy.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        proxy.refuse()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_wrong_keys_are_still_refused(
    s3_server: S3Server, s3_bucket: str, proxy_to: ProxyTo
) -> None:
    """The proxy does not make anything pass that the service would refuse."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=proxy_to(s3_server.endpoint).url,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key="wrong",
        region_name=s3_server.region,
    )
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client.get_object(Bucket=s3_bucket, Key="shard.tar")


def test_flips_a_byte(object_url: tuple[FaultProxy, str]) -> None:
    """One byte of a body arrives changed, the others as they were; the next body is whole."""
    proxy, url = object_url
    proxy.flip(at=500_000, match="GET .*shard")
    changed, whole = _get(url).data, _get(url).data
    assert [i for i, byte in enumerate(changed) if byte != PAYLOAD[i]] == [500_000]
    assert whole == PAYLOAD


def test_loses_answers(s3_server: S3Server, s3_bucket: str, proxy_to: ProxyTo) -> None:
    """The service did what it was asked, and the client hears nothing of it."""
    proxy = proxy_to(s3_server.endpoint)
    proxy.lose(match="PUT")
    signed = s3_server.client(proxy.url).generate_presigned_url(
        "put_object", Params={"Bucket": s3_bucket, "Key": "shard.tar"}
    )
    with pytest.raises(urllib3.exceptions.ProtocolError):
        urllib3.request("PUT", signed, body=PAYLOAD, retries=False, timeout=30)
    stored = s3_server.client().get_object(Bucket=s3_bucket, Key="shard.tar")
    assert stored["Body"].read() == PAYLOAD
