"""Fixtures of the tests of the network: an account of each test's own, logged in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata.atmosphere import AtmosphereClient, AtmosphereIndex
from atdata.dataset.dataset import Dataset
from atdata.dataset.write import write_samples
from atdata.samples.packable import packable
from atdata.testing.network import Account, Network
from tests.atmosphere.hostile import home as home


@packable
class Digit:
    """A small sample."""

    image: NDArray[np.uint8]
    label: int


Login = Callable[..., AtmosphereClient]


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
def login(account: Account) -> Login:
    """Log in to the test's account, through a proxy where its URL is given."""

    def log_in(server: str | None = None) -> AtmosphereClient:
        client = AtmosphereClient(server)
        client.login(account.handle, account.password)
        return client

    return log_in


@pytest.fixture
def client(login: Login) -> AtmosphereClient:
    """A client that is logged in."""
    return login()


@pytest.fixture
def index(client: AtmosphereClient) -> AtmosphereIndex:
    """The index of the test's account."""
    return AtmosphereIndex(client)


@pytest.fixture
def digits(tmp_path: Path) -> Dataset[Digit]:
    """Twenty samples in seven shards."""
    samples = [Digit(np.full((4, 4), i, np.uint8), i) for i in range(20)]
    return write_samples(samples, tmp_path / "digits.tar", maxcount=3)


@pytest.fixture
def public_digits() -> Dataset[Digit]:
    """Seven shards under URLs that anyone might read."""
    return Dataset.of(Digit, [f"https://data.example/digits-{i:06d}.tar" for i in range(7)])
