"""A batch gives each field as what it is, and as a column of NumPy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.errors import RaggedFieldError
from atdata.samples.batch import SampleBatch


@atdata.packable
class Row:
    image: NDArray[np.uint8]
    label: int
    weight: float
    flag: bool
    name: str
    raw: bytes
    when: datetime
    part: Literal["a", "b"]
    note: str | None = None


def rows(count: int) -> list[Row]:
    zone = timezone(timedelta(hours=2))
    return [
        Row(
            np.full((2, 2), i, np.uint8),
            i,
            i / 2,
            i % 2 == 0,
            f"é{i}",
            bytes([i]),
            datetime(2024, 1, 1, i, tzinfo=zone),
            "a",
        )
        for i in range(count)
    ]


@pytest.fixture(params=["read", "made"])
def batch(request: pytest.FixtureRequest, tmp_path: Path) -> SampleBatch[Row]:
    """The same batch, read from a shard and made of samples."""
    if request.param == "made":
        return SampleBatch(Row, [str(i) for i in range(4)], samples=rows(4))
    return next(atdata.write_samples(rows(4), tmp_path / "r.tar").ordered(batch_size=8))


def test_columns_have_the_plain_dtypes(batch: SampleBatch[Row]) -> None:
    """Numbers are int64, float64 and bool columns, text and bytes NumPy's own, dates in UTC."""
    assert batch.column("image").shape == (4, 2, 2)
    assert batch.column("label").dtype == np.int64
    assert batch.column("label").tolist() == [0, 1, 2, 3]
    assert batch.column("weight").dtype == np.float64
    assert batch.column("flag").dtype == np.bool_
    assert batch.column("name").tolist() == ["é0", "é1", "é2", "é3"]
    assert batch.column("part").tolist() == ["a"] * 4
    assert batch.column("when")[2] == np.datetime64("2024-01-01T00:00")
    assert datetime(2024, 1, 1, tzinfo=UTC) == batch.when[2]


def test_values_stay_lists(batch: SampleBatch[Row]) -> None:
    """Asked for as an attribute, a field that is no array is a list of Python's own values."""
    assert batch.label == [0, 1, 2, 3]
    assert type(batch.label[0]) is int
    assert batch.flag == [True, False, True, False]
    assert batch.note == [None] * 4
    assert batch.samples == rows(4)


def test_what_makes_no_column_says_so(batch: SampleBatch[Row]) -> None:
    """A None among the values, or bytes that NumPy would cut, make no array: an error."""
    with pytest.raises(RaggedFieldError, match=r"values\('note'\)"):
        batch.column("note")
    with pytest.raises(RaggedFieldError, match="raw"):
        batch.column("raw")
    with pytest.raises(AttributeError, match="It has: image, label"):
        batch.column("nothing")


def test_all_columns_at_once(tmp_path: Path) -> None:
    """as_numpy gives every field as an array."""

    @atdata.packable
    class Pair:
        x: NDArray[np.float32]
        y: int

    samples = [Pair(np.ones(3, np.float32), i) for i in range(5)]
    batch = next(atdata.write_samples(samples, tmp_path / "p.tar").ordered(batch_size=5))
    columns = batch.as_numpy()
    assert {name: column.shape for name, column in columns.items()} == {"x": (5, 3), "y": (5,)}


def test_a_type_without_fields_is_batched(tmp_path: Path) -> None:
    """Its batches have samples and keys, and no columns."""

    @atdata.packable
    class Nothing:
        pass

    dataset = atdata.write_samples([Nothing()] * 3, tmp_path / "n.tar")
    batch = next(dataset.ordered(batch_size=3))
    assert (len(batch), batch.fields, batch.samples) == (3, (), [Nothing()] * 3)
    assert next(dataset.batches(3)) == {}
