"""Some random programs, on each backend, give what plain Python gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential.programs import World
from tests.differential.run import run_one, world

PROGRAMS = 25


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world on each backend in turn."""
    other = str(tmp_path / "other.db")
    place = (
        str(tmp_path / "index.db")
        if request.param == "sqlite"
        else request.getfixturevalue(f"{request.param}_url")
    )
    with world(tmp_path, place, other, None) as made:
        yield made


def test_programs_do_what_the_model_says(where: World) -> None:
    """What is written, read, indexed, labelled, searched and copied is what plain Python has."""
    for number in range(PROGRAMS):
        run_one(number, where)
