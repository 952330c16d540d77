"""The form of a column: by the field's type and the caller's options, never by its values."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata import Dataset, DictSample, write_samples
from atdata.errors import OptionError, RaggedFieldError
from atdata.samples.packable import same_value


@atdata.packable
class Row:
    """A field of every sort, and of every sort that may be None."""

    number: int
    ratio: float
    flag: bool
    text: str
    raw: bytes
    when: datetime
    part: Literal["a", "b"]
    names: list[str]
    image: NDArray[np.float32]
    level: NDArray[np.int16]
    tokens: NDArray[np.int64]
    maybe_number: int | None = None
    maybe_ratio: float | None = None
    maybe_flag: bool | None = None
    maybe_text: str | None = None
    maybe_image: NDArray[np.float32] | None = None
    maybe_tokens: NDArray[np.int64] | None = None


FILL = {
    "maybe_number": -1,
    "maybe_ratio": math.nan,
    "maybe_flag": False,
    "maybe_text": "",
    "maybe_image": np.zeros(2, np.float32),
}
OPTIONS: list[dict[str, Any]] = [
    {"ragged": {"tokens": "list"}},
    {"ragged": {"tokens": "pad", "maybe_tokens": "pad", "number": "list"}, "fill": FILL},
    {"ragged": {"tokens": "flat", "maybe_tokens": "flat", "maybe_image": "pad"}},
    {"ragged": "pad", "fill": FILL},
]


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    integers = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
    made = st.builds(
        Row,
        number=integers,
        ratio=st.floats(),
        flag=st.booleans(),
        text=st.text(max_size=3),
        raw=st.binary(max_size=3),
        when=st.datetimes() | st.datetimes(timezones=st.just(UTC)),
        part=st.sampled_from(["a", "b"]),
        names=st.lists(st.text(max_size=2), max_size=2),
        image=st.integers(0, 9).map(lambda n: np.full(2, n, np.float32)),
        level=st.integers(0, 9).map(lambda n: np.array(n, np.int16)),
        tokens=st.integers(0, 3).map(np.arange),
        maybe_number=st.none() | integers,
        maybe_ratio=st.none() | st.floats(),
        maybe_flag=st.none() | st.booleans(),
        maybe_text=st.none() | st.text(max_size=3),
        maybe_image=st.none() | st.integers(0, 9).map(lambda n: np.full(2, n, np.float32)),
        maybe_tokens=st.none() | st.integers(0, 3).map(np.arange),
    )
    return draw(st.lists(made, min_size=1, max_size=9))


class Streams:
    """Shards that are streams without tables."""

    def __init__(self, paths: list[str]) -> None:
        self._shards = {f"stream:{path}": Path(path).read_bytes() for path in paths}

    @property
    def shard_list(self) -> list[str]:
        return list(self._shards)

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        for shard in self._shards:
            yield shard, self.open_shard(shard)

    def open_shard(self, shard_id: str) -> IO[bytes]:
        return io.BytesIO(self._shards[shard_id])


def form(column: Any) -> Any:
    """What a column is: a list, or an array of a dtype and so many dimensions."""
    if isinstance(column, list):
        return "list"
    # Strings of NumPy are as wide as the longest one.
    return column.dtype.kind if column.dtype.kind in "US" else column.dtype, column.ndim


def forms(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: form(column) for name, column in columns.items()}


WAYS: dict[str, Any] = {
    "tables": lambda tabled, streamed: tabled,
    "streams": lambda tabled, streamed: streamed,
    "mapped": lambda tabled, streamed: tabled.map(_same),
    "filtered": lambda tabled, streamed: streamed.filter(_all),
    "mixed": lambda tabled, streamed: atdata.mix([tabled]),
}


@settings(max_examples=30, deadline=None)
@given(
    rows(),
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(sorted(WAYS)), st.integers(1, 10)), min_size=3, max_size=3),
    st.sampled_from(OPTIONS),
)
def test_every_way_of_cutting_gives_the_same_forms(
    tmp_path_factory: pytest.TempPathFactory,
    samples: list[Row],
    shard: int,
    cuts: list[tuple[str, int]],
    options: dict[str, Any],
) -> None:
    """The same samples, cut into shards and batches anyhow, in any order: columns of one form."""
    tabled = write_samples(samples, tmp_path_factory.mktemp("f") / "rows.tar", maxcount=shard)
    streamed = Dataset[Row](Streams(tabled.shard_list))
    columns = list(tabled.batches(len(samples), **options))
    batches = [tabled[:], tabled[[0]]]
    for number, (way, size) in enumerate(cuts):
        dataset = WAYS[way](tabled, streamed)
        columns += dataset.batches(size, shuffle=number == 1, seed=0, **options)
        batches += dataset.shuffled(size) if number or way == "mixed" else dataset.ordered(size)
    assert all(forms(one) == forms(columns[0]) for one in columns)
    for name in Row.__annotations__.keys() - {"tokens"}:
        assert len({str(form(getattr(batch, name))) for batch in batches}) == 1, name
    for name in ("number", "ratio", "flag", "image", "level", "part"):
        assert len({str(form(batch.column(name))) for batch in batches}) == 1, name
    for name in FILL.keys() - {"maybe_text"}:
        made = {str(form(batch.column(name, fill=FILL[name]))) for batch in batches}
        assert len(made) == 1, name


def test_a_batch_of_nothing_has_the_forms_too(tmp_path: Path) -> None:
    """No samples: arrays of length 0, of the dtype that the type says."""
    batch = write_samples([Half(0.5)], tmp_path / "h.tar")[[]]
    assert (len(batch), batch.keys, batch.samples, batch.ratio) == (0, [], [], [])
    columns = batch.as_numpy(fill={"ratio": 0.0, "image": np.ones(3, np.float32)})
    assert (columns["ratio"].dtype, columns["ratio"].shape) == (np.dtype(np.float64), (0,))
    assert (columns["image"].dtype, columns["image"].shape) == (np.dtype(np.float32), (0, 3))
    wide = write_samples([Wide(1)], tmp_path / "w.tar")[1:1]
    assert (wide.id, wide.column("id").dtype) == ([], np.dtype(np.int64))


def _same(row: Row) -> Row:
    return row


def _all(row: Row) -> bool:
    return True


@settings(max_examples=15, deadline=None)
@given(rows(), st.integers(1, 4), st.integers(1, 10))
def test_columns_hold_the_samples(
    tmp_path_factory: pytest.TempPathFactory, samples: list[Row], shard: int, size: int
) -> None:
    """Joined again, the columns have every value; a mask says where there was None."""
    path = tmp_path_factory.mktemp("forms") / "rows.tar"
    dataset = write_samples(samples, path, maxcount=shard)
    options = {"ragged": {"tokens": "list", "maybe_tokens": "list"}, "fill": FILL}
    done = 0
    for columns in dataset.batches(size, **options):  # type: ignore[arg-type]
        for place in range(len(columns["number"])):
            sample = samples[done]
            for field in ("number", "ratio", "text", "raw", "when", "part", "names", "image"):
                assert same_value(_plain(columns[field][place]), getattr(sample, field))
            assert same_value(np.array(columns["level"][place]), sample.level)
            for name, fill in FILL.items():
                value = getattr(sample, name)
                assert columns[f"{name}.mask"][place] == (value is not None)
                expected = fill if value is None else value
                assert same_value(_plain(columns[name][place]), expected)
            assert same_value(columns["maybe_tokens"][place], sample.maybe_tokens)
            done += 1
    assert done == len(samples)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


@atdata.packable
class Wide:
    """An int, which msgpack may hold to 64 bits, with or without a sign."""

    id: int


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-(2**63), 2**64 - 1) | st.integers(-2, 2), min_size=1, max_size=8),
    st.integers(1, 8),
    st.integers(1, 8),
)
def test_integers_keep_every_digit(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int], shard: int, size: int
) -> None:
    """A column of int is int64 with every digit, or an error; a list has all that there are."""
    path = tmp_path_factory.mktemp("wide") / "wide.tar"
    dataset = write_samples([Wide(i) for i in ids], path, maxcount=shard)
    listed = [i for b in dataset.batches(size, ragged={"id": "list"}) for i in b["id"]]
    assert listed == ids == [i for batch in dataset.ordered(size) for i in batch.id]
    for at, batch in enumerate(dataset.ordered(size)):
        mine = ids[at * size : (at + 1) * size]
        if max(mine) < 2**63:
            column = batch.column("id")
            assert (column.dtype, column.tolist()) == (np.dtype(np.int64), mine)
            assert batch.as_numpy()["id"].tolist() == mine
            continue
        for read in (partial(batch.column, "id"), batch.as_numpy):
            with pytest.raises(RaggedFieldError, match=r"id: .*int64.*'list'"):
                read()
    if max(ids) >= 2**63:
        with pytest.raises(RaggedFieldError, match="id: "):
            list(dataset.batches(size))


def test_what_stands_for_none_is_checked(tmp_path: Path) -> None:
    """A fill of another type, of a field that is never None, or of none at all is an error."""
    dataset = write_samples([Wide(1)], tmp_path / "w.tar").map(lambda w: Half(0.5), Half)
    for wrong in ({"ratio": "x"}, {"ratio": None}, {"id": 1}, {"nothing": 1}, 0.0, {"image": 0.0}):
        with pytest.raises(OptionError, match="fill"):
            dataset.batches(1, fill=wrong)  # type: ignore[arg-type]
    with pytest.raises(RaggedFieldError, match=r"ratio: .*fill"):
        dataset[:].column("ratio")
    with pytest.raises(OptionError, match="ratio"):
        dataset[:].column("ratio", fill="x")
    columns = dataset[:].as_numpy(fill={"ratio": 0.0, "image": np.ones(3, np.float32)})
    assert columns["ratio"].tolist() == [0.5]
    assert columns["image"].tolist() == [[1, 1, 1]]


@atdata.packable
class Half:
    """Fields that may be None."""

    ratio: float | None
    image: NDArray[np.float32] | None = None


def test_samples_without_a_type_are_not_guessed(tmp_path: Path) -> None:
    """Numbers mixed with None or missing in some samples are an error, filled, or a list."""
    samples = [DictSample(w=1.0, t="a"), DictSample(w=None, t=None), DictSample(t="c")]
    dataset = Dataset(write_samples(samples, tmp_path / "d.tar").shard_list)
    for size in (1, 2, 3):
        with pytest.raises(RaggedFieldError, match=r"w: .*ragged=\{'w': 'list'\}"):
            list(dataset.batches(size))
        ways: Any = {"w": "list", "t": "list"}
        listed = [b.get("w", [None]) for b in dataset.batches(size, ragged=ways)]
        assert [w for column in listed for w in column] == [1.0, None, None]
    (columns,) = dataset.batches(3, fill={"w": -1.0})
    assert columns["w"].tolist() == [1, -1, -1]
    assert columns["w.mask"].tolist() == [True, False, False]
    assert columns["t"] == ["a", None, "c"]


def test_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    """A field called as a column that belongs to another does not take its place."""
    samples = [DictSample({"ids": np.arange(n), "ids.lengths": 7}) for n in (1, 2)]
    dataset = Dataset(write_samples(samples, tmp_path / "d.tar").shard_list)
    with pytest.raises(RaggedFieldError, match=r"ids\.lengths"):
        next(dataset.batches(2, ragged="pad"))
    assert next(dataset.batches(2, ragged="list"))["ids.lengths"] == [7, 7]


def test_arrays_without_dimensions_stay_arrays(tmp_path: Path) -> None:
    """Out of batches they are arrays, also over two shards, and can be written again."""
    samples = [Half(float(i), np.array(i, np.float32)) for i in range(5)]
    dataset = write_samples(samples, tmp_path / "a.tar", maxcount=2)
    for size in (1, 2, 3, 5):
        again = [s for batch in dataset.ordered(size) for s in batch]
        assert again == samples
        assert all(type(s.image) is np.ndarray for s in again)
        write_samples(again, tmp_path / f"again-{size}.tar")
        assert all(type(v) is np.ndarray for b in dataset.ordered(size) for v in b.values("image"))


def test_moments_beyond_the_calendar_have_a_column(tmp_path: Path) -> None:
    """In UTC before year 1 or after 9999: NumPy's datetimes reach further than Python's."""

    @atdata.packable
    class Moment:
        at: datetime

    ends = (datetime.min, datetime.max.replace(microsecond=0))
    zones = (timedelta(hours=5), timedelta(hours=-5))
    samples = [
        Moment(end.replace(tzinfo=timezone(zone))) for end, zone in zip(ends, zones, strict=True)
    ]
    dataset = write_samples(samples, tmp_path / "m.tar")
    assert next(dataset.batches(2))["at"] == [s.at for s in samples]
    column = dataset[:].column("at")
    assert str(column[0]) == "0000-12-31T19:00:00.000000"
    assert str(column[1]) == "10000-01-01T04:59:59.000000"
    mixed = write_samples([samples[0], Moment(datetime(2000, 1, 1))], tmp_path / "x.tar")
    with pytest.raises(RaggedFieldError, match=r"at: .*time zone"):
        mixed[:].column("at")
