"""The services that the other tests stand on are real, closed to other machines, and end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
import urllib3
from botocore.exceptions import ClientError

from atdata.testing.network import Account, Network
from tests.services.postgres import PostgresServer
from tests.services.process import ROOT, is_listening
from tests.services.redis import RedisServer
from tests.services.s3 import S3Server

pytestmark = pytest.mark.service

MODULES = ["tests.services.redis", "tests.services.postgres", "tests.services.s3"]


def test_redis_answers_and_is_empty(redis_url: str) -> None:
    """Each test gets a Redis database with nothing in it."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()
        assert client.dbsize() == 0
        client.set("left", "behind")


def test_redis_of_the_next_test_is_empty(redis_url: str, redis_server: RedisServer) -> None:
    """What one test leaves in Redis, the next does not see."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
    assert redis_url.startswith(redis_server.url)


def test_postgres_answers(postgres_url: str) -> None:
    """Each test gets a PostgreSQL database without tables."""
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchone()
    assert tables == (0,)


def test_postgres_checks_passwords(postgres_url: str) -> None:
    """A wrong password is refused, so that tests of credentials mean something."""
    parts = urlsplit(postgres_url)
    wrong = postgres_url.replace(f":{parts.password}@", ":wrong@")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_s3_gives_back_what_was_put(s3_server: S3Server, s3_bucket: str) -> None:
    """An object reads back byte for byte, and a range of it answers 206."""
    client = s3_server.client()
    client.put_object(Bucket=s3_bucket, Key="a/b.tar", Body=b"0123456789")
    assert client.get_object(Bucket=s3_bucket, Key="a/b.tar")["Body"].read() == b"0123456789"
    part = client.get_object(Bucket=s3_bucket, Key="a/b.tar", Range="bytes=2-4")
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert part["Body"].read() == b"234"


@pytest.mark.parametrize("who", ["wrong secret", "no rights"])
def test_s3_refuses_strangers(s3_server: S3Server, s3_bucket: str, who: str) -> None:
    """A wrong secret, and a right one of a user without rights, get nothing."""
    import boto3

    keys = {
        "wrong secret": (s3_server.access_key, "wrong"),
        "no rights": (s3_server.other_access_key, s3_server.other_secret_key),
    }
    access, secret = keys[who]
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        region_name=s3_server.region,
    )
    with pytest.raises(ClientError) as refused:
        client.list_objects_v2(Bucket=s3_bucket)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def _post(url: str, body: dict[str, str]) -> Any:
    answer = urllib3.request("POST", url, json=body, retries=False, timeout=30)
    assert answer.status == 200, answer.data
    return answer.json()


def _login(account: Account) -> Any:
    body = {"identifier": account.handle, "password": account.password}
    return _post(f"{account.server_url}/xrpc/com.atproto.server.createSession", body)


def test_network_has_two_homes(network: Network) -> None:
    """Alice and Bob log in on different servers, and the directory says which is whose."""
    alice, bob = network.accounts
    assert alice.server_url != bob.server_url
    for account in (alice, bob):
        assert _login(account)["did"] == account.did
        document = urllib3.request("GET", f"{network.plc_url}/{account.did}", timeout=30).json()
        assert document["alsoKnownAs"] == [f"at://{account.handle}"]
        assert document["service"][0]["serviceEndpoint"] == account.server_url


def test_network_resolves_handles_of_the_other_server(network: Network) -> None:
    """A handle resolves on every server of the network, as it does on the public one."""
    alice, bob = network.accounts
    answer = urllib3.request(
        "GET",
        f"{alice.server_url}/xrpc/com.atproto.identity.resolveHandle",
        fields={"handle": bob.handle},
        timeout=30,
    )
    assert answer.json() == {"did": bob.did}


def test_network_makes_accounts(network: Network) -> None:
    """A test gets an account of its own, on the server that it names."""
    account = network.create_account(server=1)
    assert account.server_url == network.servers[1].url
    assert _login(account)["handle"] == account.handle
    assert account.password not in repr(account)


def test_network_tells_its_environment(network: Network) -> None:
    """The environment to export names the directory, the first server and who can log in."""
    environment = network.environment()
    assert environment["ATDATA_PLC_URL"] == network.plc_url
    assert environment["ATDATA_PDS_URL"] == network.servers[0].url
    assert environment["ATDATA_ALICE_HANDLE"] == network.accounts[0].handle
    assert environment["ATDATA_BOB_PASSWORD"] == network.accounts[1].password


def _ports(said: dict[str, Any]) -> set[int]:
    """All ports in what a service says of itself."""
    urls = [value for value in said.values() if isinstance(value, str) and "://" in value]
    urls += [server["url"] for server in said.get("servers", [])]
    return {port for url in urls if (port := urlsplit(url).port) is not None}


def _own_addresses() -> list[str]:
    """Addresses of this machine that others can reach; a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return []
        return [probe.getsockname()[0]]


def test_services_listen_on_loopback_only(
    redis_server: RedisServer,
    postgres_server: PostgresServer,
    s3_server: S3Server,
    network: Network,
) -> None:
    """No service can be reached from another machine."""
    urls = [redis_server.url, postgres_server.url, s3_server.endpoint, network.plc_url]
    urls += [server.url for server in network.servers]
    for port in (urlsplit(url).port for url in urls):
        assert port is not None
        assert is_listening(port)
        for address in _own_addresses():
            with pytest.raises(OSError):
                socket.create_connection((address, port), timeout=2).close()


@contextmanager
def _by_hand(
    module: str, *arguments: str, folder: Path
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = json.loads(process.stdout.readline())
        if "unavailable" in said:
            if os.environ.get("CI") == "true":
                pytest.fail(said["unavailable"])
            pytest.skip(said["unavailable"])
        yield process, said
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def _eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def service_tmp() -> Iterator[Path]:
    """A folder for the temporary files of services, which every user may enter."""
    with tempfile.TemporaryDirectory(prefix="atdata-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("how", ["killed", "interrupted", "left"])
@pytest.mark.parametrize("module", [*MODULES, "atdata.testing.network"])
def test_services_end_with_their_starter(module: str, how: str, service_tmp: Path) -> None:
    """Killed, interrupted or with its input closed, a starter leaves no server and no file."""
    arguments = ["--json"] if module == "atdata.testing.network" else []
    with _by_hand(module, *arguments, folder=service_tmp) as (process, said):
        ports = _ports(said)
        assert ports
        assert all(is_listening(port) for port in ports)
        if how == "killed":
            process.kill()
        elif how == "interrupted":
            process.send_signal(signal.SIGINT)
        else:
            assert process.stdin is not None
            process.stdin.close()
        process.wait(30)
        _eventually(lambda: not any(map(is_listening, ports)), "a server is still there")
        _eventually(lambda: not list(service_tmp.iterdir()), "files are left")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is asked on Linux only")
@pytest.mark.parametrize("module", MODULES)
def test_services_end_with_their_supervisor(module: str, service_tmp: Path) -> None:
    """Even if the process that should stop them is killed, no server keeps running."""
    with _by_hand(module, folder=service_tmp) as (process, said):
        ports = _ports(said)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 1
        os.kill(int(children[0]), signal.SIGKILL)
        _eventually(lambda: not any(map(is_listening, ports)), "a server is still there")
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)
        assert not list(service_tmp.iterdir())
