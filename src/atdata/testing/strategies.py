"""Hypothesis strategies: schemas, kinds of fields, values of a kind, samples of a type.

Needs the extra ``testing``: ``pip install 'atdata[testing]'``.

Example:
    >>> @given(samples_of(Digit))
    ... def test_written_digits_read_back(digit):
    ...     assert Digit.from_bytes(digit.packed) == digit
"""

from __future__ import annotations

import keyword
from datetime import datetime, time, timedelta, timezone
from typing import Any, Final, TypeVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from atdata._arrays import AnyArray
from atdata.samples.codec import codec_of
from atdata.samples.kinds import (
    PRIMITIVES,
    SIMPLE,
    Array,
    Choice,
    ClassLabel,
    DateTime,
    Encoded,
    Field,
    FixedTuple,
    IntChoice,
    JsonValue,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Nested,
    OneOf,
    Primitive,
    SetOf,
    Simple,
    TupleOf,
    Unknown,
)
from atdata.samples.kinds.sets import has_nan
from atdata.samples.media import MEDIA
from atdata.samples.packable import PackableSample
from atdata.schema.build import build_type
from atdata.schema.model import Schema

T = TypeVar("T")

DTYPES: Final = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
    *("str", "bytes", "datetime64", "timedelta64"),
)
"""Every dtype name that arrays of random schemas have."""

_CONCRETE: Final = {
    "str": "<U3",
    "bytes": "S3",
    "void": "V3",
    "datetime64": "<M8[us]",
    "timedelta64": "<m8[ms]",
}
_LEAVES: Final[tuple[Kind, ...]] = (
    *SIMPLE.values(),
    *(IntChoice((1,)), IntChoice((3, -(2**53) + 1, 2**53 - 1)), IntChoice((0, 1), ("NO", "YES"))),
    *(ClassLabel("cat"), ClassLabel("cat", "dog\n", "é")),
    *(SetOf(Primitive("str")), SetOf(Primitive("float")), SetOf(TupleOf(SIMPLE["date"]))),
    OneOf((Primitive("int"), Primitive("str"))),
    OneOf((Primitive("bool"), Primitive("float"), ListOf(Primitive("float")))),
    OneOf((Choice(("auto",)), MapOf(JsonValue()))),
)
_TAKEN: Final = frozenset(name for name in dir(PackableSample) if not name.startswith("_"))
_LETTERS: Final = st.sampled_from("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_éßñ数据")
_REST: Final = st.text(_LETTERS | st.sampled_from("0123456789"), max_size=8)


def field_names() -> st.SearchStrategy[str]:
    """Names that a field can have: identifiers, some of them not in ASCII."""
    names = st.builds("{}{}".format, _LETTERS, _REST)
    return names.filter(
        lambda name: (
            not keyword.iskeyword(name) and not name.startswith("__") and name not in _TAKEN
        )
    )


def class_names() -> st.SearchStrategy[str]:
    """Qualified names of sample types, ``{module}.{Class}``."""
    part = field_names()
    modules = st.lists(part, min_size=1, max_size=3).map(".".join)
    return st.builds("{}.{}".format, modules, part.map(str.capitalize).filter(_is_class_name))


def versions() -> st.SearchStrategy[str]:
    """Versions, ``major.minor.patch``."""
    number = st.integers(0, 999)
    return st.builds("{}.{}.{}".format, number, number, number)


def kinds(*, depth: int = 2) -> st.SearchStrategy[Kind]:
    """Every kind that a field of a type can have.

    Args:
        depth: How deep lists, maps and nested samples may stand in one another.
    """
    leaves: st.SearchStrategy[Kind] = st.one_of(
        st.sampled_from(sorted(PRIMITIVES)).map(Primitive),
        st.just(DateTime()),
        st.sampled_from(sorted(MEDIA)).map(Encoded),
        st.lists(st.text(max_size=5), min_size=1, max_size=3, unique=True).map(
            lambda values: Choice(tuple(values))
        ),
        st.just(JsonValue()),
        st.sampled_from(_LEAVES),
        st.builds(Array, st.none() | st.sampled_from(DTYPES), st.none() | _shapes()),
        st.builds(_named, st.sampled_from(DTYPES), _shapes()),
    )
    if depth <= 0:
        return leaves
    inner = kinds(depth=depth - 1)
    item = inner | inner.map(Maybe)
    nested = st.builds(
        Nested, class_names(), fields(depth=depth - 1, min_size=1), st.none(), versions()
    )
    return st.one_of(
        *(leaves, item.map(ListOf), item.map(MapOf), nested),
        *(item.map(TupleOf), st.tuples(item, inner).map(FixedTuple)),
    )


@st.composite
def fields(
    draw: st.DrawFn, *, depth: int = 2, min_size: int = 0, max_size: int = 5
) -> tuple[Field, ...]:
    """The fields of one type, no two with the same name."""
    names = draw(st.lists(field_names(), min_size=min_size, max_size=max_size, unique=True))
    text = st.none() | st.text(max_size=20)
    units = st.none() | st.sampled_from(["m", "kg/m^3", "°C"])
    return tuple(
        Field(name, draw(kinds(depth=depth)), draw(st.booleans()), draw(text), draw(units))
        for name in names
    )


def schemas(*, depth: int = 2, min_fields: int = 0) -> st.SearchStrategy[Schema]:
    """Schemas that `build_type` accepts."""
    return st.builds(
        Schema,
        class_names(),
        versions(),
        fields(depth=depth, min_size=min_fields),
        st.none() | st.text(max_size=20),
        st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    )


def sample_types(*, depth: int = 2, min_fields: int = 1) -> st.SearchStrategy[type]:
    """Sample types of random schemas."""
    return schemas(depth=depth, min_fields=min_fields).map(build_type)


def values_of(kind: Kind) -> st.SearchStrategy[Any]:
    """Python values that a field of this kind can have.

    A nested sample whose kind has no Python class comes as a dict.
    """
    match kind:
        case Primitive(name):
            return _PRIMITIVE_VALUES[name]
        case DateTime():
            return _datetimes()
        case Simple():
            return _SIMPLE_VALUES[kind.name]
        case IntChoice(values, _, enum):
            return st.sampled_from(list(values) if enum is None else list(enum))
        case TupleOf(inner):
            return st.lists(values_of(inner), max_size=3).map(tuple)
        case FixedTuple(places):
            return st.tuples(*map(values_of, places))
        case SetOf(inner):
            items = values_of(inner).filter(lambda item: not has_nan(item))
            return st.frozensets(items, max_size=3).map(kind.python)
        case OneOf(several):
            return st.one_of(*map(values_of, several))
        case JsonValue():
            return json_values()
        case ClassLabel(names):
            return st.integers(0, len(names) - 1)
        case Choice(values, enum):
            return st.sampled_from(list(values) if enum is None else list(enum))
        case Array():
            return arrays_of(kind)
        case Encoded():
            return st.binary(max_size=20).map(kind.made)
        case ListOf(inner):
            return st.lists(values_of(inner), max_size=3)
        case MapOf(inner):
            return st.dictionaries(st.text(max_size=5), values_of(inner), max_size=3)
        case Maybe(inner):
            return st.none() | values_of(inner)
        case Nested() if kind.python is not None:
            return samples_of(kind.python)
        case Nested():
            return st.fixed_dictionaries({f.name: values_of(f.value_kind) for f in kind.fields})
        case Unknown():
            raise ValueError(f"A kind that is not known has no values: {kind.name!r}.")
        case _:
            raise ValueError(f"{kind!r} is not a kind of this version.")


def json_values() -> st.SearchStrategy[Any]:
    """JSON values: of any type and nested, with integers of 64 bits and finite floats."""
    single = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5)
    )
    return st.recursive(
        single,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=5,
    )


def arrays_of(kind: Array) -> st.SearchStrategy[AnyArray]:
    """Arrays of this dtype and shape; NaN, empty arrays and no dimensions included."""
    names = [kind.dtype] if kind.dtype is not None else list(DTYPES)
    dtypes = st.sampled_from([np.dtype(_CONCRETE.get(name, name)) for name in names])
    if kind.shape is None:
        shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
    else:
        names_of_axes = kind.axes or (None,) * len(kind.shape)
        shapes = st.tuples(*map(_lengths, kind.shape, names_of_axes))
    return dtypes.flatmap(lambda dtype: npst.arrays(dtype, shapes))


def samples_of(sample_type: type[T]) -> st.SearchStrategy[T]:
    """Samples of a packable class, every field drawn."""
    codec = codec_of(sample_type)
    values = {field.name: values_of(field.value_kind) for field in codec.fields}
    return st.fixed_dictionaries(values).map(codec.build)


def _shapes() -> st.SearchStrategy[tuple[int | None, ...]]:
    return st.lists(st.none() | st.integers(0, 4), min_size=1, max_size=3).map(tuple)


def _named(dtype: str, shape: tuple[int | None, ...]) -> Array:
    """An array of this shape, with a name for each axis of any length."""
    names = tuple("hwc"[i] if n is None else None for i, n in enumerate(shape))
    return Array(dtype, shape, names if any(names) else None)


def _lengths(length: int | None, name: str | None) -> st.SearchStrategy[int]:
    if length is not None or name is None:
        return st.integers(0, 3) if length is None else st.just(length)
    # The same in all arrays of a sample.
    return st.just(len(name) + ord(name[0]) % 3)


def _is_class_name(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def _datetimes() -> st.SearchStrategy[datetime]:
    low, high = datetime(2, 1, 1), datetime(9998, 12, 31)
    naive = st.datetimes(low, high)
    return st.builds(datetime.replace, naive, tzinfo=_ZONES)


_PRIMITIVE_VALUES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "str": st.text(max_size=20),
    "int": st.integers(-(2**63), 2**64 - 1),
    "float": st.floats(),
    "bool": st.booleans(),
    "bytes": st.binary(max_size=20),
}
_ZONES: Final = st.none() | st.integers(-14 * 60, 14 * 60).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)
_SIMPLE_VALUES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "date": st.dates(),
    "time": st.builds(time.replace, st.times(), tzinfo=_ZONES),
    "duration": st.integers(-(2**63), 2**63 - 1).map(lambda n: timedelta(microseconds=n)),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False),
    "uuid": st.uuids(),
}
