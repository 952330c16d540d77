"""What "the same samples" means, as docs/formats.md says it: they give the same bytes."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata.samples.codec import codec_of
from atdata.samples.kinds import Array, DateTime, Kind, ListOf, MapOf, Maybe, Nested, Primitive
from atdata.testing.strategies import samples_of


class Mood(Enum):
    GOOD = "good"


@atdata.packable
class Inner:
    x: NDArray[np.float32]
    n: int


class Everything(atdata.PackableSample):
    array: NDArray[Any]
    ratio: float
    count: int
    flag: bool
    text: str
    raw: bytes
    items: list[float]
    scores: dict[str, int]
    when: datetime
    mood: Mood
    size: Literal["s", "m"]
    inner: Inner
    arrays: list[NDArray[np.int16]]
    maybe: NDArray[np.float64] | None = None


class Text(str):
    """Text of another class."""


def dressed(array: np.ndarray[Any, Any], way: int) -> np.ndarray[Any, Any]:
    """The same dtype, shape and elements, elsewhere and otherwise in memory."""
    if way == 0:
        return np.asfortranarray(array) if array.ndim else array
    if way == 1:
        wide = np.zeros((*array.shape, 2), array.dtype)
        wide[..., 1] = array
        return wide[..., 1]
    if way == 2 and array.ndim:
        return np.ascontiguousarray(array[::-1])[::-1]
    if way == 3:
        copy = array.copy()
        copy.flags.writeable = False
        return copy.view(np.recarray) if array.dtype.names else copy
    raw = bytearray(b"\xff" + array.tobytes())
    return np.ndarray(array.shape, array.dtype, raw, 1)


def redressed(draw: st.DrawFn, kind: Kind, value: Any) -> Any:
    """The same value as another Python object."""
    match kind:
        case _ if value is None:
            return None
        case Maybe(inner):
            return redressed(draw, inner, value)
        case Array():
            return dressed(value, draw(st.integers(0, 4)))
        case Primitive("int") if -(2**63) <= value < 2**63:
            return draw(st.sampled_from([value, np.int64(value)]))
        case Primitive("float"):
            # A signalling NaN would become a quiet one on its way through NumPy.
            return draw(st.sampled_from([value, np.float64(value)])) if value == value else value
        case Primitive("bool"):
            return draw(st.sampled_from([value, np.bool_(value)]))
        case Primitive("str"):
            return draw(st.sampled_from([value, Text(value), np.str_(value)]))
        case Primitive("bytes"):
            return draw(st.sampled_from([value, bytearray(value), memoryview(value)]))
        case ListOf(inner):
            made = [redressed(draw, inner, item) for item in value]
            return draw(st.sampled_from([made, tuple(made)]))
        case MapOf(inner):
            return {Text(key): redressed(draw, inner, item) for key, item in value.items()}
        case DateTime():
            return value.replace(fold=draw(st.integers(0, 1)))
        case Nested():
            names = [field.name for field in kind.fields]
            as_dict = {name: getattr(value, name) for name in names}
            return draw(st.sampled_from([value, as_dict, dict(reversed(as_dict.items()))]))
        case _:
            return value


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Everything, Everything]:
    """A sample, and the same one made of other objects."""
    sample = draw(samples_of(Everything))
    fields = codec_of(Everything).fields
    values = {f.name: redressed(draw, f.value_kind, getattr(sample, f.name)) for f in fields}
    return sample, Everything(**values)


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_the_same_sample_gives_the_same_bytes(pair: tuple[Everything, Everything]) -> None:
    """Whatever objects its values are, wherever they lie; and again after it was read."""
    sample, other = pair
    assert other.packed == sample.packed
    assert Everything.from_bytes(other.packed).packed == sample.packed


@settings(max_examples=20, deadline=None)
@given(st.lists(pairs(), min_size=1, max_size=12))
def test_the_same_samples_give_the_same_shard(
    tmp_path_factory: pytest.TempPathFactory, several: list[tuple[Everything, Everything]]
) -> None:
    """From a list, a generator, and field by field; and when they were read in batches."""
    folder = tmp_path_factory.mktemp("same")
    samples, others = [list(each) for each in zip(*several, strict=True)]
    names = [field.name for field in codec_of(Everything).fields]
    columns = {name: [getattr(s, name) for s in others] for name in names}
    dataset = atdata.write_samples(samples, folder / "a.tar", fsync=False)
    atdata.write_samples(iter(others), folder / "b.tar", fsync=False)
    atdata.write_columns(columns, folder / "c.tar", sample_type=Everything, fsync=False)
    batch = next(iter(dataset.ordered(batch_size=len(samples))))
    atdata.write_samples(list(batch), folder / "d.tar", fsync=False)
    shards = {path.read_bytes() for path in folder.glob("*.tar")}
    assert len(shards) == 1


@pytest.mark.parametrize("shape", [(4, 3, 2), (1, 3, 2), (4, 3), (4, 1, 5)])
@pytest.mark.parametrize("order", ["C", "F", "rows of F"])
def test_a_column_gives_what_its_rows_give(
    shape: tuple[int, ...], order: str, tmp_path: Path
) -> None:
    """Whatever the order of the column in memory, and that of its rows."""
    column = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    if order == "F":
        column = np.asfortranarray(column)
    elif order == "rows of F":
        turned = (0, *range(column.ndim - 1, 0, -1))
        column = np.ascontiguousarray(column.transpose(turned)).transpose(turned)
        assert column[0].flags.f_contiguous

    @atdata.packable
    class Row:
        x: NDArray[np.int32]

    atdata.write_columns({"x": column}, tmp_path / "a.tar", sample_type=Row)
    atdata.write_samples([Row(row) for row in column], tmp_path / "b.tar")
    atdata.write_samples((Row(row.copy()) for row in column), tmp_path / "c.tar")
    assert len({path.read_bytes() for path in tmp_path.glob("*.tar")}) == 1


@pytest.mark.parametrize(
    "dtype",
    [
        np.dtype([("a", "i1"), ("b", "f8")], align=True),
        np.dtype([("a", "i1"), ("many", [("b", "i1"), ("c", "i4")], 3)], align=True),
        np.dtype({"names": ["a"], "formats": ["i4"], "offsets": [4], "itemsize": 16}),
        np.dtype(np.longdouble),
        np.dtype(np.clongdouble).newbyteorder(),
        np.dtype([("a", np.longdouble)]),
    ],
    ids=str,
)
def test_what_was_in_memory_before_is_not_written(dtype: np.dtype[Any], tmp_path: Path) -> None:
    """Bytes between the values of an item carry nothing, and tell nothing."""

    @atdata.packable
    class Row:
        x: NDArray[Any]

    def filled(byte: int) -> np.ndarray[Any, Any]:
        # A copy of another layout writes the values alone.
        array = np.frombuffer(bytearray([byte]) * dtype.itemsize * 3, dtype)
        for number in range(3):
            array[number] = np.zeros((), dtype)[()]
        if dtype.names:
            for name in dtype.names:
                array[name] = np.ones((), dtype[name])[()]
        return array

    for number, byte in enumerate((0, 0xAA)):
        rows = [filled(byte), filled(byte)]
        folder = tmp_path / str(number)
        folder.mkdir()
        atdata.write_samples([Row(row) for row in rows], folder / "a.tar", fsync=False)
        atdata.write_samples((Row(row) for row in rows), folder / "b.tar", fsync=False)
        atdata.write_columns({"x": np.stack(rows, dtype=dtype)}, folder / "c.tar", sample_type=Row)
        atdata.write_columns({"x": rows}, folder / "d.tar", sample_type=Row)
    assert len({path.read_bytes() for path in tmp_path.rglob("*.tar")}) == 1


def nan(payload: int) -> float:
    """A NaN with these bits."""
    [value] = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000000 | payload))
    return float(value)


NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
DIFFERENT: list[tuple[str, Any, Any]] = [
    ("ratio", 0.0, -0.0),
    ("ratio", nan(0), nan(5)),
    ("items", [0.0], [-0.0]),
    ("scores", {"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ("when", NOON, NOON.astimezone(timezone(timedelta(hours=2)))),
    ("when", NOON, NOON.replace(tzinfo=None)),
    ("text", "é", "e\u0301"),
    ("array", np.zeros(2), -np.zeros(2)),
    ("array", np.array([nan(0)]), np.array([nan(5)])),
    ("array", np.zeros(2, "<i4"), np.zeros(2, ">i4")),
    ("array", np.zeros(2, "i4"), np.zeros(2, "i8")),
    ("array", np.zeros((2, 1)), np.zeros((1, 2))),
    ("array", np.array(["a"], "U1"), np.array(["a"], "U2")),
]


@pytest.mark.parametrize(("name", "one", "other"), DIFFERENT, ids=[d[0] for d in DIFFERENT])
def test_what_makes_a_sample_another_one(name: str, one: Any, other: Any) -> None:
    """Equal to Python perhaps, but not the same: each comes back as what it was."""
    values = {
        "array": np.zeros(1),
        "ratio": 1.0,
        "count": 1,
        "flag": True,
        "text": "",
        "raw": b"",
        "items": [],
        "scores": {},
        "when": NOON,
        "mood": Mood.GOOD,
        "size": "s",
        "inner": Inner(np.zeros(1, np.float32), 1),
        "arrays": [],
    }
    packed = [Everything(**{**values, name: value}).packed for value in (one, other)]
    assert packed[0] != packed[1]
    assert [Everything.from_bytes(each).packed for each in packed] == packed
