"""Parquet files: what others see in ours, and what becomes of theirs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

import atdata
from atdata.errors import (
    EncodeError,
    OptionError,
    SampleTypeError,
    SchemaError,
    ShardNotFoundError,
    SourceError,
)


@atdata.packable
@dataclass
class Digit:
    image: Annotated[NDArray[np.uint8], atdata.Shape(2, 3)]
    label: Annotated[int, atdata.ClassLabel("even", "odd")]
    score: float | None = None


def digits(count: int = 6) -> list[Digit]:
    scores = [None, float("nan"), 0.5]
    return [Digit(np.full((2, 3), i, np.uint8), i % 2, scores[i % 3]) for i in range(count)]


def asked(query: str, dataset: Any = None) -> list[Any]:
    """The answer of DuckDB, which finds ``dataset`` among the variables here."""
    found = duckdb.sql(query)
    assert found is not None
    return found.fetchall()


@pytest.fixture
def dataset(tmp_path: Path) -> atdata.Dataset[Digit]:
    return atdata.write_samples(digits(), tmp_path / "digits.tar")


def test_others_see_shapes_classes_and_none(dataset: atdata.Dataset[Digit], tmp_path: Path) -> None:
    """pandas, Polars, DuckDB and the library datasets read the file, each in its own terms."""
    import datasets

    path = dataset.to_parquet(tmp_path / "digits.parquet")
    assert pl.read_parquet(path).schema["image"] == pl.Array(pl.UInt8, (2, 3))
    assert pd.read_parquet(path)["label"].tolist() == [0, 1, 0, 1, 0, 1]
    nulls = asked(f"select count(*) - count(score), count(*) from '{path}'")
    assert nulls == [(2, 6)]
    cache = str(tmp_path / "cache")
    found = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=cache)
    assert found.features["label"].names == ["even", "odd"]
    assert found[3]["image"] == [[3, 3, 3], [3, 3, 3]]


def test_duckdb_polars_and_pandas_query_a_dataset_in_place(
    dataset: atdata.Dataset[Digit],
) -> None:
    """The C stream of Arrow is all they need."""
    total = asked("select sum(label), count(score) from dataset", dataset=dataset)
    assert total == [(3, 4)]
    assert pl.DataFrame(dataset)["label"].sum() == 3
    assert len(pd.DataFrame.from_arrow(dataset)) == 6


def test_none_and_nan_are_kept_apart_and_reported(
    dataset: atdata.Dataset[Digit], tmp_path: Path
) -> None:
    """None is null, NaN is NaN, and the importer says that there are both."""
    importer = atdata.from_parquet(dataset.to_parquet(tmp_path / "digits.parquet"))
    scores = [digit.score for digit in importer]
    assert [score is None for score in scores] == [True, False, False] * 2
    assert [score != score for score in scores] == [False, True, False] * 2
    assert any("None in 2" in note and "NaN in 2" in note for note in importer.notes)


def test_a_table_of_others_makes_a_type(tmp_path: Path) -> None:
    """Names that Python cannot use are changed and reported; nulls make a field optional."""
    table = pa.table(
        {
            "image url": ["a", "b"],
            "class": pa.array([1, None], pa.int32()),
            "vector": pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2)),
            "tokens": pa.array([[1], [2, 3]], pa.list_(pa.int32())),
            "tags": [["x"], []],
            "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 2),
            "size": [{"w": 1, "h": None}, {"w": 2, "h": 3}],
            "kind": pa.array(["s", "t"]).dictionary_encode(),
        }
    )
    path = tmp_path / "my-photos.parquet"
    pq.write_table(table, path)
    importer = atdata.from_parquet(path)
    assert str(importer.schema).splitlines() == [
        "imported.MyPhotos@1.0.0",
        "  image_url: str",
        "  class_: int | None",
        "  vector: float32 (2,)",
        "  tokens: int32 (*,)",
        "  tags: list[str]",
        "  at: datetime",
        "  size: Size",
        "  kind: Literal['s', 't']",
    ]
    first: Any = importer.head(1)[0]
    assert (first.image_url, first.class_, first.tags, first.kind) == ("a", 1, ["x"], "s")
    assert (first.size.w, first.size.h, first.at) == (1, None, datetime(2024, 1, 1, tzinfo=UTC))
    assert any("image_url" in note for note in importer.notes)
    assert len(importer.write(tmp_path / "photos.tar")) == 2


def test_files_of_the_library_datasets_keep_pictures_and_classes(tmp_path: Path) -> None:
    """Its features are in the metadata: bytes are pictures, numbers are classes."""
    import datasets

    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "grid": datasets.Array2D((2, 2), "float32"),
        }
    )
    picture = atdata.Image(np.zeros((2, 2, 3), np.uint8))
    grid = [[1.0, 2.0], [3.0, 4.0]]
    rows = {"image": [{"bytes": picture.bytes, "path": None}], "label": [1], "grid": [grid]}
    path = tmp_path / "hf.parquet"
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(path))
    sample: Any = atdata.from_parquet(path).head(1)[0]
    assert (sample.image, sample.label, sample.grid.tolist()) == (picture, 1, grid)
    assert sample.grid.dtype == np.float32
    assert "ClassLabel('cat', 'dog')" in str(atdata.from_parquet(path).schema)


def test_a_class_of_the_caller_chooses_its_columns(
    dataset: atdata.Dataset[Digit], tmp_path: Path
) -> None:
    """Other columns are left out; a missing one is an error that lists those there are."""

    @atdata.packable
    class Only:
        label: int

    @atdata.packable
    class More:
        label: int
        name: str

    path = dataset.to_parquet(tmp_path / "digits.parquet")
    assert [one.label for one in atdata.from_parquet(path, Only)] == [0, 1] * 3
    with pytest.raises(EncodeError, match=r"no column for More\.name\. It has: image, label"):
        atdata.from_parquet(path, More)
    renamed = atdata.from_parquet(path, More, columns={"label": "label", "image": "name"})
    with pytest.raises(EncodeError, match=r"rows 0 to 5: \$\.image: expected str"):
        next(iter(renamed))
    with pytest.raises(OptionError, match="no column 'nope'"):
        atdata.from_parquet(path, columns=["nope"])


def test_integers_beyond_int64_and_given_shapes(tmp_path: Path) -> None:
    """Where a type leaves a column open, the caller closes it; the error says how."""

    @atdata.packable
    class Hashed:
        number: int
        vector: NDArray[np.float32]

    ones = [Hashed(2**64 - 1, np.ones(3, np.float32)), Hashed(0, np.zeros(3, np.float32))]
    dataset = atdata.write_samples(ones, tmp_path / "hashed.tar")
    with pytest.raises(EncodeError, match=r"sample '000000000': Hashed \$\.number.*uint64"):
        dataset.to_parquet(tmp_path / "hashed.parquet")
    assert not (tmp_path / "hashed.parquet").exists()
    types: dict[str, atdata.Shape | str] = {"number": "uint64", "vector": atdata.Shape(3)}
    path = dataset.to_parquet(tmp_path / "hashed.parquet", types=types)
    assert pq.read_schema(path).field("number").type == pa.uint64()
    assert pq.read_schema(path).field("vector").type.list_size == 3
    again = atdata.from_parquet(path).write(tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "hashed.tar").read_bytes()
    assert again[0].number == 2**64 - 1
    with pytest.raises(EncodeError, match=r"vector: expected an array of shape \(4,\)"):
        dataset.to_parquet(path, types={"number": "uint64", "vector": atdata.Shape(4)})
    assert pq.read_table(path).num_rows == 2
    with pytest.raises(OptionError, match="no field of Hashed"):
        dataset.to_parquet(path, types={"nope": "uint64"})


def test_times_with_and_without_offsets(tmp_path: Path) -> None:
    """One column holds one of the two; as text it holds both."""

    @atdata.packable
    class Event:
        at: datetime

    naive, aware = datetime(2024, 5, 1), datetime(2024, 5, 1, tzinfo=UTC) + timedelta(hours=1)
    mixed = atdata.write_samples([Event(naive), Event(aware)], tmp_path / "mixed.tar")
    with pytest.raises(EncodeError, match=r"sample '000000001'.*no offset.*\"str\""):
        mixed.to_arrow()
    table = mixed.to_arrow(types={"at": "str"})
    assert list(atdata.from_arrow(table)) == [Event(naive), Event(aware)] or [
        one.at for one in atdata.from_arrow(table)
    ] == [naive, aware]
    alone = atdata.write_samples([Event(naive)], tmp_path / "naive.tar").to_arrow()
    assert alone.schema.field("at").type == pa.timestamp("us")


def test_several_files_are_one_table(dataset: atdata.Dataset[Digit], tmp_path: Path) -> None:
    """A pattern, a folder or a list; files with other columns are refused."""
    folder = tmp_path / "parts"
    dataset.to_parquet(folder / "a.parquet")
    dataset.to_parquet(folder / "b.parquet")
    for given in (folder, folder / "*.parquet", [folder / "a.parquet", folder / "b.parquet"]):
        importer = atdata.from_parquet(given)
        assert importer.count == len(list(importer)) == 12
    pq.write_table(pa.table({"x": [1]}), folder / "c.parquet")
    with pytest.raises(SchemaError, match="other columns"):
        atdata.from_parquet(folder)
    with pytest.raises(ShardNotFoundError):
        atdata.from_parquet(tmp_path / "nope.parquet")


def test_damaged_files_are_one_clear_error(dataset: atdata.Dataset[Digit], tmp_path: Path) -> None:
    """Cut short or overwritten, at opening or in the middle: nothing is written."""
    path = dataset.to_parquet(tmp_path / "digits.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="cannot be read as a Parquet file"):
        atdata.from_parquet(path)
    path.write_bytes(whole[:4] + bytes(200) + whole[204:])
    with pytest.raises(SourceError, match="cannot be read as a Parquet file"):
        atdata.from_parquet(path).write(tmp_path / "out.tar")
    assert not (tmp_path / "out.tar").exists()


def test_metadata_that_lie_are_not_believed(tmp_path: Path) -> None:
    """A table whose metadata name another type, or absurd features, is read by its own types."""
    lies: list[dict[bytes, bytes]] = [
        {b"atdata": b"[" * 100_000, b"huggingface": b"{"},
        {b"huggingface": json.dumps({"info": {"features": {"x": {"_type": "Image"}}}}).encode()},
        {b"huggingface": json.dumps({"info": {"features": [1]}}).encode()},
        {b"huggingface": b'{"info": {"features": {"x": {"_type": ["Array2D"]}}}}'},
    ]
    for lie in lies:
        table = pa.table({"x": [1, 2]}).replace_schema_metadata(lie)
        assert [one.x for one in atdata.from_arrow(table)] == [1, 2]
    named = {"info": {"features": {"x": {"_type": "ClassLabel", "names": ["a", "a"]}}}}
    table = pa.table({"x": [1]}).replace_schema_metadata({b"huggingface": json.dumps(named)})
    with pytest.raises(SchemaError):
        atdata.from_arrow(table)


def test_samples_without_a_type_are_refused(dataset: atdata.Dataset[Digit], tmp_path: Path) -> None:
    """The error says how to name one."""
    with pytest.raises(SampleTypeError, match="as_type"):
        atdata.Dataset(str(tmp_path / "digits.tar")).to_arrow()
    with pytest.raises(SampleTypeError, match="return annotation"):
        dataset.map(lambda digit: {"x": digit.label}).to_arrow()


def test_nothing_that_no_field_can_have_is_lost_in_silence(tmp_path: Path) -> None:
    """A column of such a type is an error that names it; leaving it out is the caller's choice."""
    table = pa.table({"a": [1], "b": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})
    with pytest.raises(SchemaError, match="'b' is of type month_day_nano_interval"):
        atdata.from_arrow(table)
    assert atdata.from_arrow(table, columns=["a"]).count == 1
    nanos = pa.table({"t": pa.array([1], pa.timestamp("ns"))})
    with pytest.raises(EncodeError, match="nanoseconds"):
        list(atdata.from_arrow(nanos))


def test_empty_datasets_go_out_as_empty_tables(dataset: atdata.Dataset[Digit]) -> None:
    """Types of columns do not depend on samples."""
    empty = dataset.filter(lambda digit: False).to_arrow()
    assert empty.num_rows == 0
    assert empty.schema.types == dataset.to_arrow().schema.types
    assert list(atdata.from_arrow(empty)) == []
    with pytest.raises(ValueError, match="not one sample"):
        atdata.from_arrow(empty).write("nothing.tar")


def test_tensors_maps_and_streams_of_others() -> None:
    """Arrow's own tensors and maps; a query of DuckDB; a reader, which is read once."""
    flat = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(12, dtype=np.int16)), 6)
    tensor = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.int16(), (2, 3)), flat)
    pairs = pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64()))
    table = pa.table({"tensor": tensor, "pairs": pairs})
    found: Any = list(atdata.from_arrow(table))
    assert found[1].tensor.tolist() == [[6, 7, 8], [9, 10, 11]]
    assert [one.pairs for one in found] == [{"a": 1}, {}]
    turned = pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int16(), (2, 3), permutation=[1, 0]), flat
    )
    with pytest.raises(EncodeError, match="C order"):
        list(atdata.from_arrow(pa.table({"tensor": turned})))
    query = duckdb.connect().sql("select range as n, n % 2 = 0 as even from range(5000)")
    importer = atdata.from_arrow(query)
    assert sum(one.n for one in importer) == sum(range(5000))
    reader = table.select(["pairs"]).to_reader()
    assert len(list(atdata.from_arrow(reader))) == 2


def test_lists_of_one_length_become_arrays_of_the_class(tmp_path: Path) -> None:
    """Lists in lists, as DuckDB and JSON give them, fit an array; ragged ones are named."""
    grid = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]

    @atdata.packable
    class Grid:
        grid: Annotated[NDArray[np.uint8], atdata.Shape(None, 2)]

    found = [one.grid.tolist() for one in atdata.from_arrow(pa.table({"grid": grid}), Grid)]
    assert found == grid
    with pytest.raises(EncodeError, match=r"row 1: \$\.grid.*different lengths"):
        list(atdata.from_arrow(pa.table({"grid": [[[1, 2]], [[1, 2], [3]]]}), Grid))
    with pytest.raises(EncodeError, match="numbers of int64 that it does not hold"):
        list(atdata.from_arrow(pa.table({"grid": [[[1, 256]]]}), Grid))
