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


def items(count: int) -> list[Item]:
    """Items numbered from 0 on."""
    return [Item(np.full((2, 3), i, np.float32), i, f"n{i}") for i in range(count)]


def texts(count: int) -> list[Text]:
    """Texts numbered from 0 on."""
    return [
        Text(np.arange(1, i % 5 + 2), np.ones((i % 3 + 1, i % 4 + 1), np.float32), i)
        for i in range(count)
    ]


def even(item: Item) -> bool:
    """Whether its number is even."""
    return item.number % 2 == 0
