"""What the first bytes of an encoded picture say: its format, size, mode and orientation.

JPEG and PNG are read here, in some microseconds and without Pillow; other formats by Pillow, which
reads no pixels for it.
"""

from __future__ import annotations

import re
import struct
from typing import Final, NamedTuple

from atdata.errors import DecodeError

_MAX_SEGMENTS: Final = 10_000
"""Segments of a JPEG before its frame header. A hostile file could have millions."""
_MAX_TAGS: Final = 1_000
_ORIENTATION: Final = 0x0112
_EXIF: Final = b"Exif\0\0"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_ORIENTATION: Final = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_JPEG_MODES: Final = {1: "L", 3: "RGB", 4: "CMYK"}
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers, which have the size."""
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length after them."""
_PNG_MODES: Final = {
    0: ("L", "I;16"),
    2: ("RGB", "RGB"),
    3: ("P", "P"),
    4: ("LA", "RGBA"),
    6: ("RGBA", "RGBA"),
}
"""Colour type → the mode that Pillow opens it as: of at most 8 bits, and of 16."""
_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),
)
_NETPBM: Final = re.compile(rb"P[1-6][ \t\r\n]")


class PictureHeader(NamedTuple):
    """What a picture says of itself. Whether its pixels can be decoded is unknown."""

    width: int
    height: int
    mode: str
    """As Pillow names it: ``L``, ``RGB``, ``P``, …"""
    orientation: int = 1
    """Of EXIF, 1 to 8; of a JPEG only, 1 for all others."""
    progressive: bool = False


def picture_format(data: bytes | memoryview) -> str | None:
    """The format of an encoded picture, by its first bytes; None: none of those known."""
    start = bytes(data[:16])
    for signature, name in _SIGNATURES:
        if start.startswith(signature):
            return name
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "webp"
    if start[4:8] == b"ftyp" and start[8:12] in (b"avif", b"avis"):
        return "avif"
    return "ppm" if _NETPBM.match(start) else None


def jpeg_header(data: bytes | memoryview) -> PictureHeader:
    """The header of a JPEG.

    Raises:
        DecodeError: There is none, or it is damaged.
    """
    at, orientation, of_xmp, end = 2, 0, 0, len(data)
    for _ in range(_MAX_SEGMENTS):
        if at + 4 > end:
            break
        if data[at] != 0xFF:
            raise DecodeError(f"a damaged JPEG: no marker at byte {at}")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _ALONE:
            at += 2
            continue
        size = data[at + 2] << 8 | data[at + 3]
        if marker in _FRAMES:
            if at + 10 > end:
                break
            height, width, parts = struct.unpack(">HHB", data[at + 5 : at + 10])
            mode = _JPEG_MODES.get(parts)
            if mode is None or not width or not height:
                raise DecodeError(f"a damaged JPEG: {width} × {height}, {parts} components")
            progressive = marker in _PROGRESSIVE
            return PictureHeader(width, height, mode, orientation or of_xmp or 1, progressive)
        if marker in (0xDA, 0xD9) or size < 2:
            break
        if marker == 0xE1 and not orientation:
            segment = bytes(data[at + 4 : at + 2 + size])
            if segment.startswith(_EXIF):
                orientation = exif_orientation(segment[6:])
            elif segment.startswith(_XMP) and (found := _XMP_ORIENTATION.search(segment)):
                of_xmp = int(found[1])
        at += 2 + size
    raise DecodeError("a damaged JPEG, or one that is cut short: it has no frame header")


def exif_orientation(tiff: bytes) -> int:
    """The orientation in the EXIF data of a picture, 1 to 8; 0: it has none that can be read."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 0
    (at,) = struct.unpack_from(f"{order}I", tiff, 4)
    if at + 2 > len(tiff):
        return 0
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    for entry in range(at + 2, at + 2 + 12 * min(count, _MAX_TAGS), 12):
        if entry + 12 > len(tiff):
            return 0
        tag, sort = struct.unpack_from(f"{order}HH", tiff, entry)
        if tag == _ORIENTATION:
            if sort != 3:
                return 0
            (value,) = struct.unpack_from(f"{order}H", tiff, entry + 8)
            return int(value) if 1 <= value <= 8 else 0
    return 0


def png_header(data: bytes | memoryview) -> PictureHeader:
    """The header of a PNG.

    Raises:
        DecodeError: There is none, or it is damaged.
    """
    if len(data) < 29 or bytes(data[12:16]) != b"IHDR":
        raise DecodeError("a damaged PNG, or one that is cut short: it does not begin with IHDR")
    width, height, bits, colours = struct.unpack(">IIBB", data[16:26])
    modes = _PNG_MODES.get(colours)
    if modes is None or bits not in (1, 2, 4, 8, 16) or not width or not height:
        raise DecodeError(f"a damaged PNG: {width} × {height}, {bits} bits, colour type {colours}")
    mode = "1" if bits == 1 and colours == 0 else modes[bits == 16]
    return PictureHeader(width, height, mode)
