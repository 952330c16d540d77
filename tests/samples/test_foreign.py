"""Samples that other programs packed: timestamps, arrays of msgpack-numpy, keys that are no str."""

from __future__ import annotations

import io
import tarfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata import DictSample
from atdata.errors import DecodeError, EncodeError
from atdata.local import DiskDataStore


@atdata.packable
class Event:
    """What the others' samples hold."""

    at: datetime
    vector: NDArray[np.float32]


def as_msgpack_numpy(array: np.ndarray[Any, Any]) -> dict[bytes, Any]:
    """An array as version 0.4.8 of that package packs it."""
    return {
        b"nd": True,
        b"type": array.dtype.str,
        b"kind": b"",
        b"shape": array.shape,
        b"data": array.tobytes(),
    }


def shard(folder: Path, *samples: Any) -> Path:
    """Samples as msgpack packs them."""
    path = folder / "x.tar"
    with tarfile.open(path, "w") as tar:
        for number, sample in enumerate(samples):
            data = msgpack.packb(sample, datetime=True)
            info = tarfile.TarInfo(f"{number:04d}.msgpack")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


MOMENTS = [datetime(2020, 1, 1, 0, 0, n, 250, tzinfo=UTC) for n in range(20)]


def test_timestamps_and_arrays_of_others_are_read(tmp_path: Path) -> None:
    """By a type, one by one and in batches, and without a type, they are values as any other."""
    vectors = [np.arange(3, dtype="<f4") + n for n in range(20)]
    pairs = zip(MOMENTS, vectors, strict=True)
    path = shard(tmp_path, *({"at": m, "vector": as_msgpack_numpy(v)} for m, v in pairs))
    typed = atdata.Dataset[Event](path)
    assert [sample.at for sample in typed] == MOMENTS
    assert np.array_equal([sample.vector for sample in typed], vectors)
    batch = typed[:]
    assert list(batch.at) == MOMENTS
    assert np.array_equal(batch.vector, vectors)
    assert batch.vector.dtype == np.float32
    untyped = list(atdata.Dataset(path))
    assert untyped[7]["at"] == MOMENTS[7]
    assert untyped[7]["vector"].dtype == np.float32
    atdata.write_samples(untyped, tmp_path / "again.tar")
    assert list(atdata.Dataset(tmp_path / "again.tar")) == untyped
    assert list(atdata.Dataset[Event](tmp_path / "again.tar")) == list(typed)


@pytest.mark.parametrize("shape", ["(2L, 3L)", "(2L, 3)", "(6L,)", "(2, 3)"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_that_python_2_saved(tmp_path: Path, shape: str, order: Literal["C", "F"]) -> None:
    """Lengths with an L, in C or Fortran order, are read as NumPy reads them."""
    said = f"{{'descr': '<f4', 'fortran_order': {order == 'F'}, 'shape': {shape}, }}"
    head = said.encode().ljust(117) + b"\n"
    values = np.arange(6, dtype="<f4")
    data = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + values.tobytes()
    lengths = [int(n) for n in shape.strip("()").replace("L", "").split(",") if n]
    right = values.reshape(lengths, order=order)
    path = shard(tmp_path, *({"at": moment, "vector": data} for moment in MOMENTS))
    dataset = atdata.Dataset[Event](path)
    for vector in (dataset[0].vector, next(iter(dataset)).vector, dataset[:].vector[19]):
        assert vector.dtype == right.dtype
        assert np.array_equal(vector, right)


@given(
    st.datetimes(timezones=st.just(UTC))
    | st.builds(lambda d: d.replace(tzinfo=timezone(timedelta(0), "GMT")), st.datetimes())
)
def test_datetimes_come_back_without_a_type(moment: datetime) -> None:
    """A datetime in UTC that a DictSample holds is read again, to the microsecond."""
    sample = DictSample(at=moment, some=[moment])
    assert DictSample.from_bytes(sample.packed) == sample


@pytest.mark.parametrize(
    "moment",
    [datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=2)))],
)
def test_datetimes_that_would_change_are_refused(moment: datetime) -> None:
    """Without a type there is no place for a zone: other datetimes are an error with the field."""
    with pytest.raises(EncodeError, match=r"\$\.at: expected a datetime in UTC.*timezone\.utc"):
        _ = DictSample(at=moment).packed


FOREIGN: dict[str, tuple[Any, str]] = {
    "int keys": ({"names": {0: "cat"}}, r"\$\.names: expected a map with keys of str.* int 0"),
    "deep": ({"a": [{"b": {True: 1}}]}, r"\$\.a\[0\]\['b'\]: .*the key bool True"),
    "at the top": ({3: "x"}, r"\$: expected a map with keys of str, found the key int 3"),
    "bytes keys": ({"a": {b"nd": 1}}, r"\$\.a: .*the key bytes b'nd'"),
    "bytes at the top": ({b"a": 1}, r"\$: .*the key bytes b'a'"),
    "extension": ({"t": [msgpack.ExtType(42, b"x")]}, r"\$\.t\[0\]: extension type 42"),
    "nanoseconds": ({"t": msgpack.Timestamp(1, 1)}, r"\$\.t: a timestamp of 1 s and 1 ns"),
    "far away": ({"t": msgpack.Timestamp(2**60, 0)}, r"\$\.t: a timestamp of"),
    "objects": ({"v": {**as_msgpack_numpy(np.zeros(1)), b"kind": b"O"}}, "Python objects"),
    "cut": ({"v": {**as_msgpack_numpy(np.zeros(9)), b"data": b"x"}}, "the header claims"),
    "an array, then int keys": (
        {"v": as_msgpack_numpy(np.zeros(1)), "m": {1: 2}},
        r"\$\.m: .*int 1",
    ),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_cannot_be_read_is_named(what: str, tmp_path: Path) -> None:
    """An error names shard, offset, key and field, and no option of msgpack."""
    sample, message = FOREIGN[what]
    path = shard(tmp_path, {"a": 1}, sample)
    with pytest.raises(DecodeError, match=message) as raised:
        list(atdata.Dataset(path))
    assert (raised.value.shard, raised.value.key) == (str(path), "0001")
    assert raised.value.offset is not None
    assert "strict_map_key" not in str(raised.value)


def test_others_values_in_a_typed_field_are_named(tmp_path: Path) -> None:
    """By a type as well: the field is in the error."""
    path = shard(tmp_path, {"at": msgpack.Timestamp(1, 1), "vector": b""})
    with pytest.raises(DecodeError, match=r"\$\.at: .*a timestamp of 1 s and 1 ns"):
        list(atdata.Dataset[Event](path))
    bad = {**as_msgpack_numpy(np.zeros(3)), b"kind": b"V"}
    path = shard(tmp_path, {"at": MOMENTS[0], "vector": bad})
    for way in (list, lambda ds: ds[:].vector):
        with pytest.raises(DecodeError, match=r"\$\.vector: .*objects or records"):
            way(atdata.Dataset[Event](path))


def test_keys_that_begin_with_a_folder_of_its_own(tmp_path: Path) -> None:
    """What `tar c .` writes, keys with ./, is read, found by its keys, and copied with them."""
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for number in range(40):
            data = msgpack.packb({"n": number})
            info = tarfile.TarInfo(f"./{number:04d}.msgpack")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    dataset = atdata.Dataset(path)
    assert dataset.by_key("./0003")["n"] == dataset[3]["n"] == 3
    DiskDataStore(tmp_path / "store").write_shards(dataset, prefix="p")
    copy = atdata.Dataset(tmp_path / "store" / "p")
    assert copy.by_key("./0003")["n"] == 3
    assert [sample.key for sample in copy.packed()] == [f"./{n:04d}" for n in range(40)]
