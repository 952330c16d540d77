"""THE type table: what a field can be, how each kind is checked, written and read.

============================  ====================  ============================
annotation                    kind                  on the wire (msgpack)
============================  ====================  ============================
str, int, float, bool, bytes  Primitive             the same
NDArray, NDArray[np.float32]  Array                 bin, see `ndarray`
list[T]                       ListOf                list
dict[str, T]                  MapOf                 map
tuple[T, ...], tuple[T, U]    TupleOf, FixedTuple   list
set[T], frozenset[T]          SetOf                 list
datetime                      DateTime              str, ISO 8601
date, time, timedelta         Simple                str, ISO 8601; int, microseconds
Decimal, UUID                 Simple                str
Literal["a", "b"], Enum       Choice                str
Literal[1, 2], IntEnum        IntChoice             int
Image, Audio                  Encoded               bin: the encoded bytes
Annotated[int, ClassLabel()]  ClassLabel            int
Json, Any                     JsonValue             the same
a packable class              Nested                map
int | str and the like        OneOf                 one of them
T | None                      Maybe                 nil or T
============================  ====================  ============================

A kind is data: equal kinds describe the same values. The Python class of a Nested, an Enum or
a set is kept for making instances, and is not compared.
"""

from __future__ import annotations

from atdata.samples.kinds.arrays import Array
from atdata.samples.kinds.choices import Choice, IntChoice
from atdata.samples.kinds.class_labels import ClassLabel
from atdata.samples.kinds.containers import ListOf, MapOf, Maybe
from atdata.samples.kinds.encoded import Encoded
from atdata.samples.kinds.json_values import Json, JsonValue
from atdata.samples.kinds.kind import Kind, Misfit, check_text, depth_of
from atdata.samples.kinds.nested import Field, Nested
from atdata.samples.kinds.primitives import PRIMITIVES, Primitive
from atdata.samples.kinds.sets import SetOf, is_hashable
from atdata.samples.kinds.simple import SIMPLE, Simple
from atdata.samples.kinds.times import DateTime
from atdata.samples.kinds.tuples import FixedTuple, TupleOf
from atdata.samples.kinds.unions import OneOf, form_of, one_of
from atdata.samples.kinds.unknown import Unknown

__all__ = [
    "PRIMITIVES",
    "SIMPLE",
    "Array",
    "Choice",
    "ClassLabel",
    "DateTime",
    "Encoded",
    "Field",
    "FixedTuple",
    "IntChoice",
    "Json",
    "JsonValue",
    "Kind",
    "ListOf",
    "MapOf",
    "Maybe",
    "Misfit",
    "Nested",
    "OneOf",
    "Primitive",
    "SetOf",
    "Simple",
    "TupleOf",
    "Unknown",
    "check_text",
    "depth_of",
    "form_of",
    "is_hashable",
    "one_of",
]
