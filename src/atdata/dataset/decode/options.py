"""Decode: what is made of the pictures of a batch"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from atdata._arrays import AnyArray
from atdata._secrets import redacted_repr
from atdata.errors import OptionError
from atdata.samples.kinds import Array, Encoded, Field, Primitive

Crop: TypeAlias = Literal["center", "random"] | None
Layout: TypeAlias = Literal["HWC", "CHW"]

_DTYPES: Final = ("uint8", "float16", "float32", "float64")
_CHANNELS: Final = {"RGB": 3, "L": 1}


@redacted_repr
@dataclass(frozen=True, kw_only=True)
class Decode:
    """Pictures of a batch as one array: decoded, turned upright, cropped and resized.

    Passed by the name of a field: ``dataset.batches(256, decode={"image": Decode(size=224)})``.
    The column has shape (B, height, width, channels), or (B, channels, height, width) for
    ``layout="CHW"``. Fields of `Image` and of bytes can be decoded. Without a ``size`` pictures
    keep theirs, and those of a batch that differ need ``ragged``, as other arrays do.

    JPEGs are decoded by libjpeg-turbo, scaled down by 2, 4 or 8 in it where the result is not
    smaller than what is asked for; everything else, and a JPEG that is damaged or in CMYK, by
    Pillow, with the same scale. Resizing is a bilinear filter over all pixels that a pixel of the
    result covers, as in Pillow: values differ from Pillow's by 2 of 255 at most, and without a
    ``size`` they are the same.

    Args:
        size: Height and width of the result; one number: both. None: as each picture is.
        crop: What is resized to it. ``"center"``: the largest part in the middle that has the
            shape of the result. ``"random"``: a random part, mirrored every other time. None:
            the whole picture, stretched.
        layout: ``"HWC"``: the channels of a pixel are neighbours; ``"CHW"``: channel by channel.
        dtype: ``uint8``: from 0 to 255. ``float16``, ``float32`` or ``float64``: from 0 to 1,
            before ``mean`` and ``std``. None: ``uint8``, or ``float32`` with ``mean`` or ``std``.
        mean: Subtracted: a number, or one for each channel.
        std: Divided by afterwards: a number, or one for each channel.
        mode: What a pixel holds: ``"RGB"``, or ``"L"``, grey. Alpha is dropped.
        area: Of a random part: its share of the picture's area, from and to.
        ratio: Of a random part: its width by its height, from and to.
        flip: Whether every other picture is mirrored, at random; None: with ``crop="random"``.
        seed: Of what is random, with the seed and the epoch of the order and the sample's key:
            the same for any batch size, number of workers and ranks, and after resuming.
        threads: Threads that decode; None: one for each processor, shared by loader workers.

    Raises:
        OptionError: An argument is out of its range.
    """

    size: int | tuple[int, int] | None = None
    crop: Crop = "center"
    layout: Layout = "HWC"
    dtype: Any = None
    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    mode: Literal["RGB", "L"] = "RGB"
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool | None = None
    seed: int = 0
    threads: int | None = None
    _size: tuple[int, int] | None = field(init=False, repr=False, compare=False)
    _dtype: np.dtype[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        if size is not None:
            is_pair = isinstance(size, tuple | list) and len(size) == 2
            if not is_pair or not all(_is_count(n, 1) and n < 1 << 16 for n in size):
                raise _wrong("size", self.size, "pixels, or a tuple of height and width")
            size = (int(size[0]), int(size[1]))
        choices: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
            ("crop", self.crop, ("center", "random", None)),
            ("layout", self.layout, ("HWC", "CHW")),
            ("mode", self.mode, tuple(_CHANNELS)),
            ("flip", self.flip, (None, False, True)),
        )
        for name, value, known in choices:
            if not any(value is one or value == one for one in known):
                raise _wrong(name, value, f"one of {', '.join(map(repr, known))}")
        if self.crop == "random" and size is None:
            raise _wrong("size", None, "the size of the result, which a random part needs")
        if not _is_count(self.seed, 0):
            raise _wrong("seed", self.seed, "a whole number from 0 on")
        if self.threads is not None and not _is_count(self.threads, 1):
            raise _wrong("threads", self.threads, "a whole number from 1 on")
        for name, pair, most in (("area", self.area, 1.0), ("ratio", self.ratio, 1e6)):
            if not (_is_pair(pair) and 0 < pair[0] <= pair[1] <= most):
                raise _wrong(name, pair, f"two numbers, 0 < from <= to <= {most:g}")
        object.__setattr__(self, "_size", size)
        object.__setattr__(self, "_dtype", self._checked_dtype())
        self.scale_and_shift()

    def _checked_dtype(self) -> np.dtype[Any]:
        scaled = self.mean is not None or self.std is not None
        if self.dtype is None:
            return np.dtype("float32" if scaled else "uint8")
        try:
            dtype: np.dtype[Any] = np.dtype(self.dtype)
        except TypeError:
            dtype = np.dtype(object)
        if dtype.name not in _DTYPES or (scaled and dtype == np.uint8):
            with_it = " with mean or std" if scaled and dtype == np.uint8 else ""
            floats = ", ".join(_DTYPES[bool(with_it) :])
            raise _wrong("dtype", self.dtype, f"one of {floats}{with_it}")
        return dtype

    @property
    def channels(self) -> int:
        """Channels of the result."""
        return _CHANNELS[self.mode]

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Height and width of the result; None: as each picture is."""
        return self._size

    @property
    def flips(self) -> bool:
        """Whether every other picture is mirrored."""
        return self.crop == "random" if self.flip is None else self.flip

    @property
    def kind(self) -> Array:
        """The kind of the arrays that pictures become."""
        height, width = self._size or (None, None)
        shape = (self.channels, height, width)
        return Array(self._dtype.name, shape if self.layout == "CHW" else (*shape[1:], shape[0]))

    def scale_and_shift(self) -> tuple[AnyArray, AnyArray] | None:
        """What a value from 0 to 255 is multiplied with, and what is then added, for each channel.

        None: nothing.

        Raises:
            OptionError: ``mean`` or ``std`` is no number for each channel.
        """
        if self._dtype == np.uint8:
            return None
        mean = self._each("mean", 0.0 if self.mean is None else self.mean)
        std = self._each("std", 1.0 if self.std is None else self.std)
        if (std == 0).any():
            raise _wrong("std", self.std, "other numbers than 0")
        wide = np.float64 if self._dtype == np.float64 else np.float32
        return (1 / (255 * std)).astype(wide), (-mean / std).astype(wide)

    def _each(self, name: str, value: Any) -> AnyArray:
        try:
            found: AnyArray = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            found = np.full(1, math.nan)
        if found.shape not in ((), (self.channels,)) or not np.isfinite(found).all():
            raise _wrong(name, value, f"a number, or {self.channels} of them")
        return np.broadcast_to(found, (self.channels,))


Decodes: TypeAlias = Mapping[str, Decode] | None
"""Field name → what is made of its pictures."""


def decoded_fields(decode: Mapping[str, Decode], fields: Mapping[str, Field]) -> dict[str, Field]:
    """The fields of samples after decoding.

    Args:
        decode: Field name → what is made of its pictures.
        fields: The fields of the samples; empty: they have no type.

    Raises:
        OptionError: A field that does not exist, or holds no pictures.
    """
    found = dict(fields)
    for name, how in decode.items():
        known = fields.get(name)
        if fields and (known is None or known.kind not in (Encoded("image"), Primitive("bytes"))):
            pictures = [f.name for f in fields.values() if f.kind == Encoded("image")]
            problem = f"it is {known.kind.describe()}" if known else "there is no such field"
            raise OptionError(
                f"decode: {name!r} has no pictures: {problem}. Fields with pictures: "
                f"{', '.join(pictures) or 'none'}."
            )
        if known is not None:
            found[name] = Field(name, how.kind, known.optional, known.description)
    return found


def check_decode(decode: object) -> dict[str, Decode]:
    """What a caller passed as ``decode``, checked.

    Raises:
        OptionError: It is no dict of `Decode`.
    """
    if decode is None:
        return {}
    if not isinstance(decode, Mapping) or not all(isinstance(d, Decode) for d in decode.values()):
        raise OptionError(
            f"decode={decode!r:.80}: expected a dict with a Decode for each field with pictures, "
            'such as {"image": Decode(size=224)}.'
        )
    return dict(decode)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 2
        and all(isinstance(one, int | float) and math.isfinite(one) for one in value)
    )


def _wrong(name: str, value: object, expected: str) -> OptionError:
    return OptionError(f"Decode({name}={value!r:.80}): expected {expected}.")
