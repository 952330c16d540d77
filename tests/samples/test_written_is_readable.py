"""What writing accepts, reading returns, equal; what could not be read back is not written."""

from __future__ import annotations

import dataclasses
import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from enum import Enum, IntEnum
from functools import partial
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import atdata
from atdata import limits
from atdata.errors import EncodeError, SampleTypeError, ShardError
from atdata.samples.kinds import Array, Misfit
from atdata.samples.packable import same_value
from atdata.schema.stubs import stub


class Anything(atdata.PackableSample):
    array: NDArray[Any]
    number: int = 0


def of_numpy() -> Iterator[np.dtype[Any]]:
    """Every dtype that NumPy has, in both byte orders, with units, lengths, and of records."""
    for code in np.typecodes["All"]:
        yield np.dtype(code)
        yield np.dtype(code).newbyteorder()
    yield from map(np.dtype, ["S3", "U3", ">U2", "V5", "M8[25s]", ">M8[ns]", "m8[D]", "S0", "V0"])
    if hasattr(np.dtypes, "StringDType"):
        yield np.dtypes.StringDType()
    pair = [("a", "<i4"), ("b", ">f8")]
    yield from (np.dtype(pair), np.dtype(pair, align=True), np.dtype([]))
    yield from (np.dtype((np.record, pair)), np.dtype([(("a title", "a"), "i2")]))
    yield from (np.dtype([("a", "S0")]), np.dtype([("é数", "f4")]), np.dtype([("é", "f4")]))
    yield np.dtype([("inner", pair), ("many", "i2", (2, 3)), ("text", "U3"), ("", "M8[s]")])
    at: Any = {"names": ["a", "b"], "formats": ["i4", "i4"]}
    more: list[Any] = [{"offsets": [0, 2]}, {"offsets": [4, 0]}]
    more += [{"offsets": [4, 12], "itemsize": 40}]
    yield from (np.dtype(at | layout) for layout in more)
    yield np.dtype([("wide", [(f"column_{i}", "f8") for i in range(600)])])
    yield np.dtype([("x", np.longdouble), ("y", "i1")])
    deep: np.dtype[Any] = np.dtype("i2")
    for depth in range(1, 41):
        deep = np.dtype([("x", deep)])
        if depth in (1, 30, 31, 32, 40):
            yield deep


def of_ml_dtypes() -> Iterator[np.dtype[Any]]:
    """Every dtype that ml_dtypes adds, and records of them."""
    for name in dir(ml_dtypes):
        scalar = getattr(ml_dtypes, name)
        if isinstance(scalar, type) and issubclass(scalar, np.generic):
            yield np.dtype(scalar)
            yield np.dtype([("x", scalar), ("y", "i4")])


DTYPES = [*of_numpy(), *of_ml_dtypes()]


def array_of(dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """An array of a dtype, with something in it where its bytes may be anything."""
    array = np.zeros(shape, dtype)
    if dtype.kind in "biufcmM" and dtype.isbuiltin == 1:
        array[...] = np.arange(array.size).reshape(shape) % 100
    return array


def written(write: Callable[[Path], atdata.Dataset[Any]], path: Path) -> Any:
    """A dataset, or None where an error of ours refused to write it, and left nothing."""
    try:
        return write(path)
    except EncodeError:
        assert not path.exists()
        return None


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)], ids=str)
def test_every_dtype_comes_back_or_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    """By columns and sample by sample, read one by one, by position and in batches.

    Both ways of writing accept the same dtypes.
    """
    refused = []
    for number, dtype in enumerate(DTYPES):
        array = array_of(dtype, shape)
        samples = [Anything(array, i) for i in range(12)]
        columns = {"array": np.stack([array] * 12, dtype=array.dtype), "number": np.arange(12)}
        ways: list[Callable[[Path], Any]] = [
            partial(atdata.write_samples, samples, fsync=False),
            partial(atdata.write_samples, iter(samples), fsync=False),
            partial(atdata.write_columns, columns, sample_type=Anything, fsync=False),
        ]
        found = [written(way, tmp_path / f"{number}-{i}.tar") for i, way in enumerate(ways)]
        assert len({dataset is None for dataset in found}) == 1, dtype
        if found[0] is None:
            refused.append(dtype)
            with pytest.raises(EncodeError):
                _ = samples[0].packed
            with pytest.raises(EncodeError):
                _ = atdata.DictSample(array=array).packed
            continue
        for dataset in found:
            assert list(dataset.ordered()) == samples
            assert dataset[7] == samples[7]
            batch = next(iter(dataset.ordered(batch_size=12)))
            assert list(batch) == samples
            stacked = batch.column("array")
            assert (stacked.dtype, stacked.shape) == (array.dtype, (12, *shape))
        assert same_value(atdata.DictSample.from_bytes(samples[3].packed)["array"], array)
    assert np.dtype(np.float32) not in refused
    assert np.dtype([("é数", "f4")]) not in refused
    assert np.dtype(ml_dtypes.bfloat16) not in refused
    assert np.dtype([("x", ml_dtypes.bfloat16), ("y", "i4")]) in refused


@pytest.mark.parametrize("dtype", [d for d in of_ml_dtypes() if not d.names], ids=str)
def test_dtypes_of_ml_dtypes_are_fields(dtype: np.dtype[Any], tmp_path: Path) -> None:
    """A field of such a dtype is checked, recorded, stubbed and read back, in batches as well."""
    scalar: Any = dtype.type
    typed: Any = atdata.packable(type("Typed", (), {"__annotations__": {"x": NDArray[scalar]}}))
    values = np.array([[0, 1, 1], [1, 0, 1]], np.float32).astype(dtype)
    samples = [typed(values), typed(values[:, ::-1]), typed(values)]
    written = atdata.write_samples(samples, tmp_path / "a.tar")
    assert list(written.ordered()) == samples
    [batch] = written.ordered(batch_size=3)
    assert (batch.x.dtype, batch.x.shape) == (dtype, (3, 2, 3))
    columns = {"x": np.stack([sample.x for sample in samples])}
    atdata.write_columns(columns, tmp_path / "b.tar", sample_type=typed)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    again = atdata.load_dataset(tmp_path / "a.tar", split="train")
    assert atdata.schema_of(again.sample_type) == atdata.schema_of(typed)
    assert f"NDArray[ml_dtypes.{dtype.name}]" in stub(atdata.schema_of(again.sample_type))
    with pytest.raises(EncodeError, match=rf"\$\.x: expected {dtype.name}, found float32"):
        _ = typed(values.astype(np.float32)).packed


def test_without_ml_dtypes_the_error_names_it(tmp_path: Path) -> None:
    """Whatever reads such an array: it is no bytes, and nothing is skipped."""
    typed: Any = atdata.packable(
        type("Typed", (), {"__annotations__": {"x": NDArray[ml_dtypes.bfloat16]}})
    )
    atdata.write_samples([typed(np.zeros(2, ml_dtypes.bfloat16))], tmp_path / "a.tar")
    program = """
import sys
sys.modules["ml_dtypes"] = None
import atdata
for read in (
    lambda: list(atdata.Dataset("a.tar")),
    lambda: atdata.Dataset("a.tar")[0].x,
    lambda: next(iter(atdata.Dataset("a.tar").ordered(batch_size=1))).x,
    lambda: atdata.load_dataset("a.tar", split="train"),
):
    try:
        print(read())
    except ImportError as error:
        assert isinstance(error, atdata.AtdataError)
        assert "pip install 'atdata[dtypes]'" in str(error), error
        print("refused")
"""
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["refused"] * 4, done.stdout + done.stderr


@pytest.mark.parametrize("count", [32, 33, 64])
def test_dimensions_are_written_up_to_the_limit(count: int, tmp_path: Path) -> None:
    """32 dimensions come back, in batches too; more are refused, and the limit is named."""
    sample = Anything(np.ones((1,) * count))
    path = tmp_path / "a.tar"
    if count > limits.array_dimensions:
        with pytest.raises(EncodeError, match=rf"{count} dimensions; limits\.array_dimensions"):
            atdata.write_samples([sample] * 9, path)
        assert not path.exists()
    else:
        dataset = atdata.write_samples([sample] * 9, path)
        assert list(dataset.ordered()) == [sample] * 9
        assert next(iter(dataset.ordered(batch_size=9))).samples == [sample] * 9


@pytest.mark.parametrize(
    ("array", "named"),
    [
        (np.zeros(2, [(f"column_{i}", "f8") for i in range(600)]), r"limits\.array_header"),
        (np.zeros(2, [("x", ml_dtypes.bfloat16)]), r"view\(np\.uint16\)"),
        (np.zeros(2, {"names": "ab", "formats": ["i4", "i4"], "offsets": [0, 2]}), "overlapping"),
    ],
    ids=["wide", "bfloat16", "overlapping"],
)
def test_the_refusal_says_why_and_where(array: np.ndarray[Any, Any], named: str) -> None:
    """The sample, the field, and what to do about it or which limit it is."""
    with pytest.raises(EncodeError, match=rf"sample 1: Anything \$\.array: .*{named}"):
        atdata.write_samples([Anything(np.zeros(2)), Anything(array)], "never.tar")


def test_more_lists_than_are_read_are_not_written(tmp_path: Path) -> None:
    """The limit of reading holds when a sample is written, whichever way, and without a type."""

    @atdata.packable
    class Nested:
        a: list[list[int]]
        b: dict[str, list[int]]

    fits, too_many = Nested([[]] * 50, {"x": []}), Nested([[]] * 90, {"x": [1] * 9})
    columns: dict[str, list[Any]] = {"a": [fits.a, too_many.a], "b": [fits.b, too_many.b]}
    with limits.set(containers=60):
        assert list(atdata.write_samples([fits] * 2, tmp_path / "a.tar").ordered()) == [fits] * 2
        ways: list[Callable[[Path], Any]] = [
            partial(atdata.write_samples, [fits, too_many]),
            partial(atdata.write_samples, iter([fits, too_many])),
            partial(atdata.write_columns, columns, sample_type=Nested),
        ]
        for write in ways:
            with pytest.raises(EncodeError, match=r"sample 1: .*limits\.containers"):
                write(tmp_path / "b.tar")
        with pytest.raises(EncodeError, match=r"limits\.containers"):
            _ = atdata.DictSample(a=too_many.a).packed
    assert [path.name for path in tmp_path.glob("b*")] == []


def test_a_shard_of_more_samples_than_are_read_is_not_written(tmp_path: Path) -> None:
    """From a list, a stream, columns, and where shards are filled side by side."""
    samples = [Anything(np.zeros(2), i) for i in range(25)]
    columns = {"array": np.zeros((25, 2)), "number": np.arange(25)}
    with limits.set(samples=10):
        some: list[dict[str, Any]] = [{}, {"maxcount": 11}, {"maxcount": 11, "fsync": False}]
        for options in some:
            ways: list[Callable[..., Any]] = [
                partial(atdata.write_samples, samples),
                partial(atdata.write_samples, iter(samples)),
                partial(atdata.write_columns, columns, sample_type=Anything),
            ]
            for write in ways:
                with pytest.raises(ShardError, match=r"limits\.samples .*maxcount="):
                    write(tmp_path / "a.tar", **options)
        assert not list(tmp_path.iterdir())
        dataset = atdata.write_samples(samples, tmp_path / "b.tar", maxcount=10)
        assert list(dataset.ordered()) == samples


def test_a_type_is_nested_as_deep_as_it_can_be_published() -> None:
    """Deeper ones are refused by the class, lists in lists and samples in samples."""
    annotation: Any = int
    inner: Any = atdata.packable(type("Level1", (), {"__annotations__": {"x": int}}))
    for depth in range(2, limits.nesting + 1):
        annotation = list[annotation]
        inner = atdata.packable(type(f"Level{depth}", (), {"__annotations__": {"x": inner}}))
    atdata.packable(type("Fits", (), {"__annotations__": {"x": annotation}}))
    for odd in (list[annotation], inner, list[inner]):
        with pytest.raises(SampleTypeError, match=r"limits\.nesting"):
            atdata.packable(type("Deep", (), {"__annotations__": {"x": odd}}))


class Plain(atdata.PackableSample):
    ratio: float
    when: datetime
    scores: dict[str, int]
    items: list[int]


def plain(**changes: Any) -> Plain:
    values = {"ratio": 0.5, "when": datetime(2024, 1, 1), "scores": {}, "items": []}
    return Plain(**{**values, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"ratio": 10**400},
        {"when": np.datetime64("2024-01-01T00:00:00.000000001")},
        {"when": np.datetime64(10**18, "s")},
        {"scores": {"\ud800": 1}},
    ],
    ids=str,
)
def test_what_a_field_cannot_hold_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    """A value that its field cannot hold as it is, alone and in a column."""
    with pytest.raises(EncodeError):
        _ = plain(**change).packed
    [(name, value)] = change.items()
    as_array: list[Any] = [np.array([value])] if isinstance(value, np.generic) else []
    for column in ([value], *as_array):
        columns: dict[str, Any] = {
            f.name: [getattr(plain(), f.name)] for f in dataclasses.fields(Plain)
        }
        with pytest.raises(EncodeError, match=rf"sample 0: Plain \$\.{name}"):
            atdata.write_columns({**columns, name: column}, tmp_path / "a.tar", sample_type=Plain)


@given(
    st.integers(-(2**64), 2**64)
    | st.integers(-4, 4).map(lambda i: 2**53 + i)
    | st.floats(width=32).map(np.float32)
    | st.floats().map(np.longdouble)
    | st.just(np.longdouble(1) / 3)
    | st.floats()
)
def test_a_field_of_float_takes_what_a_float_is_equal_to(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    """A number is read back equal, one by one and in columns; another one is refused."""
    exact = float(value) == value or value != value
    path = tmp_path_factory.mktemp("floats") / "a.tar"
    columns = {f.name: [getattr(plain(), f.name)] for f in dataclasses.fields(Plain)}
    ways: list[Any] = [[value]]
    if not isinstance(value, int) or -(2**63) <= value < 2**63:
        ways.append(np.array([value]))
    if exact:
        assert Plain.from_bytes(plain(ratio=value).packed) == plain(ratio=float(value))
    else:
        with pytest.raises(EncodeError, match=r"\$\.ratio.*float is equal to it"):
            _ = plain(ratio=value).packed
    for ratio in ways:
        made = {**columns, "ratio": ratio}
        if exact:
            written = atdata.write_columns(made, path, sample_type=Plain, fsync=False)
            assert list(written) == [plain(ratio=float(value))]
        else:
            with pytest.raises(EncodeError, match=r"\$\.ratio.*float is equal to it"):
                atdata.write_columns(made, path, sample_type=Plain)


class Mood(Enum):
    GOOD = "good"


@atdata.packable
class Part:
    x: int
    note: str = ""


@atdata.packable
class Larger(Part):
    z: int = 0


class Whole(atdata.PackableSample):
    part: Part
    mood: Mood
    parts: list[Part]


def test_values_that_stand_for_others_come_back_equal() -> None:
    """A dict for a nested sample, the value of an Enum, a tuple for a list."""
    given = Whole({"x": 1}, "good", ({"x": 2}, Part(3)))  # type: ignore[arg-type]
    back = Whole.from_bytes(given.packed)
    assert back == given == Whole(Part(1), Mood.GOOD, [Part(2), Part(3)])
    assert back != Whole({"x": 2}, "good", ())  # type: ignore[arg-type]
    assert back != Whole({"y": 2}, "bad", ())  # type: ignore[arg-type]


def test_a_nested_sample_of_a_subclass_is_refused() -> None:
    """Its own fields would be lost, as those of a sample in a dataset of another type."""
    with pytest.raises(EncodeError, match=r"\$\.part: .*What Larger adds to Part would be lost"):
        _ = Whole(Larger(1, "", 5), Mood.GOOD, []).packed


def test_an_hour_that_a_clock_repeats_comes_back_equal() -> None:
    """The zone's name becomes an offset; the moment is the same."""
    for fold in (0, 1):
        moment = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)
        back = Plain.from_bytes(plain(when=moment).packed)
        assert back.when.utcoffset() == moment.utcoffset()
        assert back == plain(when=moment)


class Level(IntEnum):
    LOW = 1


UNTYPED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | st.binary(max_size=30)
    | st.sampled_from([np.int8(3), np.float32(0.1), np.longdouble(1) / 3, np.str_("x")])
    | st.sampled_from([Level.LOW, np.datetime64("2024-01-01", "ns"), np.complex64(1j), "\ud800"])
    | st.sampled_from([np.arange(3), np.array([1], ml_dtypes.bfloat16), np.array(object())])
    | st.sampled_from([b"\x02<f\x00\x00\x00\x00\x00", Anything(np.zeros(2)).packed]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.just("\udfff"), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300)
@given(st.dictionaries(st.text(max_size=3), UNTYPED, max_size=4))
def test_samples_without_a_type_come_back_or_are_refused(data: dict[str, Any]) -> None:
    """Whatever is in them: equal, or an error of ours."""
    sample = atdata.DictSample(data)
    try:
        payload = sample.packed
    except EncodeError:
        return
    assert atdata.DictSample.from_bytes(payload) == sample


def test_bytes_that_are_an_array_are_refused_without_a_type() -> None:
    """They would come back as the array. A field that is declared bytes keeps them."""
    out = io.BytesIO()
    np.save(out, np.arange(3))
    with pytest.raises(EncodeError, match=r"\$\.raw: these bytes are an array"):
        _ = atdata.DictSample(raw=out.getvalue()).packed

    class Raw(atdata.PackableSample):
        raw: bytes

    assert Raw.from_bytes(Raw(out.getvalue()).packed).raw == out.getvalue()


NAMES = [
    *("mro", "self", "cls", "_", "_x", "field", "fields", "int", "type", "object", "property"),
    *("match", "name", "dataclass", "keys", "values", "items", "samples", "sample_type", "é数"),
]
REFUSED = ["__x", "__class__", "__dict__", "__eq__", "class", "None", "ﬁ", "a b", "packed"]


@pytest.mark.parametrize("name", [*NAMES, *REFUSED])
@pytest.mark.parametrize("default", [False, True])
def test_any_name_of_a_field_works_or_is_refused(name: str, default: bool, tmp_path: Path) -> None:
    """A name under which Python would keep something else makes no sample type."""
    body: dict[str, Any] = {"__annotations__": {name: int}, **({name: 3} if default else {})}
    if name in REFUSED:
        with pytest.raises(SampleTypeError, match=re.escape(name)):
            atdata.packable(type("Named", (), body))
        return
    cls: Any = atdata.packable(type("Named", (), body))
    samples = [cls(**{name: 5}) for _ in range(12)]
    dataset = atdata.write_samples(samples, tmp_path / "a.tar")
    assert [getattr(sample, name) for sample in dataset.ordered()] == [5] * 12
    by_columns = atdata.write_columns({name: [5] * 12}, tmp_path / "b.tar", sample_type=cls)
    assert list(by_columns.ordered()) == samples
    batch = next(iter(dataset.ordered(batch_size=12)))
    assert list(batch) == samples


@atdata.packable
class WithInitVar:
    x: int
    scale: InitVar[int]
    doubled: int = field(init=False)
    note: str = field(default="", kw_only=True)

    def __post_init__(self, scale: int) -> None:
        self.x *= scale
        self.doubled = 2 * self.x


@atdata.packable
@dataclass(slots=True, kw_only=True)
class WithSlots:
    x: int
    doubled: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.doubled = 2 * self.x


@atdata.packable(frozen=True, kw_only=True)
class Frozen:
    x: int
    items: list[int] = field(default_factory=list)


class Base(atdata.PackableSample):
    x: int
    y: int = 1


class Child(Base):
    y: int = 2
    z: str = "z"


@atdata.packable
@dataclass(init=False)
class OwnInit:
    x: int

    def __init__(self, half: int) -> None:
        self.x = 2 * half


class Guarded:
    __slots__ = ("x",)
    __annotations__ = {"x": int}

    def __init__(self, x: int) -> None:
        object.__setattr__(self, "x", x)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


@pytest.mark.parametrize(
    "sample",
    [
        WithInitVar(3, 2, note="n"),
        WithSlots(x=4),
        Frozen(x=1, items=[2]),
        Child(1),
        Base(5),
        OwnInit(3),
        atdata.packable(dataclass(init=False)(Guarded))(7),
    ],
    ids=lambda sample: type(sample).__name__,
)
@pytest.mark.parametrize("count", [1, 30])
def test_every_sort_of_dataclass_comes_back(sample: Any, count: int, tmp_path: Path) -> None:
    """InitVar, init=False, keywords, slots, frozen, inherited, made by a function of its own."""
    dataset = atdata.write_samples([sample] * count, tmp_path / "a.tar")
    assert list(dataset.ordered()) == [sample] * count
    assert dataset[0] == sample
    batch = next(iter(dataset.ordered(batch_size=count)))
    assert batch.samples == [sample] * count
    names = [f.name for f in dataclasses.fields(sample)]
    columns = {name: [getattr(sample, name)] * count for name in names}
    again = atdata.write_columns(columns, tmp_path / "b.tar", sample_type=type(sample))
    assert list(again.ordered()) == [sample] * count


@pytest.mark.parametrize("base", [dict, list, str, Exception])
def test_a_class_that_is_something_else_as_well_is_refused(base: type) -> None:
    """Of a dict, say, only the fields would be stored."""
    with pytest.raises(SampleTypeError, match=f"derives from {base.__name__}"):
        atdata.packable(type("Odd", (base,), {"__annotations__": {"x": int}}))


def test_a_copy_with_slots_of_a_sample_type_is_none() -> None:
    """`@dataclass(slots=True)` above `@packable` makes another class; that is said."""

    @dataclass(slots=True)
    @atdata.packable
    class Copied:
        x: int

    with pytest.raises(SampleTypeError, match="packable above @dataclass"):
        atdata.write_samples([Copied(1)], "never.tar")


class Raw(atdata.PackableSample):
    data: bytes


@given(hnp.arrays(hnp.integer_dtypes() | hnp.floating_dtypes(), hnp.array_shapes(max_side=3)))
def test_views_of_memory_come_back_equal_or_are_refused(array: Any) -> None:
    """A view that equals bytes is written as them; one of other items says how."""
    view = memoryview(array)
    if (view.format, view.ndim) == ("B", 1):
        assert Raw.from_bytes(Raw(view).packed).data == view  # type: ignore[arg-type]
        return
    with pytest.raises(EncodeError, match="tobytes"):
        _ = Raw(view).packed  # type: ignore[arg-type]


@given(
    st.sampled_from(["Y", "M", "W", "D", "3D", "h", "m", "s", "ms", "us", "ns", "ps"]),
    st.integers(-400, 400),
)
def test_moments_of_every_unit_come_back_equal_or_are_refused(unit: str, count: int) -> None:
    """Equal as NumPy compares them, and as samples; else an error that says what to write."""
    moment = np.dtype(f"M8[{unit}]").type(count, unit)
    sample = plain(when=moment)
    try:
        back = Plain.from_bytes(sample.packed)
    except EncodeError as error:
        assert unit not in ("h", "m", "s", "ms", "us")
        if "Write it in" in str(error):
            advised = plain(when=moment.astype("datetime64[us]"))
            assert Plain.from_bytes(advised.packed) == advised
        return
    assert back.when == sample.when
    assert back == sample


class Noted(atdata.PackableSample):
    note: str
    remark: str | None = None
    grade: int | None = None
    seen: datetime | None = None
    level: Literal["a", "b"] | None = None
    scan: NDArray[np.float32] | None = None


@pytest.mark.parametrize(
    "missing", [float("nan"), np.float32("nan"), np.datetime64("NaT")], ids=repr
)
@pytest.mark.parametrize("name", ["remark", "grade", "seen", "level", "scan"])
def test_a_mark_of_a_missing_value_is_to_be_written_as_none(name: str, missing: Any) -> None:
    """NaN, as tables have it, for a field that may be None."""
    with pytest.raises(EncodeError, match=rf"\$\.{name}: .*\| None, found Na[NT]\. Write None"):
        _ = Noted("x", **{name: missing}).packed


def test_a_field_that_has_no_none_says_how_it_gets_one() -> None:
    """NaN for a field of str."""
    with pytest.raises(EncodeError, match=r"x if x == x else None.* annotated str \| None\."):
        _ = Noted(float("nan")).packed  # type: ignore[arg-type]


FAMILIES = [np.float32, np.uint8, np.datetime64, np.timedelta64, np.str_, np.bytes_, np.complex64]


@given(
    st.sampled_from([np.dtype(f).name for f in FAMILIES] + ["<M8[D]", ">f8", "bool", "<U3"]),
    st.sampled_from([[1.5], [3], [True], ["a"], ["2024-01-01"], [b"1"], [2j], [np.timedelta64(1)]]),
)
def test_advice_to_convert_an_array_works(dtype: str, values: list[Any]) -> None:
    """The ``.astype(…)`` of an error gives an array that the field takes."""
    kind, array = Array(dtype), np.array(values)
    if kind.fits(array.dtype, array.shape):
        return
    with pytest.raises(Misfit) as caught:
        kind.check(array)
    advice = re.fullmatch(r"Convert it with \.astype\('(.*)'\)\.|", caught.value.hint)
    assert advice is not None
    if advice[1] is not None:
        kind.check(array.astype(advice[1]))


@pytest.mark.parametrize("digits", [20, 400, 5000])
@pytest.mark.parametrize("sign", [1, -1])
def test_integers_of_any_length_are_refused_alike(tmp_path: Path, digits: int, sign: int) -> None:
    """A whole number that Python itself cannot print, or make a float of, is an error of ours."""
    value = sign * 10**digits
    with pytest.raises(EncodeError, match=r"Plain \$\.items\[1\]: expected int, found"):
        _ = plain(items=[1, value]).packed
    with pytest.raises(EncodeError, match=r"DictSample \$\.count: expected int, found"):
        atdata.write_samples([atdata.DictSample({"count": value})], tmp_path / "x.tar")
    if digits > 308:
        with pytest.raises(EncodeError, match=r"Plain \$\.ratio: expected float, found"):
            _ = plain(ratio=value).packed
