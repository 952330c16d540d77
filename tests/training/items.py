"""Sample types of these tests; in a module of their own, which worker processes import."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import atdata


@atdata.packable
class Item:
    """An image of one shape."""

    image: NDArray[np.float32]
    number: int
    name: str


@atdata.packable
class Text:
    """Arrays whose shapes differ."""

    ids: NDArray[np.int64]
    grid: NDArray[np.float32]
    number: int


@atdata.packable
class Maybe:
    """An array that may be missing."""

    scores: NDArray[np.float32] | None


@atdata.packable
class Clip:
    """Arrays of one shape and of many, some missing, some large."""

    frame: NDArray[np.uint8]
    sound: NDArray[np.float32]
    grid: NDArray[np.int64]
    extra: NDArray[np.float32] | None
    number: int
    name: str


@atdata.packable
class Blob:
    """Bytes as an array."""

    data: NDArray[np.uint8]
    number: int


def items(count: int) -> list[Item]:
    """Items numbered from 0 on."""
    return [Item(np.full((2, 3), i, np.float32), i, f"n{i}") for i in range(count)]


def texts(count: int) -> list[Text]:
    """Texts numbered from 0 on."""
    return [
        Text(np.arange(1, i % 5 + 2), np.ones((i % 3 + 1, i % 4 + 1), np.float32), i)
        for i in range(count)
    ]


def clips(count: int) -> list[Clip]:
    """Clips numbered from 0 on; eight frames are more than 1 MB, and so may eight sounds be."""
    return [
        Clip(
            np.full((300, 500), i % 256, np.uint8),
            np.full((i * 7919) % 60_000, i, np.float32),
            np.full((i % 3, i % 4 + 1), i),
            None if i % 3 == 0 else np.full(4, i, np.float32),
            i,
            f"n{i}",
        )
        for i in range(count)
    ]


def even(item: Item) -> bool:
    """Whether its number is even."""
    return item.number % 2 == 0
