"""Encoded sound ↔ samples, by libsndfile, within limits that hold before memory is taken."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from atdata._arrays import AnyArray
from atdata._limits import limits
from atdata._registry import require
from atdata.errors import AtdataError, DecodeError, EncodeError, OptionError
from atdata.samples.resample import resampled

_AT_ONCE: Final = 1 << 20
"""Samples read at once: a header may claim any number of frames."""
_UNKNOWN: Final = 1 << 60
"""Frames from which on the number means that the file does not say it."""
_RIFF_UNKNOWN_BYTES: Final = 0x7FFF_F000
"""Size of a chunk from which on it means that the writer did not know it."""
_MP3_PADDING_FRAMES: Final = 4 * 1152
_OGG_PAGE: Final = b"OggS"
_OGG_LAST_PAGE: Final = 4
"""Flag of a page, RFC 3533 section 6."""
_MOST_CHANNELS: Final = 1024
_MAX_RATE: Final = 10_000_000
_FORMATS: Final = {"wav": "WAV", "flac": "FLAC", "ogg": "OGG", "mp3": "MP3"}
_SUBTYPES: Final = {
    ("wav", "float64"): "DOUBLE",
    ("wav", "float32"): "FLOAT",
    ("wav", "int16"): "PCM_16",
    ("wav", "int32"): "PCM_32",
    ("flac", "int16"): "PCM_16",
    ("ogg", "float32"): "VORBIS",
    ("ogg", "float64"): "VORBIS",
    ("mp3", "float32"): "MPEG_LAYER_III",
    ("mp3", "float64"): "MPEG_LAYER_III",
}
"""Format and dtype → how samples are encoded."""


class SoundHeader(NamedTuple):
    """What encoded sound says of itself."""

    rate: int
    channels: int
    frames: int


def header(data: bytes) -> SoundHeader:
    """The header of encoded sound.

    Raises:
        DecodeError: It is damaged, or of no format that libsndfile reads.
        MissingExtraError: The extra ``audio`` is not installed.
    """
    with _opened(data) as sound:
        return _header(sound)


def duration(data: bytes) -> float:
    """The seconds of encoded sound, by its header.

    Raises:
        DecodeError: It does not say, or as for `header`.
        MissingExtraError: As for `header`.
    """
    found = header(data)
    if found.frames >= _UNKNOWN:
        raise DecodeError("sound whose header does not say how long it is: decode it")
    return found.frames / found.rate


def _header(sound: Any) -> SoundHeader:
    found = SoundHeader(int(sound.samplerate), int(sound.channels), int(sound.frames))
    if not (0 < found.rate <= _MAX_RATE and 0 < found.channels <= _MOST_CHANNELS):
        raise DecodeError(f"sound of {found.channels} channels, {found.rate} frames a second")
    return found


def decode(
    data: bytes, start: float, stop: float | None, *, mono: bool, rate: int | None
) -> tuple[AnyArray, int]:
    """The samples of encoded sound and their rate, see `Audio.decode`."""
    if not (math.isfinite(start) and start >= 0):
        raise OptionError(f"start={start!r}: expected seconds from 0 on.")
    if stop is not None and not (math.isfinite(stop) and stop >= start):
        raise OptionError(f"stop={stop!r}: expected seconds from start={start!r} on.")
    if rate is not None and (type(rate) is not int or not 0 < rate <= _MAX_RATE):
        raise OptionError(f"rate={rate!r}: expected frames a second, from 1 to {_MAX_RATE:,}.")
    with _opened(data) as sound:
        found = _header(sound)
        first = min(round(start * found.rate), found.frames)
        last = found.frames if stop is None else min(round(stop * found.rate), found.frames)
        if first:
            sound.seek(first)
        samples = _read(sound, last - first, found.channels)
    if last == found.frames and _is_cut_short(data, last - first - len(samples)):
        raise DecodeError(
            f"sound that is cut short: only {(first + len(samples)) / found.rate:.3f} s of it are "
            "there; decode a part of it, with stop="
        )
    if mono and found.channels > 1:
        samples = samples.mean(axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
    if rate is None or rate == found.rate:
        return samples, found.rate
    _check_samples(len(samples) * rate // found.rate * samples.shape[1])
    return resampled(samples, found.rate, rate), rate


def _read(sound: Any, frames: int, channels: int) -> AnyArray:
    """The next frames, as many as there are, float32."""
    pieces: list[AnyArray] = []
    count = 0
    while count < frames:
        piece = sound.read(
            min(_AT_ONCE // channels, frames - count), dtype="float32", always_2d=True
        )
        if not len(piece):
            break
        count += len(piece)
        _check_samples(count * channels)
        pieces.append(piece)
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.zeros((0, channels), np.float32)


def _is_cut_short(data: bytes, missing: int) -> bool:
    """Whether the end is missing of sound that was read to its end, where libsndfile is silent.

    Args:
        data: The encoded sound.
        missing: Frames fewer than its header says.
    """
    if data[:4] in (b"RIFF", b"RIFX"):
        return _riff_bytes_missing(data) > 0
    if data[:4] == _OGG_PAGE:
        return not _ogg_ends(data)
    # Without this tag, the length of an MP3 is an estimate; with it, it may include the padding.
    return missing > _MP3_PADDING_FRAMES and any(tag in data[:8192] for tag in (b"Xing", b"Info"))


def _riff_bytes_missing(data: bytes) -> int:
    """Bytes that the chunk of samples of a WAV says it has and the file has not.

    Programs that write to a pipe do not know the size, and leave the largest, or 0.
    """
    order: Literal["little", "big"] = "little" if data[:4] == b"RIFF" else "big"
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], order)
        if data[at : at + 4] == b"data":
            return size - (len(data) - at - 8) if size < _RIFF_UNKNOWN_BYTES else 0
        at += 8 + size + size % 2
    return 0


def _ogg_ends(data: bytes) -> bool:
    """Whether the last page of an OGG is all there, and says that it is the last."""
    at = data.rindex(_OGG_PAGE)
    flags, segments = data[at + 5 : at + 6], data[at + 26 : at + 27]
    if not segments or not flags[0] & _OGG_LAST_PAGE:
        return False
    sizes = data[at + 27 : at + 27 + segments[0]]
    return len(sizes) == segments[0] and at + 27 + len(sizes) + sum(sizes) <= len(data)


def _check_samples(count: int) -> None:
    if count > limits.audio_samples:
        raise DecodeError(
            f"sound of more than limits.audio_samples, {limits.audio_samples:,}: decode a part "
            "of it, with start= and stop=, or fewer channels"
        )


def encode(source: Any, rate: int | None, format: str | None) -> bytes:
    """Encode samples; losslessly, unless a format says otherwise.

    Raises:
        EncodeError: They cannot be encoded so.
        MissingExtraError: The extra ``audio`` is not installed.
    """
    if not isinstance(source, np.ndarray):
        raise EncodeError(
            f"Audio({type(source).__name__}): expected encoded bytes, the path of a file, or an "
            "array of samples."
        )
    if rate is None:
        raise EncodeError("Audio(array): its rate is needed: Audio(array, rate=16_000).")
    chosen = format or "wav"
    subtype = _SUBTYPES.get((chosen, source.dtype.name))
    if subtype is None or source.ndim not in (1, 2) or not source.size:
        raise EncodeError(
            f"Audio: expected shape (frames,) or (frames, channels) of "
            f"{_dtypes(chosen)}; found {source.dtype} {source.shape}."
        )
    out = io.BytesIO()
    plain = np.ascontiguousarray(source, source.dtype.newbyteorder("="))
    try:
        require("soundfile", purpose="Sounds").write(
            out, plain, rate, format=_FORMATS[chosen], subtype=subtype
        )
    except AtdataError:
        raise
    except Exception as error:
        raise EncodeError(
            f"Sound of {source.dtype} {source.shape}, {rate} frames a second, cannot be encoded "
            f"as {chosen} ({error})."
        ) from error
    return out.getvalue()


def _dtypes(chosen: str) -> str:
    if chosen not in _FORMATS:
        return f"a dtype that fits format={chosen!r}, which is none of {', '.join(_FORMATS)}"
    return " or ".join(dtype for name, dtype in _SUBTYPES if name == chosen)


@contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    """Sound, opened by libsndfile.

    Raises:
        DecodeError: Whatever it raises.
    """
    module = require("soundfile", purpose="Sounds")
    try:
        with module.SoundFile(io.BytesIO(data)) as sound:
            yield sound
    except (AtdataError, MemoryError):
        raise
    except Exception as error:
        # libsndfile's own words, without the object that it was given.
        reason = getattr(error, "error_string", None) or error
        raise DecodeError(f"sound that cannot be decoded ({reason})") from error
