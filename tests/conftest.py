"""Fixtures of the whole suite: real services, started on first use, shared by the workers."""

from __future__ import annotations

import itertools
import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from atdata.atmosphere import AtmosphereClient
from atdata.testing.network import Account, Network
from tests.services.postgres import PostgresServer
from tests.services.process import ServiceUnavailable
from tests.services.proxy import FaultProxy
from tests.services.redis import RedisServer
from tests.services.s3 import S3Server
from tests.services.shared import attach
from tests.sources.web import WebServer, web_server

# Some clients ask a cloud's metadata address for credentials, which costs seconds elsewhere.
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")

# A shell starts background jobs with SIGINT ignored, and every child would inherit that: a command
# that a test interrupts would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing fails for taking long: a busy machine is slow.
settings.register_profile("atdata", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("atdata")


OUTSIDE = {"start_service", "read_with_peer", "peer_shards"}
"""Fixtures that start servers or set up other packages."""

SERVICES = {"postgres", "redis", "s3", "network"}
"""Parameters by which a fixture of several backends takes one that is a server."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs more than Python and the locked packages as ``service``."""
    for item in items:
        taken = set(getattr(item, "fixturenames", ()))
        parameters = getattr(item, "callspec", None)
        values = parameters.params.values() if parameters else ()
        if OUTSIDE & taken or any(isinstance(v, str) and v in SERVICES for v in values):
            item.add_marker("service")


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all worker processes of this run share."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    shared = folder / "services"
    shared.mkdir(exist_ok=True)
    return shared


@pytest.fixture(scope="session")
def start_service(run_folder: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Start or join a service; without it the test is skipped here and fails with CI=true."""
    with ExitStack() as running:

        def start(name: str, module: str, *arguments: str) -> dict[str, Any]:
            try:
                return running.enter_context(attach(run_folder, name, module, *arguments))
            except ServiceUnavailable as missing:
                if os.environ.get("CI") == "true":
                    pytest.fail(str(missing), pytrace=False)
                pytest.skip(str(missing))

        yield start


@pytest.fixture(scope="session")
def redis_server(start_service: Callable[..., dict[str, Any]]) -> RedisServer:
    """A Redis of this worker's own; tests take ``redis_url``."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return RedisServer(**start_service(f"redis-{worker}", "tests.services.redis"))


@pytest.fixture(scope="session")
def _redis_numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def redis_url(redis_server: RedisServer, _redis_numbers: Iterator[int]) -> str:
    """URL of an empty Redis database, of this test alone."""
    import redis

    url = redis_server.database(next(_redis_numbers))
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture(scope="session")
def postgres_server(start_service: Callable[..., dict[str, Any]]) -> PostgresServer:
    """A PostgreSQL that all workers share; tests take ``postgres_url``."""
    return PostgresServer(**start_service("postgres", "tests.services.postgres"))


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """URL of an empty PostgreSQL database, of this test alone."""
    name = f"test_{secrets.token_hex(6)}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def s3_server(start_service: Callable[..., dict[str, Any]]) -> S3Server:
    """An S3 server that all workers share, with the keys of its owner and of another user."""
    return S3Server(**start_service("s3", "tests.services.s3"))


@pytest.fixture
def s3_bucket(s3_server: S3Server) -> str:
    """Name of a new, empty bucket, of this test alone."""
    name = f"test-{secrets.token_hex(8)}"
    s3_server.client().create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def network(start_service: Callable[..., dict[str, Any]]) -> Network:
    """A PLC directory and two servers, shared by all workers, with accounts alice and bob.

    A test that changes an account takes one of its own: ``network.create_account()``.
    """
    return Network.from_json(start_service("network", "atdata.testing.network", "--json"))


@pytest.fixture
def at_home(network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Network:
    """The network, named by the environment as a user would."""
    monkeypatch.setenv("ATDATA_PLC_URL", network.plc_url)
    monkeypatch.setenv("ATDATA_PDS_URL", network.servers[0].url)
    monkeypatch.setenv("ATDATA_DATA_DIR", str(tmp_path / "data"))
    return network


@pytest.fixture
def account(at_home: Network) -> Account:
    """An account of this test alone."""
    return at_home.create_account()


@pytest.fixture
def login(account: Account) -> Callable[..., AtmosphereClient]:
    """Log in to the test's account, through a proxy if its URL is given."""

    def log_in(server: str | None = None) -> AtmosphereClient:
        client = AtmosphereClient(server)
        client.login(account.handle, account.password)
        return client

    return log_in


@pytest.fixture
def client(login: Callable[..., AtmosphereClient]) -> AtmosphereClient:
    """A client that is logged in."""
    return login()


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A web server of this test alone."""
    with web_server() as server:
        yield server


@pytest.fixture
def proxy_to() -> Iterator[Callable[[str], FaultProxy]]:
    """Put a fault proxy in front of a service: ``proxy_to(url)``; all are closed at the end."""
    with ExitStack() as proxies:
        yield lambda url: proxies.enter_context(FaultProxy(url))
