"""DataFrames of pandas and Polars, and datasets of Hugging Face."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings

import atdata
from atdata.errors import EncodeError, OptionError, SchemaError
from tests.exchange.equality import same
from tests.exchange.test_round_trip import column_types, written

SETTINGS = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


@SETTINGS
@given(written())
def test_frames_keep_every_value(drawn: tuple[type, list[Any]]) -> None:
    """To Polars and to the library datasets, and back with the class: each value is equal."""
    sample_type, samples = drawn
    assume(not column_types(sample_type))
    with tempfile.TemporaryDirectory() as folder:
        dataset = atdata.write_samples(samples, Path(folder) / "a.tar", fsync=False)
        try:
            frame, hf = dataset.to_polars(), dataset.to_hf()
        except EncodeError as error:
            assume("2**63" not in str(error))
            raise
        assert all(map(same, atdata.from_polars(frame, sample_type), samples))
        assert all(map(same, atdata.from_hf(hf, sample_type), samples))


def test_pandas_keeps_none_nan_arrays_pictures_and_categories(tmp_path: Path) -> None:
    """Through samples and back, and what was changed is reported."""
    frame = pd.DataFrame(
        {
            "number": [1, 2],
            "text": ["a", None],
            "float": [1.5, np.nan],
            "choice": pd.Categorical(["x", "y"]),
            "at": pd.to_datetime(["2024-01-01", "2024-01-02"]),
            "vector": [np.zeros(3), np.ones(3)],
            "maybe": pd.array([1, None], "Int64"),
            "image": [atdata.Image(np.zeros((2, 2), np.uint8))] * 2,
            "dict": [{"a": 1}, {"a": 2}],
            "mixed": ["a", np.nan],
        }
    )
    importer = atdata.from_pandas(frame, name="Thing")
    assert str(importer.schema).splitlines()[1:] == [
        *("  number: int", "  text: str | None", "  float: float"),
        *("  choice: Literal['x', 'y']", "  at: datetime", "  vector: float64 (3,)"),
        *("  maybe: int | None", "  image: Image", "  dict: Dict", "  mixed: str | None"),
    ]
    assert any("float is NaN in 1 sample" in note for note in importer.notes)
    back = importer.write(tmp_path / "a.tar").to_pandas()
    assert all(map(same, atdata.from_pandas(back, name="Thing"), importer))
    assert back["maybe"].isna().tolist() == [False, True]
    assert back["choice"].dtype == "category"


def test_polars_enums_and_arrays_keep_their_types() -> None:
    """And a LazyFrame is collected."""
    frame = pl.DataFrame(
        {
            "choice": pl.Series(["x", "y"], dtype=pl.Enum(["x", "y", "z"])),
            "vector": pl.Series([[1.0, 2.0], [3.0, 4.0]], dtype=pl.Array(pl.Float32, 2)),
            "maybe": [1, None],
        }
    )
    for given_frame in (frame, frame.lazy()):
        assert str(atdata.from_polars(given_frame).schema).splitlines()[1:] == [
            "  choice: Literal['x', 'y', 'z']",
            "  vector: float32 (2,)",
            "  maybe: int | None",
        ]


def hf_dataset(tmp_path: Path) -> datasets.Dataset:
    picture = atdata.Image(np.zeros((2, 2, 3), np.uint8)).bytes
    (tmp_path / "on disk.png").write_bytes(picture)
    images = [
        {"bytes": picture, "path": None},
        {"bytes": None, "path": str(tmp_path / "on disk.png")},
    ]
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["no", "yes"]),
            "grid": datasets.Array2D((2, 2), "int64"),
        }
    )
    rows = {"image": images, "label": [0, 1], "grid": [[[1, 2], [3, 4]]] * 2}
    return datasets.Dataset.from_dict(rows, features=features)


def test_datasets_of_hugging_face_keep_media_and_classes(tmp_path: Path) -> None:
    """Chosen rows, pictures in files, and streams."""
    dataset = hf_dataset(tmp_path)
    for given_dataset in (dataset, dataset.select([0, 1]), dataset.to_iterable_dataset()):
        importer = atdata.from_hf(given_dataset)
        assert str(importer.schema).splitlines()[1:] == [
            "  image: Image",
            "  label: ClassLabel('no', 'yes')",
            "  grid: int64 (2, 2)",
        ]
        found: Any = list(importer)
        assert [one.label for one in found] == [0, 1]
        assert found[0].image == found[1].image
        assert found[1].grid.tolist() == [[1, 2], [3, 4]]
    renamed = atdata.from_hf(dataset, columns={"label": "class", "image": "picture"})
    assert str(renamed.schema).splitlines()[1:] == [
        "  class_: ClassLabel('no', 'yes')",
        "  picture: Image",
    ]
    out = atdata.from_hf(dataset).write(tmp_path / "a.tar").to_hf()
    assert out.features["label"].names == ["no", "yes"]
    assert isinstance(out.features["image"], datasets.Image)


def test_what_is_no_frame_is_refused(tmp_path: Path) -> None:
    """The error says what is expected."""
    with pytest.raises(OptionError, match=r"splits: 'a', 'b'.*such as dataset\['a'\]"):
        atdata.from_hf(datasets.DatasetDict({"a": hf_dataset(tmp_path), "b": hf_dataset(tmp_path)}))
    for read in (atdata.from_hf, atdata.from_pandas, atdata.from_polars, atdata.from_arrow):
        with pytest.raises(OptionError, match="found list"):
            read([1, 2])
    with pytest.raises(OptionError, match=r"frame\.rename"):
        atdata.from_pandas(pd.DataFrame({0: [1]}))
    with pytest.raises(SchemaError, match="'x'"):
        atdata.from_pandas(pd.DataFrame({"x": [object()]}))
