"""Image and Audio: encoded media as values, decoded when asked."""

from __future__ import annotations

import builtins
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias, TypeVar

from atdata._arrays import AnyArray
from atdata.errors import EncodeError
from atdata.samples import pictures, sounds
from atdata.samples.picture_header import jpeg_header, picture_format, png_header

if TYPE_CHECKING:
    from PIL import Image as PillowImage

    from atdata.samples.picture_header import PictureHeader

Bytes: TypeAlias = builtins.bytes
"""Inside the classes here, ``bytes`` is a property."""
M = TypeVar("M", bound="Media")

_AUDIO_SIGNATURES: Final = (
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"ID3", "mp3"),
    (b"caff", "caf"),
    (b".snd", "au"),
)


class Media(ABC):
    """Encoded bytes, as they are stored. Cannot be changed; equal to what has the same bytes."""

    __slots__ = ("bytes",)

    bytes: Bytes
    """The encoded bytes."""
    name: ClassVar[str]
    """The kind of field."""

    @classmethod
    def of(cls: type[M], data: Bytes) -> M:
        """One of these bytes, which are not looked at."""
        made = object.__new__(cls)
        object.__setattr__(made, "bytes", data)
        return made

    @property
    @abstractmethod
    def format(self) -> str | None:
        """The format by the first bytes, in lower case; None: it is none of those known."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed; make another one.")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self.bytes == other.bytes)

    def __hash__(self) -> int:
        return hash((type(self), self.bytes))

    def __len__(self) -> int:
        return len(self.bytes)

    def __bool__(self) -> bool:
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).of, (self.bytes,)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.format or 'of unknown format'}, {len(self):,} bytes>"


class Image(Media):
    """An encoded picture: JPEG, PNG, WebP, GIF, BMP, TIFF, JPEG 2000, AVIF or PPM.

    Args:
        source: The encoded bytes; the path of a file with them; or pixels, which are encoded: an
            array of shape (H, W) or (H, W, C) with 1 to 4 channels (grey, grey and alpha, RGB,
            RGBA) of uint8, or grey of uint16; or a picture of Pillow.
        format: How pixels are encoded, for example ``"jpeg"``. Of bytes or a file it can only be
            what they are.
        options: For Pillow's encoder, such as ``quality=90``.

    Pixels are encoded losslessly unless ``format`` or ``options`` say otherwise: as PNG, and for
    ``"webp"`` without a quality as lossless WebP.

    Raises:
        EncodeError: The pixels cannot be encoded so.
        MissingExtraError: Encoding needs the extra ``image``.

    Example:
        >>> picture = Image(np.zeros((2, 3, 3), np.uint8))
        >>> picture.format, picture.size, picture.mode
        ('png', (3, 2), 'RGB')
    """

    __slots__ = ()
    name = "image"

    def __init__(
        self,
        source: Bytes | bytearray | memoryview | str | os.PathLike[str] | AnyArray | Any,
        *,
        format: str | None = None,
        **options: Any,
    ) -> None:
        data = _bytes_of(source)
        if data is None:
            data = pictures.encode(source, format, options)
        elif options or format not in (None, picture_format(data)):
            raise EncodeError(
                f"Image({type(source).__name__}, format={format!r}): these bytes are encoded "
                f"already, as {picture_format(data)}. Encode their pixels again: "
                f"Image(Image(source).to_pil(), format=…)."
            )
        object.__setattr__(self, "bytes", data)

    @property
    def format(self) -> str | None:
        """``jpeg``, ``png``, ``webp``, ``gif``, ``bmp``, ``tiff``, ``jpeg2000``, ``avif`` or
        ``ppm``, by the first bytes; None: they are none of these."""
        return picture_format(self.bytes)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as stored, without decoding.

        `decode` and `to_pil` turn a picture upright where its EXIF data say so, which may swap
        the two.

        Raises:
            DecodeError: The header is damaged, or the format unknown.
            MissingExtraError: Other formats than JPEG and PNG need the extra ``image``.
        """
        header = self._header()
        return header.width, header.height

    @property
    def mode(self) -> str:
        """Pillow's name for what a pixel holds, without decoding: ``L``, ``RGB``, ``P``, ``CMYK``.

        Raises:
            DecodeError: As for `size`.
            MissingExtraError: As for `size`.
        """
        return self._header().mode

    def decode(self, mode: Literal["L", "RGB", "RGBA"] | None = None) -> AnyArray:
        """The pixels: shape (height, width, channels), uint8, or uint16 for grey of 16 bits.

        The picture is upright, as its EXIF data say. Of an animation it is the first frame. A
        palette becomes RGB, or RGBA if it has transparent colours, and CMYK becomes RGB, as in
        Pillow. RGB of 16 bits has its upper 8.

        Args:
            mode: What a pixel holds: grey, RGB, or RGB and alpha, of uint8. Alpha is dropped, not
                blended with a background. None: what is stored.

        Raises:
            DecodeError: It cannot be decoded, or has more than ``limits.image_pixels``.
            MissingExtraError: The extra ``image`` is not installed.
        """
        return pictures.decode(self.bytes, mode)

    def to_pil(self) -> PillowImage.Image:
        """The picture as one of Pillow, decoded and upright. Its mode is as stored.

        Raises:
            DecodeError: As for `decode`.
            MissingExtraError: The extra ``image`` is not installed.
        """
        return pictures.loaded(self.bytes)

    def _header(self) -> PictureHeader:
        match self.format:
            case "jpeg":
                return jpeg_header(self.bytes)
            case "png":
                return png_header(self.bytes)
            case _:
                return pictures.header(self.bytes)


class Audio(Media):
    """Encoded sound: WAV, FLAC, OGG, MP3, and what else libsndfile reads.

    Args:
        source: The encoded bytes; the path of a file with them; or samples as an array of shape
            (frames,) or (frames, channels), floats from −1 to 1 or int16 or int32, which are
            encoded.
        rate: Frames a second; of an array only.
        format: How an array is encoded: ``"wav"``, ``"flac"``, ``"ogg"`` or ``"mp3"``.

    An array is encoded losslessly unless ``format`` says otherwise: as WAV of its own dtype.

    Raises:
        EncodeError: The array cannot be encoded so.
        MissingExtraError: Encoding needs the extra ``audio``.
    """

    __slots__ = ()
    name = "audio"

    def __init__(
        self,
        source: Bytes | bytearray | memoryview | str | os.PathLike[str] | AnyArray,
        *,
        rate: int | None = None,
        format: str | None = None,
    ) -> None:
        data = _bytes_of(source)
        if data is None:
            data = sounds.encode(source, rate, format)
        elif rate is not None or format not in (None, audio_format(data)):
            raise EncodeError(
                f"Audio({type(source).__name__}, rate={rate}, format={format!r}): these bytes are "
                f"encoded already, as {audio_format(data)}. Encode their samples again: "
                "Audio(samples, rate=…, format=…)."
            )
        object.__setattr__(self, "bytes", data)

    @property
    def format(self) -> str | None:
        """``wav``, ``flac``, ``ogg``, ``mp3``, ``aiff``, ``caf`` or ``au``, by the first bytes;
        None: they are none of these."""
        return audio_format(self.bytes)

    @property
    def rate(self) -> int:
        """Frames a second, without decoding.

        Raises:
            DecodeError: The header is damaged, or the format unknown.
            MissingExtraError: The extra ``audio`` is not installed.
        """
        return sounds.header(self.bytes).rate

    @property
    def channels(self) -> int:
        """Number of channels, without decoding.

        Raises:
            DecodeError: As for `rate`.
            MissingExtraError: As for `rate`.
        """
        return sounds.header(self.bytes).channels

    @property
    def duration(self) -> float:
        """Seconds, by the header, without decoding.

        Raises:
            DecodeError: As for `rate`.
            MissingExtraError: As for `rate`.
        """
        return sounds.duration(self.bytes)

    def decode(
        self,
        *,
        start: float = 0.0,
        stop: float | None = None,
        mono: bool = False,
        rate: int | None = None,
    ) -> tuple[AnyArray, int]:
        """The samples, and their rate: shape (frames, channels), float32 from −1 to 1.

        Args:
            start: Where to begin, in seconds. What is before is not decoded, if the format can
                be entered there.
            stop: Where to end, in seconds; None, or after the end: at the end.
            mono: Whether channels are averaged to one.
            rate: Frames a second of the result. Another one than the file's is resampled to with
                a Kaiser-windowed sinc of 32 zero crossings on each side, cut at the lower of the
                two Nyquist frequencies.

        Raises:
            DecodeError: It cannot be decoded, or there is more than ``limits.audio_samples``.
            OptionError: ``start``, ``stop`` or ``rate`` is out of range.
            MissingExtraError: The extra ``audio`` is not installed.
        """
        return sounds.decode(self.bytes, start, stop, mono=mono, rate=rate)


def audio_format(data: Bytes | memoryview) -> str | None:
    """The format of encoded sound, by its first bytes; None: none of those known."""
    start = Bytes(data[:12])
    for signature, name in _AUDIO_SIGNATURES:
        if start.startswith(signature):
            return name
    if start[:4] in (b"RIFF", b"RF64", b"RIFX") and start[8:12] == b"WAVE":
        return "wav"
    if start[:4] == b"FORM" and start[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    # The sync word of an MPEG frame of layer III.
    is_frame = len(start) > 1 and start[0] == 0xFF and start[1] & 0xE6 == 0xE2
    return "mp3" if is_frame else None


def _bytes_of(source: object) -> Bytes | None:
    """Bytes that are given, or those of a file; None: pixels or samples to encode."""
    if isinstance(source, Bytes):
        return Bytes(source)
    if isinstance(source, (bytearray, memoryview)):
        return Bytes(source)
    if isinstance(source, (str, os.PathLike)):
        return Path(source).read_bytes()
    return None


MEDIA: Final[dict[str, type[Media]]] = {"image": Image, "audio": Audio}
"""Kind of field → the class of its values."""
