"""Decoding many samples at once gives what decoding each by itself gives."""

from __future__ import annotations

import enum
import io
import re
import tarfile
from datetime import UTC, datetime
from typing import Any, Literal

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdata.errors import DecodeError, ShardError, UnknownFieldWarning
from atdata.samples.codec import codec_of
from atdata.samples.dict_sample import DictSample
from atdata.samples.ndarray import encode_array
from atdata.samples.packable import packable
from atdata.samples.text_column import TextColumn
from atdata.shards.columns.column import copied_column
from atdata.shards.columns.decode import Block
from atdata.shards.reader import read_blocks
from tests.shards.parts import Digit, digits, packed, read_all, tar_of


class Mood(enum.Enum):
    """Values of a Choice with a class."""

    GOOD = "good"
    BAD = "bad"


@packable
class Wide:
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
    inner: Digit
    maybe_number: int | None = None
    maybe_text: str | None = None
    maybe_array: NDArray[np.int16] | None = None


@packable
class Deep:
    """Nothing but fields of no fixed form."""

    words: list[str]
    counts: dict[str, int]
    digit: Digit


def identical(a: Any, b: Any) -> bool:
    """Whether two values are the same to the type, the bit and the order in memory."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        same_layout = a.dtype == b.dtype and a.shape == b.shape
        return bool(same_layout and a.tobytes() == b.tobytes())
    if isinstance(a, float):
        return np.float64(a).tobytes() == np.float64(b).tobytes()
    if isinstance(a, list):
        return len(a) == len(b) and all(map(identical, a, b))
    if hasattr(a, "__atdata_codec__"):
        return all(identical(getattr(a, f), getattr(b, f)) for f in vars(a))
    return bool(a == b)


def one_by_one(data: bytes, sample_type: type[Any]) -> list[tuple[str, Any]]:
    """What tarfile and the codec make of a shard: the answer to compare with."""
    out = []
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            if member.isreg():
                file = tar.extractfile(member)
                assert file is not None
                key, _, suffix = member.name.partition(".")
                assert suffix == "msgpack"
                out.append((key, codec_of(sample_type).unpack(file.read())))
    return out


def blocks_of(data: bytes, sample_type: type[Any]) -> list[Block[Any]]:
    """The shard's blocks."""
    return list(read_blocks(io.BytesIO(data), shard="x.tar", codec=codec_of(sample_type)))


def made(column: Any) -> Any:
    """A column with its arrays copied and its texts made."""
    column = copied_column(column)
    return column.tolist() if isinstance(column, TextColumn) else column


def check_columns(column: Any, values: list[Any], *, copy: bool = True) -> None:
    """A column holds exactly these values, in the form that `Block.columns` promises."""
    assert len(column) == len(values)
    column = made(column)
    sorts = set(map(type, values))
    if sorts == {bool} or sorts == {float}:
        assert column.dtype == (np.bool_ if sorts == {bool} else np.float64)
        assert identical(column.tolist(), values)
    elif sorts == {int}:
        if isinstance(column, list):
            assert min(values) < 0
            assert max(values) >= 2**63
        else:
            assert column.dtype == (np.uint64 if max(values) >= 2**63 else np.int64)
        assert list(map(int, column)) == values
    elif sorts == {np.ndarray} and len({(v.dtype, v.shape) for v in values}) == 1:
        assert column.dtype == values[0].dtype
        assert column.shape == (len(values), *values[0].shape)
        assert column.flags.writeable or not copy
        assert all(identical(column[i, ...], v) for i, v in enumerate(values))
    else:
        assert isinstance(column, list)
        assert identical(column, values)


WIDE_INTS = st.integers(-(2**63), 2**64 - 1) | st.integers(-300, 300)
SHAPES = st.sampled_from([(), (0,), (3,), (4,), (2, 3), (0, 2)])


@st.composite
def arrays(draw: st.DrawFn, dtypes: list[str]) -> np.ndarray[Any, Any]:
    """Small arrays of a few dtypes, shapes and memory orders."""
    shape = draw(SHAPES)
    array = np.arange(np.prod(shape), dtype=np.int64).reshape(shape) + draw(st.integers(0, 5))
    made = array.astype(draw(st.sampled_from(dtypes)))
    return np.asfortranarray(made) if draw(st.booleans()) else made


def as_numpy_saves(array: np.ndarray[Any, Any]) -> bytes:
    """An array as NumPy saves it, in its order in memory."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def compact(array: np.ndarray[Any, Any]) -> bytes:
    """An array in the compact form."""
    name = array.dtype.str.encode()
    shape = b"".join(int(n).to_bytes(8, "little") for n in array.shape)
    return b"".join([bytes([len(name)]), name, bytes([array.ndim]), shape, array.tobytes()])


@st.composite
def wires(draw: st.DrawFn) -> dict[str, Any]:
    """What a stored Wide holds, as any writer may have put it."""
    store = draw(st.sampled_from([as_numpy_saves, compact]))
    wire: dict[str, Any] = {
        "number": draw(WIDE_INTS),
        "ratio": draw(st.floats(width=32) | st.integers(-(2**60), 2**60)),
        "flag": draw(st.booleans()),
        "text": draw(st.text(max_size=5) | st.sampled_from(["a" * 40, "b" * 300, "é" * 20])),
        "raw": draw(st.binary(max_size=5)),
        "array": store(draw(arrays(["<f4", ">f4"]))),
        "anything": store(draw(arrays(["<i2", "<U2", "M8[s]", "?"]))),
        "mood": draw(st.sampled_from(["good", "bad"])),
        "size": draw(st.sampled_from(["s", "m"])),
        "when": draw(st.datetimes(timezones=st.sampled_from([None, UTC]))).isoformat(),
        "words": draw(st.lists(st.text(max_size=3), max_size=3) | st.just(["long"] * 300)),
        "inner": {"image": store(np.zeros(2, np.uint8)), "label": draw(WIDE_INTS)},
        "maybe_number": draw(st.none() | WIDE_INTS),
        "maybe_text": draw(st.none() | st.text(max_size=3)),
        "maybe_array": draw(st.none() | arrays(["<i2"]).map(store)),
    }
    for name in draw(st.sets(st.sampled_from(["maybe_number", "maybe_text"]))):
        del wire[name]
    scalars = st.none() | st.booleans() | WIDE_INTS | st.floats(width=32) | st.text(max_size=3)
    wire |= draw(st.dictionaries(st.sampled_from(["new", "newer"]), scalars | st.lists(scalars)))
    if draw(st.booleans()):
        wire = dict(reversed(wire.items()))
    return wire


FORMATS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"format": tarfile.USTAR_FORMAT},
        {"format": tarfile.GNU_FORMAT},
        {"format": tarfile.PAX_FORMAT, "mtime": 1700000000.25},
    ]
)


@st.composite
def wide_shards(draw: st.DrawFn) -> dict[str, Any]:
    """How `tar_of` makes shards of a few sorts of samples, in runs and mixed."""
    sorts = draw(st.lists(wires(), min_size=1, max_size=4))
    single = draw(st.booleans())
    payloads = [msgpack.packb(wire, use_single_float=single) for wire in sorts]
    order = [sort for sort in range(len(sorts)) for _ in range(draw(st.integers(0, 20)))]
    if draw(st.booleans()):
        draw(st.randoms(use_true_random=False)).shuffle(order)
    members = [(f"{i:04d}.msgpack", payloads[sort]) for i, sort in enumerate(order)]
    return {"members": members, **draw(FORMATS)}


@pytest.mark.filterwarnings("ignore::atdata.errors.UnknownFieldWarning")
@settings(max_examples=150, deadline=None)
@given(wide_shards())
def test_many_at_once_is_one_by_one(shard: dict[str, Any]) -> None:
    """Samples and columns of any mix of layouts are what tarfile and the codec give."""
    data = tar_of(**shard)
    expected = one_by_one(data, Wide)
    found = read_all(data, Wide)
    assert [key for key, _ in found] == [key for key, _ in expected]
    assert identical([s for _, s in found], [s for _, s in expected])
    at = 0
    for block in blocks_of(data, Wide):
        columns = block.columns()
        rows = [sample for _, sample in expected[at : at + len(block)]]
        assert list(columns) == [field.name for field in codec_of(Wide).fields]
        for name, column in columns.items():
            check_columns(column, [getattr(row, name) for row in rows])
        at += len(block)
    assert at == len(expected)


@pytest.mark.filterwarnings("ignore::atdata.errors.UnknownFieldWarning")
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_is_an_error_or_changes_nothing_else(form: int, data: st.DataObject) -> None:
    """With bytes changed anywhere, we raise our error or agree with tarfile and the codec."""
    fields = {"mtime": 1.5} if form == tarfile.PAX_FORMAT else {}
    count = data.draw(st.sampled_from([24, 48]))
    members = [(f"{p.key}.msgpack", p.payload) for p in packed(digits(count))]
    raw = bytearray(tar_of(members, format=form, **fields))
    at = st.integers(0, len(raw) - 1)
    near_headers = st.integers(0, len(raw) // 512 - 1).flatmap(
        lambda n: st.sampled_from([0, 3, 6, 13, 100, 124, 134, 148, 153, 156, 257, 345]).map(
            lambda field: 512 * n + field
        )
    )
    unused = set()
    for start in range(0, len(raw), 512):
        if raw[start + 257 : start + 262] == b"ustar":
            # Mode, owner and times: tarfile ends in silence where two changes in one header
            # keep its checksum and one of them leaves no number there. We do not read them.
            unused |= {start + i for i in (*range(100, 124), *range(136, 148), *range(329, 345))}
            if raw[start + 156 : start + 157] == b"x":
                # tarfile of Python 3.13 parses the padding after the records, too.
                size = int(raw[start + 124 : start + 135], 8)
                unused |= set(range(start + 512 + size, start + 1024))
    for place in data.draw(st.lists(at | near_headers, min_size=1, max_size=3)):
        if place in unused:
            continue
        raw[place] = data.draw(st.sampled_from([0, 0x2E, 0x2F, 0x30, 0x31, 0xC0, 0xFF]))
    try:
        found = read_all(bytes(raw))
        blocks = [block.columns() for block in blocks_of(bytes(raw), Digit)]
    except (ShardError, DecodeError):
        return
    expected = [(name, sample) for name, sample in lenient(bytes(raw))]
    assert identical([s for _, s in found], [s for _, s in expected])
    assert [key for key, _ in found] == [key for key, _ in expected]
    assert sum(len(block["label"]) for block in blocks) == len(expected)


def lenient(data: bytes) -> list[tuple[str, Any]]:
    """As `one_by_one`, with our rule for keys, for tars with damaged names."""
    out = []
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            folder, slash, file = member.name.rpartition("/")
            stem, _, suffix = file.partition(".")
            if member.isreg() and stem and suffix.lower() in ("msgpack", "mp", "msg"):
                stream = tar.extractfile(member)
                assert stream is not None
                out.append((folder + slash + stem, Digit.from_bytes(stream.read())))
    return out


@pytest.mark.filterwarnings("ignore::atdata.errors.UnknownFieldWarning")
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_payloads_are_errors_or_samples(data: st.DataObject) -> None:
    """A payload with any byte changed gives the codec's own answer, or its error."""
    payloads = [bytearray(p.payload) for p in packed(digits(16))]
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, 15))
        place = data.draw(st.integers(0, len(payloads[row]) - 1))
        payloads[row][place] = data.draw(st.integers(0, 255))
    tar = tar_of([(f"{i:02d}.msgpack", bytes(p)) for i, p in enumerate(payloads)])
    try:
        expected = [codec_of(Digit).unpack(bytes(p)) for p in payloads]
    except DecodeError as error:
        with pytest.raises(DecodeError, match=re.escape(str(error)) + "$"):
            read_all(tar)
        with pytest.raises(DecodeError):
            blocks_of(tar, Digit)[0].columns()
        return
    assert identical([s for _, s in read_all(tar)], expected)
    columns = blocks_of(tar, Digit)[0].columns()
    for name in columns:
        check_columns(columns[name], [getattr(sample, name) for sample in expected])


def test_deep_kinds_read_back() -> None:
    """Lists, maps and nested samples come out as they went in, as samples and as columns."""
    samples = [Deep(["a"] * (i % 3), {"n": i}, digits(1)[0]) for i in range(20)]
    tar = tar_of([(f"{i}.msgpack", p.payload) for i, p in enumerate(packed(samples))])
    assert [s for _, s in read_all(tar, Deep)] == samples
    assert blocks_of(tar, Deep)[0].columns()["counts"] == [{"n": i} for i in range(20)]


def test_samples_without_a_type_are_columns_too() -> None:
    """A block of DictSample has the columns that its samples have; what one lacks is None."""
    payloads = [msgpack.packb({"a": i} if i else {"a": 0, "b": "x"}) for i in range(9)]
    tar = tar_of([(f"{i}.msgpack", p) for i, p in enumerate(payloads)])
    columns = blocks_of(tar, DictSample)[0].columns()
    assert columns["a"].tolist() == list(range(9))  # type: ignore[union-attr]
    assert columns["b"] == ["x"] + [None] * 8


def test_arrays_own_their_memory() -> None:
    """A sample's array is writable and keeps neither the shard nor its neighbours in memory."""
    for count in (3, 30):
        tar = tar_of([(f"{p.key}.msgpack", p.payload) for p in packed(digits(count))])
        for _, sample in read_all(tar):
            assert sample.image.flags.owndata
            assert sample.image.flags.writeable


@pytest.mark.parametrize("options", [{"frozen": True}, {"kw_only": True}])
def test_frozen_and_keyword_types_are_built(options: dict[str, bool]) -> None:
    """Types that are frozen, or made by keyword alone, are read as any other."""

    @packable(**options)
    class Pair:
        a: int
        b: str

    tar = tar_of([(f"{i}.msgpack", msgpack.packb({"a": i, "b": "x"})) for i in range(20)])
    assert [(s.a, s.b) for _, s in read_all(tar, Pair)] == [(i, "x") for i in range(20)]


def test_unknown_fields_are_told_of_once() -> None:
    """Fields that the type lacks are ignored, with one warning that names them."""

    @packable
    class Label:
        label: int

    tar = tar_of([(f"{p.key}.msgpack", p.payload) for p in packed(digits(40))])
    with pytest.warns(UnknownFieldWarning) as warned:
        assert [s.label for _, s in read_all(tar, Label)] == [i * 37 for i in range(40)]
    (warning,) = warned
    assert "fields 'image', 'word' that Label does not have" in str(warning.message)
    assert blocks_of(tar, Label)[0].columns()["label"].tolist() == [i * 37 for i in range(40)]  # type: ignore[union-attr]


def test_what_cannot_be_read_is_an_error_without_warnings(
    recwarn: pytest.WarningsRecorder,
) -> None:
    """Samples of another type are one error; their other fields are no news."""

    @packable
    class Unlike:
        label: int
        other: str

    tar = tar_of([(f"{p.key}.msgpack", p.payload) for p in packed(digits(40))])
    with pytest.raises(DecodeError, match=r"\$\.other: .*Unlike"):
        list(read_all(tar, Unlike))
    assert not recwarn.list


def test_a_new_field_takes_its_default() -> None:
    """Samples written before a field was added are read with its default."""

    @packable
    class Later:
        label: int
        note: str = "none"
        extra: int | None = None

    tar = tar_of([(f"{i}.msgpack", msgpack.packb({"label": i})) for i in range(20)])
    assert [(s.note, s.extra) for _, s in read_all(tar, Later)] == [("none", None)] * 20


def test_an_odd_sample_is_named_among_many() -> None:
    """One bad sample among a thousand is the one that the error names, with its field."""
    payloads = [
        msgpack.packb({"image": encode_array(np.zeros(4, np.uint8)), "label": i})
        for i in range(1000)
    ]
    payloads[617] = msgpack.packb({"image": encode_array(np.zeros(4, np.uint8)), "label": "x"})
    tar = tar_of([(f"{i:06d}.msgpack", p) for i, p in enumerate(payloads)])
    named = r"x.tar, byte \d+, sample '000617': Digit \$\.label: expected int"
    with pytest.raises(DecodeError, match=named):
        [block.columns() for block in blocks_of(tar, Digit)]
    with pytest.raises(DecodeError, match=named):
        [block.samples() for block in blocks_of(tar, Digit)]
