"""A decorated class is a sample type: what it takes, what it refuses, and that nothing changes."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from datetime import datetime, timedelta, timezone
from enum import Enum, StrEnum
from typing import Any, ClassVar, Literal, Optional

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import atdata
from atdata.errors import (
    DecodeError,
    EncodeError,
    SampleTypeError,
    UnknownFieldWarning,
)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Side(StrEnum):
    LEFT = "left"


class Box(atdata.PackableSample):
    corners: NDArray[np.float32]
    label: str = "thing"


class Everything(atdata.PackableSample):
    text: str
    count: int
    ratio: float
    flag: bool
    raw: bytes
    any_array: NDArray  # type: ignore[type-arg]
    floats: NDArray[np.float32]
    items: list[int]
    arrays: list[NDArray[np.uint8]]
    scores: dict[str, float]
    when: datetime
    box: Box
    boxes: list[Box]
    maybe_array: NDArray[np.int64] | None
    maybe_text: Optional[str]  # noqa: UP045 (both spellings are supported)
    choice: Literal["a", "b"]
    colour: Colour
    side: Side
    gaps: list[int | None]
    number: int = 7
    constant: ClassVar[int] = 3


def everything(**changes: Any) -> Everything:
    values: dict[str, Any] = {
        "text": "é\0x",
        "count": -(2**63),
        "ratio": 0.1,
        "flag": True,
        "raw": b"\x93NUMPY",
        "any_array": np.array([[1 + 2j]]),
        "floats": np.ones((2, 3), np.float32),
        "items": [1, 2],
        "arrays": [np.arange(3, dtype=np.uint8), np.zeros((0, 4), np.uint8)],
        "scores": {"a": 1.5},
        "when": datetime(2024, 2, 29, 12, 0, 0, 1, timezone(timedelta(hours=5, minutes=30))),
        "box": Box(np.zeros(4, np.float32)),
        "boxes": [Box(np.ones(4, np.float32), "b")],
        "maybe_array": None,
        "maybe_text": "here",
        "choice": "b",
        "colour": Colour.BLUE,
        "side": Side.LEFT,
        "gaps": [1, None],
    }
    return Everything(**{**values, **changes})


def test_every_field_type_comes_back_as_it_went() -> None:
    """A sample with every supported field type is equal to what its bytes give back."""
    sample = everything()
    back = Everything.from_bytes(sample.packed)
    assert back == sample
    assert back.colour is Colour.BLUE
    assert isinstance(back.box, Box)
    assert back.when.utcoffset() == timedelta(hours=5, minutes=30)
    assert back.floats.flags.writeable


def test_a_sample_is_a_webdataset_item() -> None:
    """as_wds holds a unique key and the payload, and its key can be replaced."""
    a, b = everything().as_wds, everything().as_wds
    assert a["__key__"] != b["__key__"]
    assert "." not in a["__key__"]
    assert Everything.from_bytes(a["msgpack"]) == everything()


def test_fields_are_written_in_order_as_plain_msgpack() -> None:
    """Any msgpack reader sees one map in field order, arrays as .npy bytes."""
    data = msgpack.unpackb(Box(np.ones(4, np.float32)).packed)
    assert list(data) == ["corners", "label"]
    assert data["corners"][:6] == b"\x93NUMPY"


WRONG = [
    ("count", "1", "$.count: expected int, found str"),
    ("count", True, "$.count: expected int, found bool"),
    ("count", 2**64, "64 bits"),
    ("flag", 1, "$.flag: expected bool, found int"),
    ("text", "\ud800", "surrogates"),
    ("floats", np.ones(2), "astype('float32')"),
    ("floats", [1.0], "np.asarray"),
    ("any_array", np.array([object()]), "Python objects"),
    ("any_array", np.ma.masked_equal([1, 2], 2), "mask would be lost"),
    ("items", [1, "x"], "$.items[1]: expected int, found str"),
    ("arrays", [np.ones(1)], "$.arrays[0]"),
    ("scores", {"a": "b"}, "$.scores['a']"),
    ("scores", {1: 2.0}, "key"),
    ("box", Colour.RED, "$.box: expected Box"),
    ("boxes", [Box(np.ones(2))], "$.boxes[0].corners: expected float32"),  # type: ignore[arg-type]
    ("choice", "c", "$.choice"),
    ("colour", "green", "$.colour"),
    ("when", "2024-01-01", "datetime"),
    ("maybe_text", 5, "$.maybe_text"),
]


@pytest.mark.parametrize(("field", "value", "message"), WRONG, ids=[w[2] for w in WRONG])
def test_a_wrong_value_fails_when_written_with_its_path(
    field: str, value: Any, message: str
) -> None:
    """A value of the wrong type is refused before anything is written, and the path is named."""
    with pytest.raises(EncodeError) as caught:
        _ = everything(**{field: value}).packed
    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError)


@given(st.integers(-(2**63), 2**64 - 1), st.floats(width=64), st.text(), st.binary())
def test_plain_values_are_exact(count: int, ratio: float, text: str, raw: bytes) -> None:
    """Integers of 64 bits, every float, every text and every bytes come back exactly."""
    back = Everything.from_bytes(everything(count=count, ratio=ratio, text=text, raw=raw).packed)
    assert back.count == count
    assert back.ratio == ratio or (math.isnan(ratio) and math.isnan(back.ratio))
    assert (back.text, back.raw) == (text, raw)


arrays = hnp.arrays(
    dtype=st.one_of(hnp.scalar_dtypes(), hnp.unicode_string_dtypes(), hnp.byte_string_dtypes()),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


@given(arrays, st.booleans())
def test_arrays_are_exact(array: np.ndarray, fortran: bool) -> None:
    """Arrays of every dtype, byte order, shape and memory order come back equal."""
    array = np.asfortranarray(array) if fortran else array
    back = Everything.from_bytes(everything(any_array=array).packed).any_array
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_numpy_scalars_are_taken() -> None:
    """NumPy's own numbers are stored as Python's, which is what computing labels yields."""
    sample = everything(count=np.int32(3), ratio=np.float32(0.5), flag=np.bool_(False))
    back = Everything.from_bytes(sample.packed)
    assert (back.count, back.ratio, back.flag) == (3, 0.5, False)
    assert type(back.count) is int


@pytest.mark.parametrize(
    "annotation",
    [
        *(complex, set, dict[int, str], int | bytes, list, tuple, Literal[1, "a"], object, 5),
        *(NDArray[np.object_], NDArray[np.floating], type[int], dict, ClassVar),
    ],
    ids=str,
)
def test_an_annotation_that_is_not_supported_fails_at_decoration(annotation: Any) -> None:
    """The error comes where the class is, names the field, and lists what is supported."""
    cls = type("Odd", (), {"__annotations__": {"field": annotation}})
    if annotation is ClassVar:
        assert dataclasses.fields(atdata.packable(cls)) == ()
        return
    with pytest.raises(SampleTypeError, match=r"Odd\.field.*Supported: str, int"):
        atdata.packable(cls)


def test_an_undefined_name_is_explained() -> None:
    """A future annotation whose name does not exist is an error that says so."""
    with pytest.raises(SampleTypeError, match="not defined"):

        @atdata.packable
        class Odd:
            field: Missing  # type: ignore[name-defined]  # noqa: F821


def test_classes_inside_functions_resolve() -> None:
    """Types that exist only in the function around the class can be used in annotations."""

    @atdata.packable
    class Inner:
        x: int

    class Outer(atdata.PackableSample):
        inner: Inner

    assert Outer.from_bytes(Outer(Inner(1)).packed) == Outer(Inner(1))


def test_inheritance_is_the_same_as_decoration() -> None:
    """A subclass of PackableSample is a sample type, and subclasses add fields."""

    class Base(atdata.PackableSample):
        x: int

    class More(Base):
        y: str = "y"

    assert More.from_bytes(More(1).packed) == More(1, "y")
    assert Base.from_bytes(Base(1).packed) == Base(1)


@pytest.mark.parametrize(
    ("annotation", "advice"),
    [
        (np.int64, r"int64 is not supported as a field: write int\."),
        (np.float32, r"write float\."),
        (np.bool_, r"write bool\."),
        (list, r"list is not supported as a field: write list\[T\], such as list\[int\]\."),
        (dict, r"write dict\[str, T\]"),
        (dict[int, str], r"write dict\[str, T\]"),
        (tuple, r"write tuple\[T, \.\.\.\]"),
        (object, r"write Json"),
        (NDArray[np.object_], r"of dtype object, is not supported.*NDArray\[np\.float32\]"),
    ],
)
def test_an_unsupported_type_is_answered_with_one_that_is(annotation: Any, advice: str) -> None:
    """What people write first is answered with what holds the same values."""
    with pytest.raises(SampleTypeError, match=advice):
        atdata.packable(type("Odd", (), {"__annotations__": {"field": annotation}}))


def test_missing_fields_take_their_default() -> None:
    """A stored sample that lacks a field takes the default; without one it is an error."""
    payload = msgpack.packb({"corners": _npy(np.ones(1, np.float32))})
    assert Box.from_bytes(payload).label == "thing"
    with pytest.raises(DecodeError, match=r"\$\.corners.*default"):
        Box.from_bytes(msgpack.packb({"label": "x"}))


def test_unknown_fields_are_passed_over_with_one_warning() -> None:
    """A field that the type does not have stays readable data: one warning, not one a sample."""

    class Small(atdata.PackableSample):
        x: int

    payload = msgpack.packb({"x": 1, "extra": 2})
    with pytest.warns(UnknownFieldWarning, match="extra") as caught:
        assert [Small.from_bytes(payload).x for _ in range(3)] == [1, 1, 1]
    assert len(caught) == 1


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_a_sample_or_our_error(data: bytes) -> None:
    """Whatever the bytes, reading them gives a sample or a DecodeError."""
    for cls in (Box, atdata.DictSample):
        try:
            cls.from_bytes(data)
        except DecodeError:
            pass


@given(st.data())
def test_damaged_bytes_are_a_sample_or_our_error(data: st.DataObject) -> None:
    """A flipped byte or a cut in a real sample gives a sample or a DecodeError, never a crash."""
    payload = bytearray(everything().packed)
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(payload[: data.draw(st.integers(0, len(payload)))])
    for raw in (bytes(payload), cut):
        try:
            Everything.from_bytes(raw)
        except DecodeError:
            pass


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"", "incomplete"),
        (b"\x80\x80", "extra"),
        (b"\xc0", "not a map"),
        (b"\x82\xa1x\x01\xa1x\x02", "twice"),
        (b"\x81\xa1x" + b"\x91" * 10_000 + b"\x01", "deep"),
        (b"\x81\xa1x\xd4\x05\x00", "extension"),
        (b"\x81\x01\x02", "key"),
        (b"\x81\xa1x\xc6\xff\xff\xff\xff", "incomplete"),
    ],
)
def test_hostile_payloads_are_refused(payload: bytes, problem: str) -> None:
    """Trailing bytes, repeated keys, deep nesting, extensions and lying lengths are errors."""
    with pytest.raises(DecodeError, match=problem):
        atdata.DictSample.from_bytes(payload)


def test_from_data_checks_and_copies() -> None:
    """from_data takes field values, array bytes included, and refuses the wrong ones."""
    corners = np.ones(4, np.float32)
    box = Box.from_data({"corners": corners})
    assert box == Box(corners)
    assert box.corners is not corners
    assert Box.from_data({"corners": _npy(corners)}) == Box(corners)
    with pytest.raises(EncodeError, match="label"):
        Box.from_data({"corners": corners, "label": 3})
    with pytest.raises(EncodeError, match="corner"):
        Box.from_data({"corner": corners, "corners": corners})


def test_equality_compares_arrays() -> None:
    """Samples are equal by value; another dtype, shape or type is another sample."""
    assert Box(np.ones(2, np.float32)) == Box(np.ones(2, np.float32))
    assert Box(np.ones(2, np.float32)) != Box(np.ones(2, np.float64))
    assert Box(np.ones(2, np.float32)) != Box(np.ones((2, 1), np.float32))
    assert Box(np.full(1, np.nan, np.float32)) == Box(np.full(1, np.nan, np.float32))
    other: object = 3
    assert Box(np.ones(2, np.float32)) != other


def test_a_field_cannot_hide_a_member() -> None:
    """A field named like a member of every sample is refused when the class is made."""
    with pytest.raises(SampleTypeError, match="Rename"):

        @atdata.packable
        class Odd:
            packed: int


def test_dict_samples_decode_arrays() -> None:
    """Data without a type comes back with its arrays, reachable as items and attributes."""
    sample = atdata.DictSample({"x": np.arange(3), "nested": {"y": [np.ones(1), b"raw"]}})
    back = atdata.DictSample.from_bytes(sample.packed)
    assert back == sample
    assert back.x.tolist() == back["x"].tolist() == [0, 1, 2]
    with pytest.raises(AttributeError, match="It has: x, nested"):
        _ = back.z


@pytest.mark.parametrize(
    "name", ["__array_interface__", "__array__", "__deepcopy__", "__reduce_ex__", "__setstate__"]
)
def test_fields_are_no_hooks_of_python(name: str) -> None:
    """A field named like a hook of copy, pickle or NumPy is data, and nothing is done with it."""
    memory = {"data": [0, False], "shape": [8], "typestr": "|u1", "version": 3}
    sample = atdata.DictSample.from_bytes(msgpack.packb({name: memory}))
    assert sample[name] == memory
    assert copy.deepcopy(sample) == copy.copy(sample) == sample
    assert pickle.loads(pickle.dumps(sample)) == sample
    assert np.asarray(sample, dtype=object).dtype == object
    assert not hasattr(sample, "__array_interface__")


def test_strangers_arrays_of_objects_are_never_read() -> None:
    """An array whose header says it holds Python objects is refused, whatever follows."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"x" * 8
    with pytest.raises(DecodeError, match="objects"):
        Box.from_bytes(msgpack.packb({"corners": npy}))
    assert isinstance(atdata.DictSample.from_bytes(msgpack.packb({"a": npy})).a, bytes)


def test_an_array_longer_than_its_bytes_is_refused() -> None:
    """A header that claims more data than there is is an error, not a read out of bounds."""
    npy = _npy(np.ones(4, np.float32))
    for bad in (npy[:-1], npy + b"x", npy.replace(b"(4,)", b"(5,)")):
        with pytest.raises(DecodeError, match=r"claims|\.npy"):
            Box.from_bytes(msgpack.packb({"corners": bad}))


def test_sample_types_pass_where_protocols_are_asked_for() -> None:
    """A packable class satisfies the Packable protocol at run time."""
    assert isinstance(Box(np.ones(1, np.float32)), atdata.Packable)


def _npy(array: np.ndarray) -> bytes:
    from atdata.samples.ndarray import encode_array

    return encode_array(array)


def shifted(make: Any) -> Any:
    """A class with an array, a float and a field that takes no part in comparisons."""

    class Measured:
        x: NDArray[Any]
        ratio: float = 0.0
        note: str = dataclasses.field(default="", compare=False)

    return make(Measured)


def body_of(cls: type) -> dict[str, Any]:
    """What a class statement would make the class of."""
    return {k: v for k, v in cls.__dict__.items() if k not in ("__dict__", "__weakref__")}


EQUALITY = {
    "packable": atdata.packable,
    "packable frozen": atdata.packable(frozen=True),
    "dataclass": lambda c: atdata.packable(dataclasses.dataclass(c)),
    "slots": lambda c: atdata.packable(dataclasses.dataclass(slots=True)(c)),
    "frozen slots": lambda c: atdata.packable(dataclasses.dataclass(slots=True, frozen=True)(c)),
    "order": lambda c: atdata.packable(dataclasses.dataclass(order=True)(c)),
    "inherited": lambda c: type("Measured", (atdata.PackableSample,), body_of(c)),
}


@pytest.mark.parametrize("make", EQUALITY.values(), ids=EQUALITY)
def test_samples_are_equal_when_their_fields_are(make: Any) -> None:
    """However the class was made: arrays by content, NaN as NaN, without what is not compared."""
    cls = shifted(make)
    one = cls(np.arange(3), math.nan, "a")
    assert one == cls(np.arange(3), math.nan, "b") == cls.from_bytes(one.packed)
    assert one in [cls(np.zeros(2)), cls(np.arange(3), math.nan)]
    assert one != cls(np.arange(3.0), math.nan)
    assert one != cls(np.arange(4), math.nan)
    assert one != cls(np.arange(3), 1.0)
    assert one != "one"
    records = np.array([(1, math.nan)], [("a", "i4"), ("b", "f8")])
    assert cls(records) == cls(records.copy())


def test_what_a_class_says_of_equality_is_kept() -> None:
    """eq=False compares by identity, an __eq__ of one's own decides, order=True orders."""

    @atdata.packable
    @dataclasses.dataclass(eq=False)
    class Same:
        x: int

    one = Same(1)
    assert one == one
    assert one != Same(1)
    assert len({one, Same(1)}) == 2

    for make in (atdata.packable, lambda c: atdata.packable(dataclasses.dataclass(c))):

        class Modulo:
            x: int

            def __eq__(self, other: Any) -> bool:
                return bool(self.x % 10 == other.x % 10)

        cls: Any = make(Modulo)
        assert cls(1) == cls(11)

    @atdata.packable
    @dataclasses.dataclass(order=True)
    class Ranked:
        x: int
        y: str

    assert Ranked(1, "b") < Ranked(2, "a") < Ranked(2, "b")
    assert sorted([Ranked(2, "b"), Ranked(1, "b")])[0] == Ranked(1, "b")


def test_equal_frozen_samples_have_one_hash() -> None:
    """NaN included, which equals itself here."""

    @atdata.packable
    @dataclasses.dataclass(frozen=True)
    class Key:
        x: float
        name: str

    assert {Key(float("nan"), "a"), Key(float("nan"), "a")} == {Key(float("nan"), "a")}
    assert len({Key(1.0, "a"), Key(1.0, "b"), Key(1.0, "b")}) == 2


def test_annotations_of_jaxtyping_are_dtype_and_shape() -> None:
    """A number is a length; a name is one length within a sample; an expression or _ is any; ...
    is any number of axes."""
    from jaxtyping import Bool, Float, Float32, Num, Shaped, UInt8

    from atdata.samples.codec import codec_of
    from atdata.samples.kinds import Array

    class Typed(atdata.PackableSample):
        points: Float32[np.ndarray, "21 3"]  # noqa: F722
        picture: UInt8[np.ndarray, "h w rgb=3"] | None  # noqa: F722
        mask: Bool[np.ndarray, "n n+1 _ #4"]  # noqa: F722
        scalar: Float32[np.ndarray, ""]  # noqa: F722
        anything: Shaped[np.ndarray, "..."]  # noqa: UP037
        several: list[UInt8[np.ndarray, "..."]]  # noqa: UP037

    kinds = {field.name: field.kind for field in codec_of(Typed).fields}
    assert kinds["points"] == Array("float32", (21, 3))
    assert kinds["picture"] == Array("uint8", (None, None, 3), ("h", "w", None))
    assert kinds["mask"] == Array("bool", (None,) * 4, ("n", None, None, None))
    assert kinds["scalar"] == Array("float32", ())
    assert kinds["anything"] == Array()
    sample = Typed(
        points=np.zeros((21, 3), np.float32),
        picture=None,
        mask=np.zeros((2, 3, 1, 4), np.bool_),
        scalar=np.array(1, np.float32),
        anything=np.arange(3),
        several=[],
    )
    assert Typed.from_bytes(sample.packed) == sample
    with pytest.raises(EncodeError, match=r"\$\.points: expected float32 \(21, 3\)"):
        _ = dataclasses.replace(sample, points=np.zeros((3, 21), np.float32)).packed
    odd = [
        (Float[np.ndarray, "a"], "Float.*one dtype"),
        (Num[np.ndarray, "a"], "one dtype"),
        (Float32[np.ndarray, "... 3"], "any number of axes"),
        (Float32[np.ndarray, "*batch 3"], "any number of axes"),
        (Float32[list, "3"], r"write Float32\[np\.ndarray, '3'\]"),
    ]
    for annotation, message in odd:
        with pytest.raises(SampleTypeError, match=rf"Odd\.x: .*{message}"):
            atdata.packable(type("Odd", (), {"__annotations__": {"x": annotation}}))


def test_a_decorated_function_is_refused() -> None:
    """@packable above a def is an error that says what it is for."""
    with pytest.raises(SampleTypeError, match=r"for classes, found .*load, a function"):

        @atdata.packable  # type: ignore[call-overload]
        def load() -> int:
            return 1


@pytest.mark.parametrize("annotation", ["Node | None", "list[Node]", "dict[str, list[Node]]"])
def test_a_class_that_holds_itself_is_said_to(annotation: str) -> None:
    """Not that a packable class is no packable class."""
    with pytest.raises(SampleTypeError, match=r"Node\.child: a class that holds itself"):
        atdata.packable(type("Node", (), {"__annotations__": {"x": int, "child": annotation}}))
