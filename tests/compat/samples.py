"""The samples that are kept: a field of each kind, numbers alone, the newer kinds, and members."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import ml_dtypes
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


class Level(IntEnum):
    """A field of an enum of numbers."""

    LOW = 1
    HIGH = 5


@atdata.packable
class Rich:
    """A field of each kind that came after the first ones."""

    number: int
    meta: atdata.Json
    label: Annotated[int, atdata.ClassLabel("cat", "dog", "cow")]
    day: date
    at: time
    lasts: timedelta
    price: Annotated[Decimal, atdata.Unit("EUR")]
    id: UUID
    level: Level
    step: Literal[1, 2, 3]
    pair: tuple[int, str]
    many: tuple[float, ...]
    tags: set[str]
    frozen: frozenset[int]
    value: int | str | list[str]
    picture: atdata.Image
    sound: atdata.Audio
    weights: NDArray[ml_dtypes.bfloat16]
    grid: Annotated[NDArray[np.float32], atdata.Shape("h", 2), atdata.Doc("Positions.")]
    maybe: date | None = None


@atdata.packable
class Pair:
    """Members of a WebDataset."""

    picture: Annotated[atdata.Image, atdata.Member("png", "jpg")]
    caption: Annotated[str, atdata.Member("txt")]
    label: Annotated[int, atdata.Member("cls")]
    meta: Annotated[Inner, atdata.Member("json")]
    vector: Annotated[NDArray[np.float32], atdata.Member("npy")]
    note: Annotated[str | None, atdata.Member("note.txt")] = None


def rich(number: int) -> Rich:
    """One of the samples of the newer kinds."""
    values: tuple[Any, ...] = (number, f"v{number}", ["a", "b"])
    return Rich(
        number=number,
        meta={"n": number, "deep": [None, True, 1.5, {"x": "ü"}]},
        label=number % 3,
        day=date(2024, 2, 1 + number % 28),
        at=time(12, number % 60, 0, 1, tzinfo=timezone(timedelta(hours=2))),
        lasts=timedelta(days=number, microseconds=-1),
        price=Decimal(number) / 100,
        id=UUID(int=number),
        level=(Level.LOW, Level.HIGH)[number % 2],
        step=(1, 2, 3)[number % 3],
        pair=(number, f"p{number}"),
        many=(0.5,) * (number % 3),
        tags={f"t{n}" for n in range(number % 4)},
        frozen=frozenset(range(number % 5)),
        value=values[number % 3],
        picture=atdata.Image(b"\x89PNG\r\n\x1a\n" + bytes([number])),
        sound=atdata.Audio(b"RIFF" + bytes([number])),
        weights=np.full(3, number / 4, ml_dtypes.bfloat16),
        grid=np.full((1 + number % 3, 2), number, np.float32),
        maybe=None if number % 2 else date(1999, 12, 31),
    )


def pair(number: int) -> Pair:
    """One of the samples of members."""
    return Pair(
        picture=atdata.Image(b"\x89PNG\r\n\x1a\n" + bytes([number])),
        caption=f"caption {number} ü",
        label=number,
        meta=Inner(word=f"w{number}", size=number),
        vector=np.arange(3, dtype=np.float32) + number,
        note=None if number % 4 else f"n{number}",
    )


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
