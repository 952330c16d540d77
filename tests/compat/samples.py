"""The samples that are kept: a field of each kind, and numbers alone."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum

import numpy as np
from numpy.typing import NDArray

import atdata


class Mood(Enum):
    """A field of an enum."""

    GOOD = "good"
    BAD = "bad"


@atdata.packable
class Inner:
    """A sample in a sample."""

    word: str
    size: int


@atdata.packable
class Sample:
    """A field of each kind."""

    number: int
    ratio: float
    flag: bool
    text: str
    raw: bytes
    image: NDArray[np.uint8]
    when: datetime
    mood: Mood
    words: list[str]
    counts: dict[str, int]
    inner: Inner
    maybe: str | None = None


@atdata.packable
class Point:
    """Of numbers alone, so that whole columns are written."""

    x: float
    y: int


def sample(number: int) -> Sample:
    """One of the samples, from its number alone."""
    return Sample(
        number=number,
        ratio=number / 7,
        flag=number % 3 == 0,
        text=f"text {number} ü",
        raw=bytes(range(number)),
        image=np.full((2, 3), number, np.uint8),
        when=datetime(2024, 1, 1 + number % 28, 12, 30, tzinfo=UTC),
        mood=(Mood.GOOD, Mood.BAD)[number % 2],
        words=["a"] * (number % 3),
        counts={"n": number},
        inner=Inner(word=f"w{number}", size=number),
        maybe=None if number % 4 else f"m{number}",
    )
