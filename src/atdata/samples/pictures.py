"""Encoded pictures ↔ pixels, by Pillow, within limits that hold before memory is taken."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from atdata._arrays import AnyArray
from atdata._limits import limits
from atdata._registry import require
from atdata.errors import AtdataError, DecodeError, EncodeError
from atdata.samples.picture_header import (
    PictureHeader,
    jpeg_header,
    picture_format,
    png_header,
)

if TYPE_CHECKING:
    from PIL import Image as PillowImage

_PLUGINS: Final = {
    "jpeg": "JPEG",
    "png": "PNG",
    "gif": "GIF",
    "webp": "WEBP",
    "bmp": "BMP",
    "tiff": "TIFF",
    "jpeg2000": "JPEG2000",
    "avif": "AVIF",
    "ppm": "PPM",
}
"""Format → Pillow's decoder. No other is tried: some of Pillow's run programs."""
_HEADERS: Final[dict[str, Callable[[bytes], PictureHeader]]] = {
    "jpeg": jpeg_header,
    "png": png_header,
}
_CHANNELS: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_PLAIN: Final = {
    **{"1": "L", "L": "L", "LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"},
    **{"RGB": "RGB", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB", "LAB": "RGB"},
}
"""Pillow's mode → the one of 8 bits in which all of it can be an array."""
_LOSSLESS_PNG: Final = frozenset({"1", "L", "LA", "I;16", "P", "RGB", "RGBA"})
_SCAN: Final = b"\xff\xda"


def check_size(data: bytes) -> PictureHeader | None:
    """Refuse a picture of too many pixels, by its header; the header, where it is read here.

    Raises:
        DecodeError: It has more than ``limits.image_pixels``, more than ``limits.image_scans`` of
            a progressive JPEG, or a damaged header.
    """
    read = _HEADERS.get(picture_format(data) or "")
    if read is None:
        return None
    found = read(data)
    _check_pixels(found.width, found.height)
    # Each scan goes over all pixels; in the data of a scan, the marker cannot occur.
    if found.progressive and (scans := data.count(_SCAN)) > limits.image_scans:
        raise DecodeError(
            f"a progressive JPEG of {scans:,} scans: limits.image_scans is {limits.image_scans:,}"
        )
    return found


def _check_pixels(width: int, height: int) -> None:
    if width * height > limits.image_pixels:
        raise DecodeError(
            f"a picture of {width:,} × {height:,} pixels: limits.image_pixels is "
            f"{limits.image_pixels:,}"
        )


def header(data: bytes) -> PictureHeader:
    """The header of a picture, as Pillow reads it.

    Raises:
        DecodeError: It is damaged, or of no known format.
        MissingExtraError: The extra ``image`` is not installed.
    """
    with opened(data) as picture:
        return PictureHeader(*picture.size, picture.mode)


def loaded(data: bytes) -> PillowImage.Image:
    """A picture of Pillow, decoded and turned upright.

    Raises:
        DecodeError: It cannot be decoded, or is larger than the limits.
        MissingExtraError: The extra ``image`` is not installed.
    """
    check_size(data)
    with opened(data) as picture:
        picture.load()
        upright = _module("ImageOps").exif_transpose(picture)
        # Else a picture would keep its file, and what was not turned is not a copy.
        made: PillowImage.Image = upright.copy() if upright is picture else upright
        return made


def decode(data: bytes, mode: str | None = None) -> AnyArray:
    """The pixels of a picture, see `Image.decode`."""
    return pixels(loaded(data), mode)


def pixels(picture: PillowImage.Image, mode: str | None) -> AnyArray:
    """The pixels of a picture of Pillow: shape (height, width, channels), uint8 or uint16.

    Args:
        picture: The picture.
        mode: Pillow's name for what is wanted, of 8 bits; None: as in `Image.decode`.

    Raises:
        DecodeError: Its pixels do not fit integers of 8 or 16 bits.
    """
    if picture.mode.startswith("I;16"):
        deep = np.asarray(picture).astype(np.uint16)[..., None]
        if mode is None:
            return deep
        picture = _module("Image").fromarray((deep[..., 0] >> 8).astype(np.uint8))
    if picture.mode == "P":
        palette = picture.palette
        clear = "transparency" in picture.info or (palette and palette.mode == "RGBA")
        plain: str | None = "RGBA" if clear else "RGB"
    else:
        plain = _PLAIN.get(picture.mode)
    if plain is None:
        raise DecodeError(
            f"a picture of mode {picture.mode!r}, whose pixels are not integers of 8 or 16 bits: "
            "read it with to_pil()"
        )
    if picture.mode == "P" and clear:
        # Else Pillow warns that a palette's transparency is dropped.
        picture = picture.convert("RGBA")
    wanted = mode or plain
    array = np.array(picture if picture.mode == wanted else picture.convert(wanted))
    return array[..., None] if array.ndim == 2 else array


def encode(source: Any, format: str | None, options: Mapping[str, Any]) -> bytes:
    """Encode pixels; losslessly, unless a format or options say otherwise.

    Args:
        source: An array of shape (H, W) or (H, W, C), or a picture of Pillow.
        format: Lower case; None: PNG.
        options: For Pillow's encoder.

    Raises:
        EncodeError: They cannot be encoded so.
        MissingExtraError: The extra ``image`` is not installed.
    """
    picture = _of_array(source) if isinstance(source, np.ndarray) else source
    if not isinstance(picture, _module("Image").Image):
        raise EncodeError(
            f"Image({type(source).__name__}): expected encoded bytes, the path of a file, an array "
            "or a picture of Pillow."
        )
    chosen = format or "png"
    if chosen not in _PLUGINS:
        raise EncodeError(f"format={chosen!r}: expected one of {', '.join(_PLUGINS)}.")
    if format is None and picture.mode not in _LOSSLESS_PNG:
        raise EncodeError(
            f"Image of mode {picture.mode!r}: PNG cannot hold it. Convert it, "
            "picture.convert('RGB'), or name another format, such as format='tiff'."
        )
    given = dict(options)
    if chosen == "webp" and "quality" not in given:
        given.setdefault("lossless", True)
        given.setdefault("exact", True)
    out = io.BytesIO()
    try:
        picture.save(out, _PLUGINS[chosen], **given)
    except Exception as error:
        raise EncodeError(
            f"A picture of mode {picture.mode!r}, {picture.size[0]} × {picture.size[1]}, cannot "
            f"be encoded as {chosen} ({error})."
        ) from error
    return out.getvalue()


def _of_array(array: AnyArray) -> PillowImage.Image:
    shape = array.shape[:-1] if array.ndim == 3 and array.shape[-1] == 1 else array.shape
    deep = array.dtype == np.uint16 and len(shape) == 2
    channels = shape[2] if len(shape) == 3 else 1
    fits = deep or (array.dtype == np.uint8 and len(shape) in (2, 3) and channels in _CHANNELS)
    if not fits or not array.size:
        raise EncodeError(
            f"Image: expected pixels of uint8 in shape (H, W) or (H, W, C) with 1 to 4 channels, "
            f"or of uint16 in shape (H, W); found {array.dtype} {array.shape}."
        )
    plain = np.ascontiguousarray(array.reshape(shape), array.dtype.newbyteorder("="))
    made: PillowImage.Image = _module("Image").fromarray(plain)
    return made


@contextmanager
def opened(data: bytes) -> Iterator[PillowImage.Image]:
    """A picture, opened by the decoder of its format alone; its pixels are not decoded yet.

    Raises:
        DecodeError: Whatever Pillow raises, or it has more than ``limits.image_pixels``.
        MissingExtraError: The extra ``image`` is not installed.
    """
    name = picture_format(data)
    if name is None:
        found = f"{len(data):,} bytes that begin {data[:8].hex(' ')}" if data else "no bytes"
        raise DecodeError(f"no picture of a known format: {found}")
    module = _module("Image")
    try:
        with module.open(io.BytesIO(data), formats=(_PLUGINS[name],)) as picture:
            _check_pixels(*picture.size)
            yield picture
    except (AtdataError, MemoryError):
        raise
    except module.UnidentifiedImageError as error:
        # Pillow names the object that it was given.
        raise DecodeError(f"a {name} that cannot be decoded (its header is damaged)") from error
    except Exception as error:
        raise DecodeError(f"a {name} that cannot be decoded ({error})") from error


def _module(name: str) -> Any:
    return require(f"PIL.{name}", purpose="Pictures")
