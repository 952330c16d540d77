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
from tests.atmosphere.hostile import home as home


@packable
class Digit:
    """A small sample."""

    image: NDArray[np.uint8]
    label: int


Login = Callable[..., AtmosphereClient]


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
