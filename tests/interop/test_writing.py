"""What is written here is read by the peers."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import atdata
from tests.interop.cases import CASES, SHARD_SAMPLES, digest


class Colour(Enum):
    """A choice."""

    RED = "red"


@atdata.packable
class Inner:
    """A sample within a sample."""

    box: list[float]


@atdata.packable
class Wide:
    """Fields of kinds that the peer has no type for."""

    seen: datetime
    split: Literal["train", "test"]
    colour: Colour
    inner: Inner
    pair: NDArray[np.float32] | None = None


def test_our_shards_read_by_the_peer(read_with_peer: Callable[[Path], str], tmp_path: Path) -> None:
    """Every sample written here arrives at the peer, in order, equal in every field."""
    for name, case in CASES.items():
        atdata.write_samples(case.samples(), tmp_path / f"{name}.tar")
        atdata.write_samples(case.samples(), tmp_path / f"{name}.tar", maxcount=SHARD_SAMPLES)
    when = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    wide = Wide(seen=when, split="test", colour=Colour.RED, inner=Inner(box=[0.5]))
    atdata.write_samples([wide], tmp_path / "wide.tar")

    found = json.loads(read_with_peer(tmp_path))

    assert found.pop("wide") == [
        digest(
            {
                "seen": when.isoformat(),
                "split": "test",
                "colour": "red",
                "inner": {"box": [0.5]},
                "pair": None,
            }
        )
    ]
    assert len(found) == 4 * len(CASES)
    for way, samples in found.items():
        assert samples == CASES[way.partition(",")[0]].digests(), way
