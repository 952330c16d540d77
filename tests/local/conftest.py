"""Empty databases of every backend, and small datasets to put into an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.local import LocalIndex


@atdata.packable
class Digit:
    """A small sample."""

    image: NDArray[np.uint8]
    label: int


MakeDigits = Callable[..., "atdata.Dataset[Digit]"]


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Path or URL of an empty database, of each backend in turn."""
    if request.param == "sqlite":
        return str(tmp_path / "index.db")
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def index(place: str) -> Iterator[LocalIndex]:
    """An empty index without a data store, on each backend in turn."""
    with LocalIndex(place) as index:
        yield index


@pytest.fixture
def digits(tmp_path: Path) -> MakeDigits:
    """Write digits that another label does not have, and open them."""
    numbers = count()

    def make(label: int = 0, samples: int = 7, folder: Path | None = None) -> atdata.Dataset[Digit]:
        made = [Digit(np.full((2, 2), i, np.uint8), label) for i in range(samples)]
        path = (folder or tmp_path) / f"digits-{next(numbers)}.tar"
        return atdata.write_samples(made, path, maxcount=3)

    return make
