"""Labels of a local index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.errors import LabelExistsError, SchemaRefError
from atdata.local import LocalIndex


@atdata.packable
class Point:
    """A sample."""

    at: NDArray[np.int64]


def test_a_label_leads_to_one_revision(tmp_path: Path) -> None:
    """@local/name@version opens the revision that was labelled, whatever came later."""
    index = LocalIndex(tmp_path / "i.db")
    points = [Point(np.arange(3) + n) for n in range(5)]
    first = index.insert_dataset(atdata.write_samples(points, tmp_path / "a.tar"), name="points")
    index.label("points", "2.0.0", first)
    index.label("points", "2.0.0", first)
    second = index.insert_dataset(
        atdata.write_samples(points[:2], tmp_path / "b.tar"), name="points"
    )
    assert index.get_dataset("@local/points@2.0.0") == first
    assert index.get_dataset("points") == second
    assert len(atdata.load_dataset("@local/points@2.0.0", split="train", index=index)) == 5
    assert len(atdata.load_dataset("@local/points", split="train", index=index)) == 2
    with pytest.raises(LabelExistsError, match="move=True"):
        index.label("points", "2.0.0", second)
    index.label("points", "2.0.0", second, move=True)
    assert index.get_dataset("@local/points@2.0.0") == second
    # The version of the schema still leads to the newest revision with it.
    assert index.get_dataset("@local/points@1.0.0") == second
    with pytest.raises(SchemaRefError):
        index.label("points", "v2", second)
