"""Which part of a picture is taken, and how it lies in the stored one."""

from __future__ import annotations

import hashlib
import math
import random
from typing import Final, NamedTuple

from atdata.dataset.decode.options import Decode

_TRIES: Final = 10
_SWAPS: Final = 5
"""Orientations from which on width and height are swapped."""


class Box(NamedTuple):
    """A part of a picture, in pixels from its left upper corner."""

    left: float
    top: float
    right: float
    bottom: float


class Chance:
    """Random numbers of one sample: the same wherever and with whatever else it is read.

    Args:
        seed: Of all samples.
        key: Of the sample.
    """

    def __init__(self, seed: tuple[int, ...], key: str) -> None:
        text = "\0".join([*map(str, seed), key])
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        self._random = random.Random(int.from_bytes(digest, "little"))

    def between(self, low: float, high: float) -> float:
        """A number from ``low`` to ``high``."""
        return low + (high - low) * self._random.random()


def box_of(how: Decode, width: int, height: int, chance: Chance | None) -> Box:
    """The part of an upright picture that becomes the result."""
    if how.pixels is None or how.crop is None:
        return Box(0, 0, width, height)
    if chance is not None and how.crop == "random":
        return _random_box(how, width, height, chance)
    rows, columns = how.pixels
    scale = min(width / columns, height / rows)
    # Rounding makes the one that is 0 a little less.
    left, top = max((width - columns * scale) / 2, 0), max((height - rows * scale) / 2, 0)
    return Box(left, top, width - left, height - top)


def _random_box(how: Decode, width: int, height: int, chance: Chance) -> Box:
    low, high = how.ratio
    for _ in range(_TRIES):
        area = width * height * chance.between(*how.area)
        ratio = math.exp(chance.between(math.log(low), math.log(high)))
        columns, rows = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < columns <= width and 0 < rows <= height:
            break
    else:
        # A picture so narrow that no part fits: all of one side, and of the other what may be.
        columns = min(width, max(1, round(height * high)))
        rows = min(height, max(1, round(width / low)))
    left = math.floor(chance.between(0, width - columns + 1))
    top = math.floor(chance.between(0, height - rows + 1))
    left, top = min(left, width - columns), min(top, height - rows)
    return Box(left, top, left + columns, top + rows)


def swaps(orientation: int) -> bool:
    """Whether an orientation of EXIF swaps width and height."""
    return orientation >= _SWAPS


def stored_box(box: Box, orientation: int, width: int, height: int) -> Box:
    """A part of the upright picture, as a part of the stored one.

    Args:
        box: In the upright picture.
        orientation: Of EXIF, 1 to 8: how the stored one has to be turned.
        width: Of the stored one.
        height: Of the stored one.
    """
    left, top, right, bottom = box
    if swaps(orientation):
        left, top, right, bottom = top, left, bottom, right
    if orientation in (2, 3, 7, 8):
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):
        top, bottom = height - bottom, height - top
    return Box(left, top, right, bottom)
