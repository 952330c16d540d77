"""write_columns: columns → shards on disk → Dataset."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata


@atdata.packable
class Point:
    """An array, a number and a word."""

    features: NDArray[np.float32]
    label: int
    name: str


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
    points = [Point(*values) for values in zip(*made.values(), strict=True)]  # type: ignore[call-overload]
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
    points = [Point(*values) for values in zip(*made.values(), strict=True)]  # type: ignore[call-overload]

    def write(folder: Path, fsync: bool) -> atdata.Dataset[Point]:
        path = folder / "x.tar"
        if as_columns:
            return atdata.write_columns(made, path, sample_type=Point, maxcount=700, fsync=fsync)  # type: ignore[arg-type]
        return atdata.write_samples(points, path, maxcount=700, fsync=fsync)

    synced, not_synced = write(tmp_path / "a", True), write(tmp_path / "b", False)
    contents = [
        {path.name: path.read_bytes() for path in (tmp_path / side).iterdir()} for side in "ab"
    ]
    assert len(contents[0]) == 10
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
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.tar", "x.tar.idx"]
