"""One picture, decoded into its place in the array of a batch"""

from __future__ import annotations

import math
import threading
from typing import Final

import numpy as np

from atdata._arrays import AnyArray
from atdata._registry import require
from atdata.dataset.decode.crops import Box, Chance, box_of, stored_box, swaps
from atdata.dataset.decode.options import Decode
from atdata.dataset.decode.resize import resized
from atdata.samples.kinds import Array
from atdata.samples.picture_header import PictureHeader
from atdata.samples.pictures import check_size, opened, pixels

_COLOURS: Final = {"RGB": "RGB", "L": "GRAY"}
"""Pillow's mode → what simplejpeg calls it."""
_FACTORS: Final = (8, 4, 2)
"""How much a JPEG can be scaled down while it is decoded, with SIMD."""
_MAX_SCRATCH_BYTES: Final = 1 << 26
_ORIENTATION: Final = 0x0112


class Decoder:
    """Decodes pictures in one way.

    Args:
        how: The way.
        seed: Of what is random.
    """

    def __init__(self, how: Decode, seed: tuple[int, ...]) -> None:
        self._how = how
        self._seed = seed
        self._is_random = how.flips or how.crop == "random"
        self._scaling = how.scale_and_shift()
        self._scratch = threading.local()

    @property
    def kind(self) -> Array:
        """The kind of the results."""
        return self._how.kind

    def into(self, out: AnyArray, data: bytes, key: str) -> None:
        """Decode a picture into an array of the kind of the result.

        Raises:
            DecodeError: It cannot be decoded.
            MissingExtraError: The extra ``image`` is not installed.
        """
        direct = out if self._scaling is None and self._how.layout == "HWC" else None
        found = self._pixels(data, key, direct)
        if found is not direct:
            self._write(found, out)

    def alone(self, data: bytes, key: str) -> AnyArray:
        """A picture as an array of its own, as large as it is.

        Raises:
            DecodeError: As for `into`.
            MissingExtraError: As for `into`.
        """
        found = self._pixels(data, key, None)
        shape = found.shape if self._how.layout == "HWC" else (found.shape[2], *found.shape[:2])
        out: AnyArray = np.empty(shape, self._how.kind.dtype)
        self._write(found, out)
        return out

    def _write(self, found: AnyArray, out: AnyArray) -> None:
        """Write pixels in the form of the result.

        NumPy is slow where its innermost loop has three steps, so it never is over channels.
        """
        channels = range(found.shape[2])
        if self._how.layout == "CHW":
            for channel in channels:
                self._scale(found[..., channel], out[channel], channel)
            return
        if not found.flags.c_contiguous:
            # Mirrored or turned.
            turned, found = found, np.empty(found.shape, np.uint8)
            for channel in channels:
                found[..., channel] = turned[..., channel]
        height = len(found)
        self._scale(found.reshape(height, -1), out.reshape(height, -1), None)

    def _scale(self, values: AnyArray, out: AnyArray, channel: int | None) -> None:
        """Values as what they are in the result, of one channel or of whole rows of pixels."""
        if self._scaling is None:
            out[...] = values
            return
        scale, shift = self._scaling
        if channel is None:
            repeats = values.shape[1] // len(scale)
            scale, shift = np.tile(scale, repeats), np.tile(shift, repeats)
        else:
            scale, shift = scale[channel], shift[channel]
        if out.dtype == scale.dtype:
            # A cast and two steps in place take two thirds of the time of a mixed multiplication.
            out[...] = values
            out *= scale
            out += shift
        else:
            out[...] = values * scale + shift

    def _pixels(self, data: bytes, key: str, out: AnyArray | None) -> AnyArray:
        """A picture of shape (height, width, channels), uint8; ``out`` if it is written there."""
        chance = Chance((self._how.seed, *self._seed), key) if self._is_random else None
        header = check_size(data)
        is_jpeg = header is not None and data[:2] == b"\xff\xd8"
        if header is not None and is_jpeg and header.mode in ("L", "RGB"):
            part = _Part(self._how, header.width, header.height, header.orientation, chance)
            source = self._of_jpeg(data, header, part, out)
            if source is not None:
                return source if source is out else part.of(source)
            chance = Chance((self._how.seed, *self._seed), key) if self._is_random else None
        with opened(data) as picture:
            width, height = picture.size
            orientation = picture.getexif().get(_ORIENTATION, 1)
            if header is not None and is_jpeg:
                orientation = header.orientation
            part = _Part(self._how, width, height, _known(orientation), chance)
            if part.factor > 1 and is_jpeg:
                # Of sizes that are rounded down, Pillow takes this very factor.
                picture.draft(None, (width // part.factor, height // part.factor))
            return part.of(pixels(picture, self._how.mode))

    def _of_jpeg(
        self, data: bytes, header: PictureHeader, part: _Part, out: AnyArray | None
    ) -> AnyArray | None:
        """A JPEG as it is stored, perhaps scaled down; None: Pillow has to see it."""
        size = (-(-header.height // part.factor), -(-header.width // part.factor))
        shape = (*size, self._how.channels)
        room = out if out is not None and part.is_all_of(size) else self._room(shape)
        simplejpeg = require("simplejpeg", purpose="Decoding pictures")
        try:
            found = simplejpeg.decode_jpeg(
                data,
                colorspace=_COLOURS[self._how.mode],
                min_height=size[0] if part.factor > 1 else 0,
                min_width=size[1] if part.factor > 1 else 0,
                min_factor=part.factor,
                buffer=room,
            )
        except ValueError:
            # It is strict: of what it refuses, Pillow reads some.
            return None
        if found.shape != shape:
            return None
        return out if room is out else found

    def _room(self, shape: tuple[int, ...]) -> AnyArray:
        """Memory of this thread, for one picture."""
        count = math.prod(shape)
        room: AnyArray | None = getattr(self._scratch, "room", None)
        if room is None or len(room) < count:
            room = np.empty(count, np.uint8)
            if count <= _MAX_SCRATCH_BYTES:
                self._scratch.room = room
        return room[:count].reshape(shape)


class _Part:
    """What of a stored picture is taken, and how.

    Args:
        how: The way.
        width: Of the stored picture.
        height: Of the stored picture.
        orientation: Of EXIF.
        chance: For what is random.
    """

    def __init__(
        self, how: Decode, width: int, height: int, orientation: int, chance: Chance | None
    ) -> None:
        turned = swaps(orientation)
        upright = (height, width) if turned else (width, height)
        box = box_of(how, *upright, chance)
        self._box = stored_box(box, orientation, width, height)
        self._stored = (width, height)
        self._orientation = orientation
        self._mirrored = bool(how.flips and chance and chance.between(0, 1) < 0.5)
        self._size = how.pixels
        self.factor = 1
        """How much the picture is scaled down before, if it can be."""
        if self._size is not None:
            rows, columns = self._size[::-1] if turned else self._size
            self._size = (rows, columns)
            across, down = self._box.right - self._box.left, self._box.bottom - self._box.top
            fits = (f for f in _FACTORS if across >= f * columns and down >= f * rows)
            self.factor = next(fits, 1)

    def is_all_of(self, size: tuple[int, int]) -> bool:
        """Whether a picture of this height and width is the result, as it is."""
        whole = self._box == (0, 0, *self._stored)
        return whole and size == self._size and self._orientation == 1 and not self._mirrored

    def of(self, source: AnyArray) -> AnyArray:
        """The result, of the pixels of the stored picture, which may be scaled down."""
        height, width = source.shape[:2]
        across, down = width / self._stored[0], height / self._stored[1]
        left, top, right, bottom = self._box
        box = Box(left * across, top * down, right * across, bottom * down)
        found = source if self._size is None else resized(source, box, self._size)
        if self._orientation in (2, 3, 7, 8):
            found = found[:, ::-1]
        if self._orientation in (3, 4, 6, 7):
            found = found[::-1]
        if swaps(self._orientation):
            found = found.transpose(1, 0, 2)
        return found[:, ::-1] if self._mirrored else found


def _known(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
