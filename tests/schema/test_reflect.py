"""The schema of a sample type."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.errors import SampleTypeError, SchemaRefError
from atdata.samples.kinds import Array, Choice, DateTime, ListOf, MapOf, Maybe, Nested, Primitive
from atdata.schema.model import Field
from atdata.schema.reflect import schema_of


class Split(Enum):
    TRAIN = "train"
    TEST = "test"


@atdata.packable
class Box:
    corners: NDArray[np.float32]


@atdata.packable
class Everything:
    text: str
    count: int
    score: float
    flag: bool
    blob: bytes
    image: NDArray[np.uint8]
    anything: NDArray  # type: ignore[type-arg]
    points: np.ndarray[tuple[int, Literal[3]], np.dtype[np.float64]]
    boxes: list[Box]
    named: dict[str, list[float | None]]
    when: datetime
    days: NDArray[np.datetime64]
    side: Literal["left", "right"]
    split: Split
    note: str | None = None


def test_every_supported_annotation_has_its_kind() -> None:
    """A schema lists the fields of a class in order, each with the kind of its annotation."""
    schema = schema_of(Everything)
    box = Nested("ignored", (Field("corners", Array("float32")),))
    assert schema.name == f"{__name__}.Everything"
    assert schema.version == "1.0.0"
    assert schema.fields == (
        Field("text", Primitive("str")),
        Field("count", Primitive("int")),
        Field("score", Primitive("float")),
        Field("flag", Primitive("bool")),
        Field("blob", Primitive("bytes")),
        Field("image", Array("uint8")),
        Field("anything", Array()),
        Field("points", Array("float64", (None, 3))),
        Field("boxes", ListOf(box)),
        Field("named", MapOf(ListOf(Maybe(Primitive("float"))))),
        Field("when", DateTime()),
        Field("days", Array("datetime64")),
        Field("side", Choice(("left", "right"))),
        Field("split", Choice(("train", "test"))),
        Field("note", Primitive("str"), optional=True),
    )


def test_what_is_passed_along_is_in_the_schema() -> None:
    """Version, description and metadata are those that were given."""
    schema = schema_of(Box, version="2.1.0", description="corners", metadata={"by": "me"})
    assert (schema.version, schema.description, schema.metadata) == (
        "2.1.0",
        "corners",
        {"by": "me"},
    )


@pytest.mark.parametrize("wrong", [int, Box(np.zeros(1, np.float32)), "Box", None])
def test_what_is_no_sample_type_is_refused(wrong: object) -> None:
    """Anything in place of a sample type is an error at once."""
    with pytest.raises(SampleTypeError):
        schema_of(wrong)  # type: ignore[arg-type]


def test_dict_samples_have_no_schema() -> None:
    """Asking for the schema of DictSample says to write a class."""
    with pytest.raises(SampleTypeError, match="packable"):
        schema_of(atdata.DictSample)


def test_a_version_that_is_none_is_refused() -> None:
    """A version is three numbers."""
    with pytest.raises(SchemaRefError, match=r"major\.minor\.patch"):
        schema_of(Box, version="1.0")
