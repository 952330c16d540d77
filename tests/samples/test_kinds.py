"""Fields of the standard library's types, tuples, sets, int enums, lists of arrays and unions."""

from __future__ import annotations

import decimal
import io
import math
import tarfile
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata.errors import DecodeError, EncodeError, SampleTypeError, UnknownKindError
from atdata.samples.kinds import IntChoice
from atdata.schema.alt_record import from_alt_record, to_alt_record
from atdata.schema.evolve import compare
from atdata.schema.record import from_record, to_record
from atdata.testing.strategies import values_of

NOON = time(12, 30, tzinfo=timezone(timedelta(hours=2)))
ID = UUID("12345678-1234-5678-1234-567812345678")


class Level(IntEnum):
    LOW = 1
    HIGH = 5


class Code(Enum):
    A = 10
    B = -3


class Mood(Enum):
    GOOD = "good"


class Point(NamedTuple):
    x: int
    y: str


class Bits(IntFlag):
    A = 1


def one(annotation: Any) -> Any:
    """A sample type with one field."""
    return atdata.packable(type("One", (), {"__annotations__": {"x": annotation}}))


def no_schema(ref: str) -> atdata.Schema:
    raise AssertionError(ref)


ANNOTATIONS: list[Any] = [
    *(date, time, timedelta, Decimal, UUID),
    *(tuple[int, str], tuple[float, ...], tuple[()], tuple[tuple[int, date], NDArray[np.uint8]]),
    *(set[str], frozenset[int], set[bytes], set[float], set[date], set[Mood], set[tuple[int, str]]),
    *(Level, Code, Literal[3, 1], set[Level], tuple[Level, ...], list[Level]),
    *(list[NDArray[np.float32]], list[NDArray[np.float64] | None], dict[str, NDArray[np.int16]]),
    *(int | str, float | list[float], bool | int | float | str, Literal["auto"] | int),
    *(list[int | str], dict[str, float | str | None], float | dict[str, atdata.Json]),
]


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("annotation", ANNOTATIONS, ids=str)
@settings(max_examples=8)
@given(st.data())
def test_every_value_comes_back(
    tmp_path_factory: pytest.TempPathFactory, annotation: Any, optional: bool, data: st.DataObject
) -> None:
    """One by one, in batches and from columns, with its class and with one made of the schema."""
    cls = one(annotation | None if optional else annotation)
    field = atdata.schema_of(cls).fields[0]
    values = data.draw(st.lists(values_of(field.value_kind), min_size=1, max_size=4))
    rows = [cls(value) for value in values]
    folder = tmp_path_factory.mktemp("kinds")
    dataset = atdata.write_samples(rows, folder / "rows.tar")
    [batch] = dataset.ordered(batch_size=len(rows))
    for found in (list(dataset.ordered()), batch.samples, [cls(value) for value in batch.x]):
        assert found == rows
        assert [type(row.x) for row in found] == [type(value) for value in values]
    atdata.write_columns({"x": values}, folder / "columns.tar", sample_type=cls)
    assert (folder / "columns.tar").read_bytes() == (folder / "rows.tar").read_bytes()
    made: Any = atdata.build_type(atdata.schema_of(cls))
    again = atdata.Dataset.of(made, [str(folder / "rows.tar")])
    assert [row.packed for row in again.ordered()] == [row.packed for row in rows]


@pytest.mark.parametrize("annotation", ANNOTATIONS, ids=str)
def test_every_kind_is_in_both_families(annotation: Any) -> None:
    """A schema comes back from the records of either family, and no change is seen."""
    for hint in (annotation, list[annotation | None]):
        schema = atdata.schema_of(one(hint))
        of_first = from_record(to_record(schema, lambda nested: ""), no_schema)
        of_second = from_alt_record(to_alt_record(schema))
        assert of_first == of_second == schema
        assert not compare(of_first, of_second)


WIRE: list[tuple[Any, Any, Any]] = [
    (date, date(2024, 2, 29), "2024-02-29"),
    (time, NOON, "12:30:00+02:00"),
    (timedelta, timedelta(days=-1, microseconds=5), -86_399_999_995),
    (Decimal, Decimal("1.50E+40"), "1.50E+40"),
    (UUID, ID, str(ID)),
    (tuple[int, str], (1, "a"), [1, "a"]),
    (tuple[int, ...], (1, 2), [1, 2]),
    (set[str], {"b", "a"}, ["a", "b"]),
    (frozenset[int], frozenset({2, 1}), [1, 2]),
    (Level, Level.HIGH, 5),
    (Literal[1, 2], 2, 2),
    (list[int | str], [1, "a"], [1, "a"]),
    (float | list[float], 1.5, 1.5),
]


@pytest.mark.parametrize(("annotation", "value", "wire"), WIRE, ids=[str(row[0]) for row in WIRE])
def test_what_is_stored_is_plain(annotation: Any, value: Any, wire: Any) -> None:
    """Any msgpack reader gets text, numbers and lists, which is what DictSample shows."""
    packed = one(annotation)(value).packed
    assert msgpack.unpackb(packed) == {"x": wire}
    assert atdata.DictSample.from_bytes(packed)["x"] == wire


REFUSED: list[tuple[Any, Any, str]] = [
    (date, datetime(2024, 1, 1), r"found datetime. Write value\.date\(\)"),
    (date, np.datetime64("2024-01"), r"datetime64\[M\] 2024-01. Write it in days"),
    (date, "2024-01-01", "expected date, found str"),
    (time, time(1, tzinfo=ZoneInfo("Europe/Berlin")), "depends on the date"),
    (time, time(1, tzinfo=timezone(timedelta(microseconds=-1))), "at least a second"),
    (datetime, datetime(2024, 1, 1, tzinfo=timezone(timedelta(microseconds=9))), "at least a sec"),
    (timedelta, timedelta.max, "at most 106,751,991 days"),
    (timedelta, np.timedelta64(5, "ns"), r"microseconds: \.astype"),
    (timedelta, np.timedelta64(5, "Y"), r"microseconds: \.astype"),
    (timedelta, np.timedelta64(5), r"microseconds: \.astype"),
    (timedelta, np.timedelta64("NaT"), "expected timedelta, found"),
    (timedelta, 5, "expected timedelta, found int"),
    (Decimal, Decimal("NaN"), r"found NaN.*Decimal \| None"),
    (Decimal, Decimal("-Infinity"), "found -Infinity"),
    (Decimal, Decimal("sNaN"), "found sNaN"),
    (Decimal, 0.1, r"Decimal\(str\(value\)\)"),
    (Decimal, True, "found bool"),
    (UUID, str(ID), r"Write UUID\(value\)"),
    (tuple[int, str], (1,), r"expected tuple\[int, str\], found a tuple of 1 item"),
    (tuple[int, str], (1, 2), r"\$\.x\[1\]: expected str, found int"),
    (tuple[int, ...], {1}, "found set"),
    (tuple[int, ...], (1, "a"), r"\$\.x\[1\]"),
    (set[int], [1], r"found list. Write set\(value\)"),
    (set[int], {"a"}, "expected int, found str"),
    (set[float], {math.nan}, "found NaN. It equals nothing"),
    (Level, 2, r"expected IntEnum\(LOW=1, HIGH=5\), found 2"),
    (Level, True, "found True"),
    (Level, "LOW", "found 'LOW'"),
    (Code, Level.LOW, "found 1"),
    (list[NDArray[np.float32]], [np.zeros(2)], r"\$\.x\[0\]: expected float32, found float64"),
    (int | str, 1.5, r"expected int \| str, found float"),
    (int | str, None, r"expected int \| str, found None"),
    (int | str, True, "found bool"),
    (int | str, 2**64, "64 bits"),
    (float | list[float], [1.0, "a"], r"\$\.x\[1\]: expected float, found str"),
]


@pytest.mark.parametrize(
    ("annotation", "value", "message"), REFUSED, ids=[row[2] for row in REFUSED]
)
def test_what_would_change_is_refused(annotation: Any, value: Any, message: str) -> None:
    """A value that would not come back equal is refused when it is written; the error says why."""
    with pytest.raises(EncodeError, match=message):
        _ = one(annotation)(value).packed


HOSTILE: list[tuple[Any, tuple[Any, ...]]] = [
    (date, ("", "2024-13-01", "2024-01-01T00:00", 5, None, b"2024-01-01")),
    (time, ("25:00", "noon", "12:00+99:00", 1, [])),
    (timedelta, ("1", 1.0, True, 2**63, 2**64 - 1, None)),
    (Decimal, ("NaN", "Infinity", "1_0", " 1", "１", "", "1e", 1, 1.0)),
    (Decimal, ("1E99999999999999999999",)),
    (UUID, (f"{{{ID}}}", f"urn:uuid:{ID}", ID.hex, ID.bytes, "x" * 36, 1)),
    (tuple[int, str], ([1], [1, "a", 2], ["a", 1], {"0": 1}, None, [1, 2])),
    (tuple[int, ...], (["a"], 1, {"a": 1})),
    (set[int], ([1, 1], ["a"], {"a": 1}, 1)),
    (set[float], ([0.0, -0.0], [math.nan])),
    (set[date], (["2024-01-01", "2024-01-01"],)),
    (Level, (2, True, 1.0, "LOW", 2**64 - 1, None)),
    (list[NDArray[np.float32]], ([b""], [b"\x93NUMPY"], b"", [None], [[1.0]])),
    (int | str, (1.5, True, b"a", [1], None, msgpack.Timestamp(1))),
    (float | list[float], ("a", ["a"], {"a": 1}, [[1.0]])),
]


@pytest.mark.parametrize(
    ("annotation", "wire"),
    [(annotation, wire) for annotation, wires in HOSTILE for wire in wires],
    ids=lambda value: ascii(value)[:40],
)
def test_hostile_values_are_refused(annotation: Any, wire: Any, tmp_path: Path) -> None:
    """What no writer of ours writes is an error with its path, alone and in a batch."""
    cls = one(annotation)
    packed = msgpack.packb({"x": wire})
    with pytest.raises(DecodeError, match=r"\$\.x"):
        cls.from_bytes(packed)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("a", "b"):
            info = tarfile.TarInfo(f"{name}.msgpack")
            info.size = len(packed)
            tar.addfile(info, io.BytesIO(packed))
    with pytest.raises(DecodeError, match=r"sample 'a', \$\.x|\$\.x"):
        list(atdata.Dataset.of(cls, [str(tmp_path / "x.tar")]).ordered(batch_size=2))


def test_values_that_equal_others_are_written() -> None:
    """NumPy's days and durations, lists for tuples, and the values of enums come back equal."""
    for annotation, value, read in [
        (date, np.datetime64("2024-02-29"), date(2024, 2, 29)),
        (timedelta, np.timedelta64(3, "h"), timedelta(hours=3)),
        (timedelta, np.timedelta64(2, "W"), timedelta(weeks=2)),
        (Decimal, 5, Decimal(5)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, str], Point(1, "a"), (1, "a")),
        (set[str], frozenset({"a"}), {"a"}),
        (Level, 5, Level.HIGH),
        (Code, np.int64(-3), Code.B),
        (float | str, 3, 3.0),
        (int | str, np.int32(3), 3),
    ]:
        sample = one(annotation).from_bytes(one(annotation)(value).packed)
        assert sample.x == read
        assert type(sample.x) is type(read)


def test_equal_sets_give_equal_bytes() -> None:
    """Whatever order a set is in, and whatever the context of decimals, the bytes are the same."""
    words = [f"word {number}" for number in range(100)]
    packed = {one(set[str])(set(order)).packed for order in (words, words[::-1], sorted(words))}
    assert len(packed) == 1
    number = one(Decimal)(Decimal("1E+5"))
    with decimal.localcontext() as context:
        context.capitals, context.prec = 0, 2
        context.traps[decimal.InvalidOperation] = False
        assert number.packed == one(Decimal)(Decimal("1E+5")).packed
        with pytest.raises(DecodeError):
            one(Decimal).from_bytes(msgpack.packb({"x": "1E99999999999999999999"}))
    assert msgpack.unpackb(number.packed) == {"x": "1E+5"}


def test_columns_of_numpy(tmp_path: Path) -> None:
    """Dates, durations and int enums make columns; arrays of them can be written."""
    cls: Any = atdata.packable(
        type("Row", (), {"__annotations__": {"day": date, "took": timedelta, "level": Level}})
    )
    columns: dict[str, Any] = {
        "day": np.arange("2024-01-01", "2024-01-04", dtype="datetime64[D]"),
        "took": np.arange(3).astype("timedelta64[s]"),
        "level": np.array([1, 5, 1]),
    }
    dataset: Any = atdata.write_columns(columns, tmp_path / "x.tar", sample_type=cls)
    [batch] = dataset.ordered(batch_size=3)
    assert batch.day == [date(2024, 1, day) for day in (1, 2, 3)]
    assert batch.level == [Level.LOW, Level.HIGH, Level.LOW]
    for name, dtype in (("day", "<M8[D]"), ("took", "<m8[us]"), ("level", "<i8")):
        column = batch.column(name)
        assert column.dtype == dtype
        assert (column == columns[name]).all()
    # Asking for the array does not change what the batch has.
    assert batch.samples == list(dataset.ordered())


def test_lists_of_arrays_own_their_memory(tmp_path: Path) -> None:
    """Boxes of a picture, as many as there are: each array can be written to."""
    cls = one(list[NDArray[np.float32]])
    boxes = [[np.full((4,), n, np.float32)] * n for n in range(5)]
    dataset: Any = atdata.write_samples([cls(each) for each in boxes], tmp_path / "x.tar")
    [batch] = dataset.ordered(batch_size=5)
    for read in (batch.samples, list(dataset.ordered())):
        for sample, each in zip(read, boxes, strict=True):
            assert [box.tolist() for box in sample.x] == [box.tolist() for box in each]
            assert all(box.flags.writeable for box in sample.x)
    read[4].x[0][:] = 7
    assert read[4].x[1].tolist() == [4, 4, 4, 4]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (int | bytes, "bytes is not a JSON kind"),
        (date | int, "date is not a JSON kind"),
        (list[int] | list[str], r"list\[int\] and list\[str\] look alike.*list\[int \| str\]"),
        (Any | int, "write Json"),
        (Annotated[int, atdata.ClassLabel("a")] | str, "is not a JSON kind"),
        (set[list[int]], r"cannot hold list\[int\]; write list\[T\]"),
        (set[NDArray[np.float32]], "cannot hold float32"),
        (set[set[int]], r"cannot hold set\[int\]"),
        (tuple, r"write tuple\[T, \.\.\.\]"),
        (set, r"write set\[T\]"),
        (Point, "Point is not supported"),
        (Bits, "Bits is not supported as a field: write int"),
        (np.timedelta64, "write timedelta"),
        (Literal[1, "a"], "not supported"),
        (Literal[2**60], "53 bits"),
        (timezone, "not supported"),
    ],
    ids=str,
)
def test_what_cannot_be_a_field_is_answered_with_what_can(annotation: Any, message: str) -> None:
    """The error names the spelling that works, and lists what is supported."""
    with pytest.raises(SampleTypeError, match=rf"One\.x: .*{message}"):
        one(annotation)


OLD_NAMES = {"#primitive", "#ndarray", "#array", "#map", "#ref"}
"""What readers of before these kinds know."""


@pytest.mark.parametrize(
    "annotation",
    [
        *(date, time, timedelta, Decimal, UUID, tuple[int, str], tuple[int, ...], set[str], Level),
        *(int | str, atdata.Json, Annotated[int, atdata.ClassLabel("a")]),
    ],
    ids=str,
)
def test_older_readers_see_a_kind_that_they_do_not_know(annotation: Any) -> None:
    """A reader that lacks the kind keeps its record, names it in an error, and reads DictSample."""
    schema = atdata.schema_of(one(annotation))
    record = to_record(schema, lambda nested: "")
    [field] = record["fields"]
    base, _, name = field["fieldType"]["$type"].partition("#")
    assert f"#{name}" not in OLD_NAMES
    field["fieldType"]["$type"] = f"{base}#newer.{name}"
    read = from_record(record, no_schema)
    assert to_record(read, lambda nested: "") == record
    with pytest.raises(UnknownKindError, match=rf"newer\.{name}.*atdata\.DictSample"):
        atdata.build_type(read)
    alt = to_alt_record(schema)
    [written] = alt["schema"]["properties"].values()
    assert written["$ref"] == f"#/$defs/atdata-{name}"
    assert "type" not in written
    assert f"atdata-{name}" in alt["schema"]["$defs"]
    written["$ref"] += "-newer"
    with pytest.raises(UnknownKindError, match=rf"atdata-{name}-newer.*atdata\.DictSample"):
        atdata.build_type(from_alt_record(alt))


OFFSETS = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)) | st.timedeltas(
    timedelta(seconds=-2), timedelta(seconds=2)
)


@given(st.times() | st.datetimes(), st.none() | OFFSETS)
def test_times_of_every_zone_keep_their_offset(value: time | datetime, offset: Any) -> None:
    """The offset is kept, not the name of the zone; one that Python cannot read is refused."""
    value = value if offset is None else value.replace(tzinfo=timezone(offset))
    sample = one(type(value))(value)
    if offset and abs(offset) < timedelta(seconds=1):
        with pytest.raises(EncodeError, match="at least a second"):
            sample.packed  # noqa: B018
        return
    read = one(type(value)).from_bytes(sample.packed).x
    assert read == value
    assert read.utcoffset() == value.utcoffset()


def test_names_of_an_enum_are_shown_without_control_characters() -> None:
    """A record may name anything; what a terminal shows of it is printable."""
    kind = IntChoice((1, 2), ("LOW", "\x1b[2J\n"))
    assert kind.describe() == r"IntEnum(LOW=1, '\x1b[2J\n'=2)"
