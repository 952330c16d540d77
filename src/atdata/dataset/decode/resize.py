"""Resizing by a bilinear filter over all pixels that a pixel of the result covers."""

from __future__ import annotations

import math
import threading
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from atdata._arrays import AnyArray
from atdata._registry import require
from atdata.dataset.decode.crops import Box
from atdata.system.forks import load_module

_mine = threading.local()


def resized(source: AnyArray, box: Box, size: tuple[int, int]) -> AnyArray:
    """A part of a picture in another size.

    Args:
        source: Shape (height, width, channels), uint8, in C order; 1 or 3 channels.
        box: The part, within the picture.
        size: Height and width of the result.

    Returns:
        Shape (*size, channels), uint8; a view of ``source`` if the part has this size. Pillow's
        result, or within 1 of it.
    """
    height, width = source.shape[:2]
    left, top, right, bottom = box
    # Rounding may have left a box a little outside.
    right, bottom = min(right, width), min(bottom, height)
    if (right - left, bottom - top) == size[::-1] and left == int(left) and top == int(top):
        return source[int(top) : int(bottom), int(left) : int(right)]
    fast = _fast()
    if fast is None:
        return _by_pillow(source, (left, top, right, bottom), size)
    # What has no share in the result is not copied.
    up, down = _needed(top, bottom, size[0], height)
    start, end = _needed(left, right, size[1], width)
    part = (left - start, top - up, right - left, bottom - top)
    return _by_fast(fast, source[up:down, start:end], part, size)


def _needed(start: float, end: float, count: int, most: int) -> tuple[int, int]:
    """From where to where pixels have a share in the result, which also those next to a part do."""
    reach = max(1.0, (end - start) / count) + 1
    return max(0, math.floor(start - reach)), min(most, math.ceil(end + reach))


@cache
def _fast() -> Any:
    """cykooz_resizer, which uses the processor's vector instructions; None: not installed."""
    return None if find_spec("cykooz_resizer") is None else load_module("cykooz_resizer")


def _by_fast(
    module: Any, source: AnyArray, part: tuple[float, ...], size: tuple[int, int]
) -> AnyArray:
    """As `resized`; the part is left, top, width and height."""
    resizer = getattr(_mine, "resizer", None)
    if resizer is None:
        # Its buffers are used again, so each thread has its own.
        resizer = _mine.resizer = module.Resizer()
        _mine.convolution = module.ResizeAlg.convolution(module.FilterType.bilinear)
    channels = source.shape[2]
    sort = module.PixelType.U8x3 if channels == 3 else module.PixelType.U8
    options = module.ResizeOptions(
        resize_alg=_mine.convolution, use_alpha=False, crop_box=module.CropBox(*part)
    )
    before = module.ImageData(source.shape[1], source.shape[0], sort, source.tobytes())
    after = module.ImageData(size[1], size[0], sort)
    resizer.resize(before, after, options)
    made: AnyArray = np.frombuffer(after.get_buffer(), np.uint8).reshape(*size, channels)
    return made


def _by_pillow(source: AnyArray, box: tuple[float, ...], size: tuple[int, int]) -> AnyArray:
    """As `resized`; the box is left, top, right and bottom."""
    module = require("PIL.Image", purpose="Decoding pictures")
    picture = module.fromarray(source if source.shape[2] > 1 else source[..., 0])
    made: AnyArray = np.asarray(picture.resize(size[::-1], module.Resampling.BILINEAR, box=box))
    return made if made.ndim == 3 else made[..., None]
