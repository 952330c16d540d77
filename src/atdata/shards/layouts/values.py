"""A member's bytes → its value: by the ending of its name, and by the kind of a field."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from atdata._limits import limits
from atdata._nesting import text_is_deeper
from atdata.errors import DecodeError
from atdata.samples.dict_sample import DictSample
from atdata.samples.kinds import (
    Array,
    Choice,
    ClassLabel,
    DateTime,
    Encoded,
    FixedTuple,
    IntChoice,
    JsonValue,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Misfit,
    Nested,
    OneOf,
    Primitive,
    SetOf,
    Simple,
    TupleOf,
)
from atdata.samples.kinds.simple import Duration
from atdata.samples.media import Audio, Image
from atdata.samples.ndarray import decode_array
from atdata.samples.wire import unpack_value

Decode: TypeAlias = Callable[[memoryview], Any]
"""Makes a value of a member's bytes; raises a DecodeError, or a Misfit."""

TEXT: Final = frozenset({"txt", "text", "transcript", "caption"})
INTEGER: Final = frozenset({"cls", "cls2", "class", "count", "index", "inx", "id"})
JSON: Final = frozenset({"json", "jsn"})
MSGPACK: Final = frozenset({"msgpack", "mp", "msg"})
ARRAY: Final = frozenset({"npy"})
IMAGE: Final = frozenset(
    {"jpg", "jpeg", "jpe", "png", "webp", "gif", "bmp", "tif", "tiff", "jp2", "avif", "ppm", "pgm"}
)
AUDIO: Final = frozenset({"wav", "flac", "mp3", "ogg", "oga", "opus", "aif", "aiff", "caf", "au"})
_LONG_INTEGER: Final = re.compile(rb"[0-9]{19}")
_READ_BYTES: Final = 1 << 20


def ending_of(field: str) -> tuple[str, bool]:
    """The ending that says what a member is, and whether it is compressed: ``seg.json.gz``."""
    rest, dot, last = field.rpartition(".")
    if last == "gz" and dot:
        return rest.rpartition(".")[2], True
    return last, False


def decoder_of(field: str, kind: Kind | None = None) -> Decode:
    """How a member of this name is read.

    Args:
        field: Its field, in lower case.
        kind: What is wanted of it; None: its ending decides.
    """
    ending, compressed = ending_of(field)
    decode = _by_ending(ending) if kind is None else _of_kind(ending, kind)
    return Packed(decode) if compressed else decode


def fits(field: str, kind: Kind) -> bool:
    """Whether a member of this name is of a kind by its ending alone."""
    ending, _ = ending_of(field)
    match kind:
        case Maybe(inner):
            return fits(field, inner)
        case Array():
            return ending in ARRAY
        case Primitive("str") | Choice() | DateTime():
            return ending in TEXT
        case Simple():
            return ending in (TEXT if kind.on_wire is str else INTEGER)
        case Primitive("int") | ClassLabel() | IntChoice():
            return ending in INTEGER
        case Encoded("image"):
            return ending in IMAGE
        case Encoded("audio"):
            return ending in AUDIO
        case Primitive("bytes"):
            return ending not in TEXT | INTEGER | JSON | MSGPACK | ARRAY
        case (
            Nested()
            | MapOf()
            | ListOf()
            | JsonValue()
            | OneOf()
            | TupleOf()
            | FixedTuple()
            | SetOf()
        ):
            return ending in JSON | MSGPACK
        case _:
            return False


def _by_ending(ending: str) -> Decode:
    if ending in TEXT:
        return _text
    if ending in INTEGER:
        return _integer
    if ending in JSON:
        return _json
    if ending in MSGPACK:
        return _msgpack
    if ending in IMAGE:
        return _image
    if ending in AUDIO:
        return _audio
    return _array if ending in ARRAY else bytes


def _of_kind(ending: str, kind: Kind) -> Decode:
    whole = kind
    if isinstance(kind, Maybe):
        kind = kind.kind
    if kind == Primitive("bytes"):
        return bytes
    if kind == Primitive("str"):
        return _text
    wanted = kind
    if isinstance(kind, Encoded):
        return lambda data: wanted.decode(bytes(data))
    if isinstance(kind, Array):
        return lambda data: wanted.decode(data)
    if ending in JSON | MSGPACK:
        # Without a type in the way, any integer is read; a field of int has 64 bits.
        typed = _json_64 if not isinstance(kind, JsonValue) else _json
        parse = typed if ending in JSON else _wire
        # null is a value of a field that may be None.
        return lambda data: whole.decode(parse(data))
    if kind == Primitive("int"):
        return lambda data: wanted.checked(_integer(data))
    if kind == Primitive("float"):
        return _number
    if isinstance(kind, ClassLabel | IntChoice | Duration):
        return lambda data: wanted.decode(_integer(data))
    if isinstance(kind, Choice | DateTime | Simple):
        return lambda data: _of_text(wanted, _text(data))
    if kind == Primitive("bool"):
        return lambda data: wanted.decode(_json_64(data))
    raise Misfit(kind.describe(), f"a member .{ending}")


def _of_text(kind: Kind, text: str) -> Any:
    """A value of text, as it is or without the spaces and the end of line around it."""
    stripped = text.strip()
    if stripped == text:
        return kind.decode(text)
    try:
        return kind.decode(text)
    except Misfit:
        return kind.decode(stripped)


def _image(data: memoryview) -> Image:
    return Image.of(bytes(data))


def _audio(data: memoryview) -> Audio:
    return Audio.of(bytes(data))


def _text(data: memoryview) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError(f"expected text in UTF-8, found {error.object[error.start]:#x}") from None


def _integer(data: memoryview) -> int:
    try:
        # More digits than this are no 64-bit integer, and take long to parse.
        return int(bytes(data) if len(data) <= 64 else b"")
    except ValueError:
        raise Misfit("int", repr(bytes(data[:40]).decode("utf-8", "replace"))) from None


def _number(data: memoryview) -> float:
    try:
        return float(bytes(data) if len(data) <= 400 else b"")
    except ValueError:
        raise Misfit("float", repr(bytes(data[:40]).decode("utf-8", "replace"))) from None


def _json(data: memoryview) -> Any:
    raw = bytes(data)
    if text_is_deeper(raw, limits.json_nesting):
        raise DecodeError(f"JSON nested more than {limits.json_nesting} deep")
    if many := too_many_containers(raw):
        raise DecodeError(many)
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"expected JSON: {error}") from None


def _json_64(data: memoryview) -> Any:
    """As `_json`; integers of more than 64 bits are a misfit."""
    if _LONG_INTEGER.search(data):
        raw = bytes(data)
        try:
            json.loads(raw, parse_int=_integer_64)
        except (ValueError, RecursionError):
            # Told by the way below.
            pass
    return _json(data)


def _integer_64(digits: str) -> int:
    # More digits than this are no 64-bit integer, and take long to parse.
    value = int(digits) if len(digits) <= 64 else 2**64
    if not -(2**63) <= value < 2**64:
        raise Misfit("int", f"{digits[:40]}", "An integer has at most 64 bits.")
    return value


def too_many_containers(raw: bytes) -> str:
    """Why a JSON document would not be read, if it may have too many lists and objects; or ""."""
    if raw.count(b"[") + raw.count(b"{") <= limits.containers:
        return ""
    return (
        f"JSON of more than {limits.containers:,} brackets and braces; limits.containers sets how "
        "many are read"
    )


def _wire(data: memoryview) -> Any:
    value, end = unpack_value(data)
    if end != len(data):
        raise DecodeError(f"msgpack with {len(data) - end:,} bytes after it")
    return value


def _msgpack(data: memoryview) -> Any:
    if len(data) and (data[0] & 0xF0 == 0x80 or data[0] in (0xDE, 0xDF)):
        # Arrays in a map are decoded, as in a sample.
        return DictSample.to_dict(DictSample.__atdata_codec__.unpack(data))
    return _wire(data)


def _array(data: memoryview) -> Any:
    return decode_array(data)


class Unpacked:
    """What the packed members of one sample may hold together: `limits.unpacked_bytes`."""

    def __init__(self) -> None:
        self.left = limits.unpacked_bytes

    def of(self, data: memoryview) -> memoryview:
        """The content of one of them; errors as in `_unpacked`."""
        content = _unpacked(data, self.left)
        self.left -= len(content)
        return memoryview(content)


class Packed:
    """How a packed member is read.

    Args:
        decode: How its content is read.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode

    def __call__(self, data: memoryview) -> Any:
        """Read the only packed member of a sample."""
        return self.within(Unpacked())(data)

    def within(self, sample: Unpacked) -> Decode:
        """Reads one of several of the same sample."""
        return lambda data: self._decode(sample.of(data))


def _unpacked(data: memoryview, most: int) -> bytes:
    """The content of gzip, perhaps of several in a row.

    Raises:
        DecodeError: It is damaged, cut short, or has more than ``most`` bytes.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            # A read reserves as much as it is asked for.
            parts, left = [], most + 1
            while left and (part := file.read(min(left, _READ_BYTES))):
                parts.append(part)
                left -= len(part)
    except (OSError, EOFError, zlib.error) as error:
        raise DecodeError(f"expected gzip: {error}") from None
    if not left:
        raise DecodeError(
            f"compressed members of more than {limits.unpacked_bytes:,} bytes in a sample; "
            "limits.unpacked_bytes sets how much they may hold"
        )
    return b"".join(parts)
