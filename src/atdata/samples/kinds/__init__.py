"""THE type table: what a field can be, how each kind is checked, written and read.

============================  ==================  ============================
annotation                    kind                on the wire (msgpack)
============================  ==================  ============================
str, int, float, bool, bytes  Primitive           the same
NDArray, NDArray[np.float32]  Array               bin, see `ndarray`
list[T]                       ListOf              list
dict[str, T]                  MapOf               map
datetime                      DateTime            str, ISO 8601
Literal["a", "b"], Enum       Choice              str
Image, Audio                  Encoded             bin: the encoded bytes
Annotated[int, ClassLabel()]  ClassLabel          int
Json, Any                     JsonValue           the same
a packable class              Nested              map
T | None                      Maybe               nil or T
============================  ==================  ============================

A kind is data: equal kinds describe the same values. The Python class of a Nested or a Choice
is kept for making instances, and is not compared.
"""

from __future__ import annotations

from atdata.samples.kinds.arrays import Array
from atdata.samples.kinds.choices import Choice
from atdata.samples.kinds.class_labels import ClassLabel
from atdata.samples.kinds.containers import ListOf, MapOf, Maybe
from atdata.samples.kinds.encoded import Encoded
from atdata.samples.kinds.json_values import Json, JsonValue
from atdata.samples.kinds.kind import Kind, Misfit, check_text, depth_of
from atdata.samples.kinds.nested import Field, Nested
from atdata.samples.kinds.primitives import PRIMITIVES, Primitive
from atdata.samples.kinds.times import DateTime
from atdata.samples.kinds.unknown import Unknown

__all__ = [
    "PRIMITIVES",
    "Array",
    "Choice",
    "ClassLabel",
    "DateTime",
    "Encoded",
    "Field",
    "Json",
    "JsonValue",
    "Kind",
    "ListOf",
    "MapOf",
    "Maybe",
    "Misfit",
    "Nested",
    "Primitive",
    "Unknown",
    "check_text",
    "depth_of",
]
