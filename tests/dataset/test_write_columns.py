"""write_columns: columns → shards on disk → Dataset."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.errors import EncodeError, OptionError, SampleTypeError


@atdata.packable
class Point:
    """An array, a number and a word."""

    features: NDArray[np.float32]
    label: int
    name: str


@atdata.packable
class Dated:
    """A moment."""

    when: datetime


def columns(count: int) -> dict[str, object]:
    """Columns of Point."""
    features = np.arange(count * 8, dtype=np.float32).reshape(count, 8)
    return {
        "features": features,
        "label": np.arange(count) % 7,
        "name": [f"point {i}" for i in range(count)],
    }


def test_columns_are_read_back_as_samples(tmp_path: Path) -> None:
    """Samples, shards, tables and what is known of them are those of write_samples."""
    made = columns(100)
    points = [Point(*values) for values in zip(*made.values(), strict=True)]
    a = atdata.write_columns(made, tmp_path / "a" / "x.tar", sample_type=Point, maxcount=30)  # type: ignore[arg-type]
    b = atdata.write_samples(points, tmp_path / "b" / "x.tar", maxcount=30)
    assert list(a) == points
    assert len(a) == 100
    files = [sorted(p.name for p in (tmp_path / side).iterdir()) for side in "ab"]
    assert files[0] == files[1]
    for name in files[0]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert [shard.sha256 for shard in a.known_shards()] == [s.sha256 for s in b.known_shards()]


def test_a_batch_can_be_written_again(tmp_path: Path) -> None:
    """What as_numpy gives is what write_columns takes."""
    first = atdata.write_columns(columns(50), tmp_path / "a.tar", sample_type=Point)  # type: ignore[arg-type]
    [batch] = first.ordered(batch_size=50)
    again = atdata.write_columns(batch.as_numpy(), tmp_path / "b.tar", sample_type=Point)
    assert list(again) == list(first)


@pytest.mark.parametrize("as_columns", [True, False])
def test_not_waiting_for_the_disk_gives_the_same_shards(as_columns: bool, tmp_path: Path) -> None:
    """Without fsync, bytes, tables and recorded hashes are what they are with it."""
    made = columns(3000)
    points = [Point(*values) for values in zip(*made.values(), strict=True)]

    def write(folder: Path, fsync: bool) -> atdata.Dataset[Point]:
        path = folder / "x.tar"
        if as_columns:
            return atdata.write_columns(made, path, sample_type=Point, maxcount=700, fsync=fsync)  # type: ignore[arg-type]
        return atdata.write_samples(points, path, maxcount=700, fsync=fsync)

    synced, not_synced = write(tmp_path / "a", True), write(tmp_path / "b", False)
    contents = [
        {path.name: path.read_bytes() for path in (tmp_path / side).iterdir()} for side in "ab"
    ]
    assert len(contents[0]) == 11  # five shards, their tables, the type of the samples
    assert contents[0] == contents[1]
    for known in (synced.known_shards(), not_synced.known_shards()):
        hashes = [hashlib.sha256(Path(shard.url).read_bytes()).hexdigest() for shard in known]
        assert [shard.sha256 for shard in known] == hashes


@pytest.mark.parametrize("sample_type", [int, atdata.DictSample])
def test_the_type_has_to_say_what_the_columns_are(sample_type: type, tmp_path: Path) -> None:
    """Without a packable class, columns are refused with what to pass."""
    with pytest.raises(atdata.errors.SampleTypeError, match="packable"):
        atdata.write_columns({"a": [1]}, tmp_path / "x.tar", sample_type=sample_type)


@pytest.mark.parametrize("fsync", [True, False])
def test_an_earlier_dataset_stays_when_writing_fails(fsync: bool, tmp_path: Path) -> None:
    """A value that does not fit changes nothing on disk, whether the disk is waited for or not."""
    path = tmp_path / "x.tar"
    atdata.write_columns(columns(10), path, sample_type=Point)  # type: ignore[arg-type]
    before = path.read_bytes()
    wrong: Any = {**columns(10), "label": [*range(9), "x"]}
    with pytest.raises(atdata.errors.EncodeError, match=r"\$\.label"):
        atdata.write_columns(wrong, path, sample_type=Point, fsync=fsync)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.tar", "x.tar.atdata.json", "x.tar.idx"]


class Held:
    """A column as libraries of tables hold it: it gives an array, and counts what is missing."""

    def __init__(self, values: Any, missing: int | None = 0) -> None:
        self.values = values
        self.null_count = missing

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Any:
        return iter(self.values)

    def to_numpy(self) -> Any:
        return np.asarray(self.values)


class Arrays(Held):
    """The same, which NumPy knows to convert."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self.values, dtype)


class Marked(Held):
    """The same, which marks each value that is missing, and has a dtype of its own."""

    dtype = "Int64"

    def __init__(self, values: Any) -> None:
        super().__init__(values, None)

    def isna(self) -> Any:
        return np.array([value is None for value in self.values])


@pytest.mark.parametrize("hold", [Held, Arrays, Marked])
def test_columns_of_other_libraries(hold: Any, tmp_path: Path) -> None:
    """What gives an array is taken as that array."""
    made: Any = columns(20)
    held = {name: hold(values) for name, values in made.items() if name != "features"}
    held["features"] = Arrays(made["features"])
    assert list(atdata.write_columns(held, tmp_path / "a.tar", sample_type=Point)) == list(
        atdata.write_columns(made, tmp_path / "b.tar", sample_type=Point)
    )


class Moments(Held):
    """A column whose array has nanoseconds, and whose items are datetimes."""

    def to_numpy(self) -> Any:
        return np.array(self.values, "datetime64[ns]")


def test_datetimes_of_other_libraries_are_their_own(tmp_path: Path) -> None:
    """Not those of an array, which would equal no datetime."""
    moments = [datetime(2024, 1, day) for day in (1, 2)]
    held: Any = {"when": Moments(moments)}
    stored = atdata.write_columns(held, tmp_path / "a.tar", sample_type=Dated)
    assert [sample.when for sample in stored] == moments


@pytest.mark.parametrize("label", [Held([1, 0], 1), Marked([1, None])])
def test_missing_values_of_a_column_are_said_to_be(label: Any, tmp_path: Path) -> None:
    """Not the NaN or the 0 that an array would have for them."""
    made: Any = {**columns(2), "label": label}
    with pytest.raises(EncodeError, match=r"'label': 1 of 2 values are missing.* int \| None"):
        atdata.write_columns(made, tmp_path / "a.tar", sample_type=Point)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": 5}, "'label': expected an array or a list .* found int"),
        ({"label": np.int64(5)}, "'label': expected an array or a list"),
        ({"more": [1, 2]}, r"\$\.more: no such field.* features, label, name: leave this one out"),
        ({1: [1, 2]}, r"\$\.1: no such field"),
        ({"label": None}, r"\$\.label: expected a column of int.* Add the column"),
    ],
)
def test_columns_that_no_samples_have(change: Any, said: str, tmp_path: Path) -> None:
    """The error speaks of columns."""
    made: Any = {**columns(2), **change}
    if change == {"label": None}:
        del made["label"]
    with pytest.raises(EncodeError, match=said):
        atdata.write_columns(made, tmp_path / "a.tar", sample_type=Point)
    assert not any(tmp_path.iterdir())


class Frame:
    """A table as libraries have it."""

    columns = ("a", "b")

    def __iter__(self) -> Any:
        return iter(self.columns)

    def to_numpy(self) -> Any:
        return np.zeros((2, 2))


POINT = Point(np.zeros(2, np.float32), 1, "one")


@pytest.mark.parametrize(
    ("samples", "path", "said"),
    [
        ("a.tar", [POINT], "samples, or columns, come first"),
        ([POINT], 5, "path of a shard.* found int"),
        (POINT, "a.tar", r"found one Point.* write_samples\(\[sample\]"),
        (atdata.DictSample({"x": 1}), "a.tar", "found one DictSample"),
        (Frame(), "a.tar", r"a Frame.*write_columns\(dict\(table\)"),
        ({"x": [1]}, "a.tar", r"a dict.*write_columns\(table"),
        (None, "a.tar", "iterable of samples, found NoneType"),
        (Point, "a.tar", "iterable of samples, found type"),
        ("b.tar", "a.tar", "iterable of samples, found str"),
    ],
)
def test_slips_of_whoever_writes_samples(samples: Any, path: Any, said: str) -> None:
    """Each is an error that says what to pass."""
    with pytest.raises(SampleTypeError, match=said):
        atdata.write_samples(samples, path)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.TAR", "a.tar.zst", "a.Tar.BZ2", "a.txz"])
def test_names_of_other_tars_are_refused(name: str, tmp_path: Path) -> None:
    """Shards are plain tars: no folder of that name is made instead."""
    made: Any = columns(2)
    for maxcount in (None, 1):
        with pytest.raises(OptionError, match=r"Write a\.tar\."):
            atdata.write_samples([POINT], tmp_path / name, maxcount=maxcount)
        with pytest.raises(OptionError, match=r"Write a\.tar\."):
            atdata.write_columns(made, tmp_path / name, sample_type=Point, maxcount=maxcount)
    assert not any(tmp_path.iterdir())
