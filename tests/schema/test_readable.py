"""Which classes can read the samples of a schema at all."""

from __future__ import annotations

from datetime import date, timedelta
from enum import IntEnum
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.schema.readable import why_unreadable


class Level(IntEnum):
    LOW = 1


def one(annotation: Any) -> Any:
    return atdata.packable(type("One", (), {"__annotations__": {"x": annotation}}))


@pytest.mark.parametrize(
    ("new", "old", "may"),
    [
        (int, Annotated[int, atdata.ClassLabel("a")], True),
        (Annotated[int, atdata.ClassLabel("a", "b")], int, True),
        (Annotated[int, atdata.ClassLabel("a", "b")], Annotated[int, atdata.ClassLabel("a")], True),
        (Annotated[int, atdata.ClassLabel("b")], Annotated[int, atdata.ClassLabel("a")], False),
        (atdata.Json, dict[str, int], True),
        (dict[str, int], atdata.Json, True),
        (atdata.Json, NDArray[np.uint8], False),
        (date, str, True),
        (date, int, False),
        (timedelta, int, True),
        (Level, Literal[2], False),
        (tuple[int, str], list[int], True),
        (tuple[int, str], tuple[int], False),
        (set[str], dict[str, str], False),
        (int | str, float, False),
        (float | str, int, True),
        (atdata.Image, bytes, True),
    ],
    ids=str,
)
def test_a_class_that_can_read_nothing_is_told_apart(new: Any, old: Any, may: bool) -> None:
    """What values decide is allowed; other forms, and labels of other classes, are not."""
    assert (why_unreadable(atdata.schema_of(one(old)), one(new)) is None) is may
