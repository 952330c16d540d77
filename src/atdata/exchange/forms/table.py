"""The table: kind of field → how its values lie in an Arrow column."""

from __future__ import annotations

from dataclasses import dataclass

from atdata.exchange.forms import scalars
from atdata.exchange.forms.arrays import form_of_array
from atdata.exchange.forms.containers import Items, Pairs, Struct
from atdata.exchange.forms.form import Form
from atdata.samples.kinds import (
    Array,
    Choice,
    ClassLabel,
    DateTime,
    Encoded,
    FixedTuple,
    IntChoice,
    JsonValue,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Misfit,
    Nested,
    OneOf,
    Primitive,
    SetOf,
    TupleOf,
)
from atdata.samples.kinds.simple import Date, DecimalNumber, Duration, Time, Uuid


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a kind leaves open."""

    unsigned: bool = False
    """Integers from 0 to 2**64 - 1, in place of 64 bits with a sign."""
    aware: bool = True
    """datetimes have an offset from UTC."""
    text: bool = False
    """Times are written as text."""


def form_of(kind: Kind, wanted: Wanted = Wanted()) -> Form:
    """How values of a kind lie in a column; None may stand in every column.

    Raises:
        Misfit: The kind is not known.
    """
    match kind:
        case Maybe(inner):
            return form_of(inner, wanted)
        case Primitive("int") | ClassLabel() | IntChoice():
            return scalars.integers(kind, unsigned=wanted.unsigned and kind == Primitive("int"))
        case Primitive("float"):
            return scalars.floats(kind)
        case Primitive("bool"):
            return scalars.bools(kind)
        case Primitive("str"):
            return scalars.texts(kind)
        case Primitive("bytes"):
            return scalars.raw_bytes(kind)
        case Choice():
            return scalars.Dictionary(kind)
        case Array():
            return form_of_array(kind)
        case Encoded():
            return scalars.EncodedMedia(kind)
        case DateTime() | Time() if wanted.text:
            return scalars.Text(kind, as_json=False)
        case DateTime():
            return scalars.Moments(kind, aware=wanted.aware)
        case Date():
            return scalars.dates(kind)
        case Time():
            return scalars.Times(kind)
        case Duration():
            return scalars.Durations(kind)
        case DecimalNumber() | Uuid():
            return scalars.Text(kind, as_json=False)
        case JsonValue() | OneOf():
            return scalars.Text(kind, as_json=True)
        case ListOf(inner) | TupleOf(inner) | SetOf(inner):
            return Items(kind, form_of(inner, wanted))
        case MapOf(inner):
            return Pairs(kind, form_of(inner, wanted))
        case FixedTuple(places):
            return Struct(kind, {str(i): form_of(each, wanted) for i, each in enumerate(places)})
        case Nested(_, fields):
            return Struct(kind, {field.name: form_of(field.kind, wanted) for field in fields})
        case _:
            raise Misfit("a kind of field that this version knows", kind.describe())
