"""Writing from columns gives the shards that writing sample by sample gives."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdata.errors import EncodeError, NoDataUrlsError, OptionError, ShardError
from atdata.samples.codec import codec_of
from atdata.samples.packable import packable
from atdata.shards.reader import scan_table
from atdata.shards.row_sources import ColumnRows, SampleRows
from atdata.shards.tar.table import SampleTable
from atdata.shards.tar.ustar import headers, number_key, numbered_headers
from atdata.shards.writer import PackedSample, write_keyed, write_numbered
from tests.shards.parts import Digit, FolderSink, digits, read_all


class Mood(enum.Enum):
    """Values of a Choice with a class."""

    GOOD = "good"
    BAD = "bad"


@packable
class Row:
    """A field of every kind."""

    number: int
    ratio: float
    flag: bool
    text: str
    raw: bytes
    array: NDArray[np.float32]
    anything: NDArray[Any]
    mood: Mood
    size: Literal["s", "m"]
    when: datetime
    words: list[str]
    counts: dict[str, int]
    inner: Digit
    maybe_number: int | None = None
    maybe_text: str | None = None
    maybe_array: NDArray[np.int16] | None = None


class TableSink(FolderSink):
    """A folder that takes tables, too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tables: dict[str, bytes] = {}

    def accept_table(self, name: str, table: bytes) -> None:
        self.tables[name] = table


def of_samples(samples: list[Any], folder: Path, **limits: Any) -> TableSink:
    """Shards written one by one."""
    sink = TableSink(folder)
    pairs = ((number_key(i), codec_of(type(s)).pack(s)) for i, s in enumerate(samples))
    write_keyed((PackedSample(*pair) for pair in pairs), sink, stem="x", **limits)
    return sink


def of_columns(
    columns: dict[str, Any], sample_type: type[Any], folder: Path, **limits: Any
) -> TableSink:
    """Shards written from columns."""
    sink = TableSink(folder)
    write_numbered(ColumnRows(columns, codec_of(sample_type)), sink, stem="x", **limits)
    return sink


def of_list(
    samples: list[Any] | Iterator[Any], sample_type: type[Any], folder: Path, **limits: Any
) -> TableSink:
    """Shards written from samples that are gathered."""
    sink = TableSink(folder)
    write_numbered(SampleRows(samples, codec_of(sample_type)), sink, stem="x", **limits)
    return sink


def same_shards(a: TableSink, b: TableSink) -> None:
    """Two folders of the same shards and tables, byte for byte."""
    assert [path.name for path in a.placed] == [path.name for path in b.placed]
    for one, other in zip(a.placed, b.placed, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert a.tables == b.tables


INTS = st.integers(-(2**63), 2**64 - 1) | st.integers(-300, 300)
TEXTS = st.text(max_size=4) | st.sampled_from(["a" * 40, "é" * 200])


def a_list(values: st.SearchStrategy[Any], count: int) -> st.SearchStrategy[list[Any]]:
    """A column of values, or of one again and again."""
    same = values.map(lambda value: [value] * count)
    return same | st.lists(values, min_size=count, max_size=count)


@st.composite
def stacked(draw: st.DrawFn, count: int, dtypes: list[str]) -> Any:
    """An array field: stacked in any order of memory, or an array a row."""
    shape = draw(st.sampled_from([(), (3,), (0,), (2, 3), (100,)]))
    dtype = draw(st.sampled_from(dtypes))
    column = np.arange(count * np.prod(shape, dtype=int)).reshape(count, *shape).astype(dtype)
    form = draw(st.sampled_from(["plain", "backward", "fortran", "each"]))
    if form == "each":
        lengths = draw(a_list(st.integers(0, 4), count))
        rows = [np.arange(n * 2).astype(dtype).reshape(2, n) for n in lengths]
        return [np.asfortranarray(r) if draw(st.booleans()) else r for r in rows]
    if form == "fortran" and len(shape) < 2:
        # Rows of more axes would be in Fortran order one by one.
        return np.asfortranarray(column)
    return column[::-1] if form == "backward" else column


@st.composite
def row_columns(draw: st.DrawFn) -> dict[str, Any]:
    """Columns of Row, as arrays and as lists."""
    n = draw(st.integers(1, 90))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    dtype = draw(st.sampled_from(["i1", "u2", ">i4", "i8", "u8"]))
    info = np.iinfo(dtype)
    numbers = rng.integers(info.min, info.max, n, dtype=np.dtype(dtype).newbyteorder("="))
    moments = [datetime(2024, 1, 2, tzinfo=UTC), datetime(1999, 5, 6, 7, 8, 9, 10)]
    columns = {
        "number": draw(st.just(numbers.astype(dtype)) | a_list(INTS, n)),
        "ratio": draw(
            st.sampled_from([rng.random(n), rng.random(n).astype("f4"), numbers >> 11])
            | a_list(st.floats() | st.integers(-5, 5), n)
        ),
        "flag": draw(st.just(rng.random(n) < 0.5) | a_list(st.booleans(), n)),
        "text": draw(a_list(TEXTS, n)),
        "raw": draw(a_list(st.binary(max_size=3) | st.just(b"x" * 300), n)),
        "array": draw(stacked(n, ["<f4", ">f4"])),
        "anything": draw(stacked(n, ["<i2", "<U2", "M8[s]", "?", "c16"])),
        "mood": draw(a_list(st.sampled_from(Mood), n)),
        "size": draw(st.just(np.array(["s", "m"])[rng.integers(0, 2, n)])),
        "when": draw(
            a_list(st.sampled_from(moments), n)
            | st.just(np.arange(n) + np.datetime64("2020-01-01T00:00"))
        ),
        "words": draw(a_list(st.lists(st.text(max_size=3), max_size=3), n)),
        "counts": draw(a_list(st.dictionaries(st.text(max_size=2), INTS, max_size=2), n)),
        "inner": draw(a_list(st.sampled_from(digits(3)), n)),
        "maybe_number": draw(a_list(st.none() | INTS, n)),
        "maybe_text": draw(a_list(st.none() | st.text(max_size=3), n)),
        "maybe_array": draw(a_list(st.none() | st.just(np.zeros(3, np.int16)), n)),
    }
    for name in draw(st.sets(st.sampled_from(["maybe_number", "maybe_text", "maybe_array"]))):
        del columns[name]
    return columns


def row(columns: dict[str, Any], number: int) -> Row:
    """One row of the columns as a sample."""
    values = {name: column[number] for name, column in columns.items()}
    for name in ("array", "anything"):
        if isinstance(columns[name], np.ndarray):
            values[name] = columns[name][number, ...]
    return Row(**values)


@settings(max_examples=100, deadline=None)
@given(
    columns=row_columns(),
    limits=st.fixed_dictionaries(
        {},
        optional={"maxcount": st.integers(1, 100), "maxsize": st.integers(200_000, 400_000)},
    ),
    fsync=st.booleans(),
)
def test_columns_give_the_shards_of_samples(
    tmp_path_factory: pytest.TempPathFactory,
    columns: dict[str, Any],
    limits: dict[str, int],
    fsync: bool,
) -> None:
    """Columns, a list of samples and a stream of them are packed alike, whatever their fields.

    And whether the disk is waited for or not, where several shards are filled at once.
    """
    samples = [row(columns, i) for i in range(len(columns["number"]))]
    folder = tmp_path_factory.mktemp("columns")
    expected = of_samples(samples, folder / "samples", **limits)
    same_shards(expected, of_columns(columns, Row, folder / "columns", fsync=fsync, **limits))
    same_shards(expected, of_list(samples, Row, folder / "list", fsync=fsync, **limits))
    same_shards(expected, of_list(iter(samples), Row, folder / "stream", fsync=fsync, **limits))


@settings(max_examples=25, deadline=None)
@given(maxsize=st.integers(2048, 20_000), maxcount=st.none() | st.integers(1, 9))
def test_limits_are_kept_alike(
    tmp_path_factory: pytest.TempPathFactory, maxsize: int, maxcount: int | None
) -> None:
    """The same limits cut columns where they cut samples."""
    folder = tmp_path_factory.mktemp("limits")
    texts = ["x" * (97 * i % 1400) if maxsize > 4000 else "" for i in range(40)]
    columns = {
        "image": np.zeros((40, 3), np.uint8),
        "label": list(range(40)),
        "word": texts,
    }
    samples = [Digit(np.zeros(3, np.uint8), i, text) for i, text in enumerate(texts)]
    limits = {"maxsize": maxsize, "maxcount": maxcount}
    expected = of_samples(samples, folder / "s", **limits)
    same_shards(expected, of_columns(columns, Digit, folder / "c", **limits))
    same_shards(expected, of_list(samples, Digit, folder / "l", **limits))


@pytest.mark.parametrize("fsync", [True, False])
def test_large_samples_are_hashed_in_their_order(fsync: bool, tmp_path: Path) -> None:
    """The hash of a shard of large samples is that of its bytes, however it is written."""
    texts = ["x" * (70_000 + i % 2) for i in range(60)]
    columns = {"image": np.zeros((60, 3), np.uint8), "label": list(range(60)), "word": texts}
    samples = [Digit(np.zeros(3, np.uint8), i, text) for i, text in enumerate(texts)]
    b = of_samples(samples, tmp_path / "s", maxcount=13)
    same_shards(b, of_columns(columns, Digit, tmp_path / "c", maxcount=13, fsync=fsync))
    same_shards(b, of_list(samples, Digit, tmp_path / "l", maxcount=13, fsync=fsync))
    for path in b.placed:
        head = SampleTable.parse(b.tables[path.name]).head
        assert head.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("fsync", [True, False])
def test_many_samples_are_written_in_several_runs(fsync: bool, tmp_path: Path) -> None:
    """Shards larger than what is built at once are whole, and their tables true."""
    count = 30_000
    images = np.arange(count * 64, dtype=np.uint8).reshape(count, 64)
    columns = {"image": images, "label": [7] * count}
    sink = of_columns(columns, Digit, tmp_path, maxcount=12_000, fsync=fsync)
    found = [sample for path in sink.placed for _, sample in read_all(path)]
    assert all((s.image == images[i]).all() for i, s in enumerate(found))
    assert len(found) == count
    for path in sink.placed:
        table = SampleTable.parse(sink.tables[path.name])
        size = path.stat().st_size
        again = scan_table(path, shard="x", shard_bytes=size, sha256=table.head.sha256)
        assert table.to_bytes() == again.to_bytes()


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2 * 10**9 - 5),
    st.lists(st.integers(0, 2**32), min_size=1, max_size=4),
)
def test_headers_at_once_are_headers_one_by_one(first: int, sizes: list[int]) -> None:
    """Headers made many at once are those that are made singly."""
    if first < 10**9 <= first + len(sizes):
        first = 10**9
    expected = [headers(number_key(first + i), size) for i, size in enumerate(sizes)]
    found = numbered_headers(first, np.array(sizes))
    assert list(map(b"".join, zip(*found.columns(), strict=True))) == expected
    assert [bytes(key).decode() for key in found.keys] == [
        number_key(first + i) for i in range(len(sizes))
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [1, 2, "x"]}, r"sample 2: Digit \$\.label: expected int, found str"),
        ({"label": [1, None, 3]}, r"sample 1: Digit \$\.label: expected int, found None"),
        ({"label": np.zeros(3)}, r"sample 0: Digit \$\.label: expected int, found float64"),
        ({"image": np.zeros((3, 2))}, r"Digit \$\.image: expected uint8.*astype\('uint8'\)"),
        ({"label": np.ma.masked_equal([1, 2, 3], 2)}, r"\$\.label: .* a masked column"),
        ({"label": [1]}, "differ in their number of values: .*label has 1"),
        ({"label": 5}, "'label': expected an array or a list .* found int"),
        ({"other": [1, 2, 3]}, r"Digit \$\.other: no such field"),
    ],
)
def test_columns_that_do_not_fit_are_named(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """A value that does not fit is an error that names field and sample; nothing is left."""
    columns = {"image": np.zeros((3, 2), np.uint8), "label": [1, 2, 3], **change}
    with pytest.raises(EncodeError, match=message):
        of_columns(columns, Digit, tmp_path)
    assert not list(tmp_path.rglob("*.*"))


def test_a_field_without_column_or_default_is_an_error(tmp_path: Path) -> None:
    """A column that is missing is named; one of a field with a default is not needed."""
    with pytest.raises(EncodeError, match=r"\$\.image: .*no such field"):
        of_columns({"label": [1]}, Digit, tmp_path)
    sink = of_columns({"label": [1], "image": np.zeros((1, 2), np.uint8)}, Digit, tmp_path)
    assert [sample.word for _, sample in read_all(sink.placed[0])] == [""]


@pytest.mark.parametrize("fsync", [True, False])
def test_nothing_is_left_when_a_later_shard_fails(fsync: bool, tmp_path: Path) -> None:
    """A bad value in the last shard leaves no shard, finished or not."""
    columns = {"image": np.zeros((30, 2), np.uint8), "label": [*range(29), "x"]}
    with pytest.raises(EncodeError, match="sample 29"):
        of_columns(columns, Digit, tmp_path, maxcount=3, fsync=fsync)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    ("columns", "limits", "error"),
    [
        ({}, {}, NoDataUrlsError),
        ({"image": np.zeros((0, 2), np.uint8), "label": []}, {}, NoDataUrlsError),
        ({"image": np.zeros((2, 2), np.uint8), "label": [1, 2]}, {"maxcount": 0}, OptionError),
        ({"image": np.zeros((2, 2), np.uint8), "label": [1, 2]}, {"maxsize": 1500}, OptionError),
    ],
)
def test_what_cannot_be_written_is_refused(
    columns: dict[str, Any], limits: dict[str, int], error: type[Exception], tmp_path: Path
) -> None:
    """No samples, and limits that no shard can keep, are errors."""
    with pytest.raises(error):
        of_columns(columns, Digit, tmp_path, **limits)


def test_a_sample_over_the_limit_is_refused(tmp_path: Path) -> None:
    """A sample that no reader would take is not written."""
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (1, 2**32), (0, 0))
    with pytest.raises((EncodeError, ShardError)):
        of_columns({"image": huge, "label": [1]}, Digit, tmp_path)
