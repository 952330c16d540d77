"""Value → msgpack bytes: a function for each kind of field.

An integer always takes nine bytes, so that the fields after it are at the same place in every
sample, and many samples can be read at once. Everything else is what msgpack's own packer writes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgpack
import numpy as np

from atdata.samples.kinds import (
    Array,
    ClassLabel,
    Encoded,
    IntChoice,
    Kind,
    Maybe,
    Misfit,
    Primitive,
    Simple,
)
from atdata.samples.ndarray import has_padding, npy_header

Packer: TypeAlias = Callable[[Any, list[Any]], None]
"""Checks a value, packs it, and appends its bytes to a list, as bytes or as arrays of uint8 that
are views of the value's memory. Raises Misfit."""

NIL: Final = b"\xc0"
INT: Final = b"\xd3"
UNSIGNED: Final = b"\xcf"
FLOAT: Final = b"\xcb"
BOOLS: Final = (b"\xc2", b"\xc3")
_STR_HEADS: Final = tuple(
    bytes([0xA0 | size]) if size < 32 else bytes([0xD9, size]) for size in range(256)
)
_BIN_FORMS: Final = ((1 << 8, 0xC4, ">BB"), (1 << 16, 0xC5, ">BH"), (1 << 32, 0xC6, ">BI"))
_MOST_HEADS: Final = 4096
_VIEWED_BYTES: Final = 4096
"""Bytes from which on a view of an array is cheaper than a copy."""


def packer_of(kind: Kind, before: bytes = b"") -> Packer:
    """How to pack values of a kind.

    Args:
        kind: The kind.
        before: The bytes before each value: the key of its field.
    """
    match kind:
        case Primitive("int"):
            return _int_packer(before)
        case ClassLabel() | IntChoice():
            return _coded_packer(kind, before)
        case Simple() if kind.on_wire is int:
            return _coded_packer(kind, before)
        case Primitive("float"):
            return _float_packer(before)
        case Primitive("bool"):
            return _bool_packer(before)
        case Primitive("str"):
            return _str_packer(before)
        case Primitive("bytes"):
            return _bytes_packer(before)
        case Array():
            return _array_packer(kind, before)
        case Encoded():
            return _encoded_packer(kind, before)
        case Maybe(inner):
            return _maybe_packer(inner, before)
        case _:
            encode = kind.encode
            return lambda value, out: out.append(before + pack_wire(encode(value)))


def map_head(count: int) -> bytes:
    """The first bytes of a map with this many pairs."""
    if count < 16:
        return bytes([0x80 | count])
    return struct.pack(">BH", 0xDE, count) if count < 1 << 16 else struct.pack(">BI", 0xDF, count)


def map_key(name: str) -> bytes:
    """A key of a map."""
    raw = name.encode("utf-8")
    return str_head(len(raw)) + raw


def str_head(size: int) -> bytes:
    """The first bytes of a str with this many bytes.

    Raises:
        Misfit: It is too long.
    """
    if size < 256:
        return _STR_HEADS[size]
    if size < 1 << 16:
        return struct.pack(">BH", 0xDA, size)
    _check_length(size)
    return struct.pack(">BI", 0xDB, size)


def bin_head(size: int) -> bytes:
    """The first bytes of a bin with this many bytes.

    Raises:
        Misfit: It is too long.
    """
    for below, code, form in _BIN_FORMS:
        if size < below:
            return struct.pack(form, code, size)
    _check_length(size)
    return b""


def array_head(kind: Array, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The bytes of a packed array in C order before its data.

    Raises:
        Misfit: Such an array cannot be stored.
    """
    try:
        header = npy_header(dtype, shape)
    except ValueError as error:
        raise Misfit(kind.describe(), f"{dtype} {shape}", str(error)) from None
    size = dtype.itemsize
    for length in shape:
        size *= length
    return bin_head(len(header) + size) + header


def _check_length(size: int) -> None:
    if size >= 1 << 32:
        raise Misfit("at most 4 GiB", f"{size:,} bytes")


def pack_wire(wire: Any) -> bytes:
    """Plain values packed by msgpack.

    Raises:
        Misfit: Text, bytes, a list or a map is too long.
    """
    try:
        return msgpack.packb(wire, use_bin_type=True)  # type: ignore[no-any-return]
    except (ValueError, OverflowError) as error:
        raise Misfit("what msgpack can hold", str(error)) from None


_INT_KIND: Final = Primitive("int")
_FLOAT_KIND: Final = Primitive("float")
_BOOL_KIND: Final = Primitive("bool")
_STR_KIND: Final = Primitive("str")
_BYTES_KIND: Final = Primitive("bytes")


def _int_packer(before: bytes) -> Packer:
    head = before + INT
    signed = struct.Struct(f">{len(head)}sq").pack

    def pack(value: Any, out: list[Any]) -> None:
        if type(value) is not int:
            value = _INT_KIND.encode(value)
        try:
            out.append(signed(head, value))
        except struct.error:
            # Does not fit int64; encode refuses what does not fit uint64 either.
            out.append(before + UNSIGNED + _INT_KIND.encode(value).to_bytes(8, "big"))

    return pack


def _coded_packer(kind: Kind, before: bytes) -> Packer:
    """For a kind that is an integer on the wire."""
    encode, pack_int = kind.encode, _int_packer(before)
    return lambda value, out: pack_int(encode(value), out)


def _float_packer(before: bytes) -> Packer:
    head = before + FLOAT
    double = struct.Struct(f">{len(head)}sd").pack

    def pack(value: Any, out: list[Any]) -> None:
        out.append(double(head, value if type(value) is float else _FLOAT_KIND.encode(value)))

    return pack


def _bool_packer(before: bytes) -> Packer:
    both = [before + packed for packed in BOOLS]

    def pack(value: Any, out: list[Any]) -> None:
        out.append(both[value if type(value) is bool else _BOOL_KIND.encode(value)])

    return pack


def _str_packer(before: bytes) -> Packer:
    heads = [before + head for head in _STR_HEADS]

    def pack(value: Any, out: list[Any]) -> None:
        if type(value) is not str:
            value = _STR_KIND.encode(value)
        try:
            raw = value.encode()
        except UnicodeEncodeError:
            raw = _STR_KIND.encode(value).encode()  # raises, and says why
        size = len(raw)
        out.append((heads[size] if size < 256 else before + str_head(size)) + raw)

    return pack


def _bytes_packer(before: bytes) -> Packer:
    def pack(value: Any, out: list[Any]) -> None:
        if type(value) is not bytes:
            value = _BYTES_KIND.encode(value)
        out.append(before + bin_head(len(value)))
        out.append(value)

    return pack


def _encoded_packer(kind: Encoded, before: bytes) -> Packer:
    def pack(value: Any, out: list[Any]) -> None:
        data = kind.encode(value)
        out.append(before + bin_head(len(data)))
        out.append(data)

    return pack


def _maybe_packer(kind: Kind, before: bytes) -> Packer:
    pack_value, optional = packer_of(kind, before), Maybe(kind)
    nil = before + NIL

    def pack(value: Any, out: list[Any]) -> None:
        if value is None:
            out.append(nil)
            return
        try:
            pack_value(value, out)
        except Misfit:
            optional.encode(value)  # its error says more
            raise

    return pack


def _array_packer(kind: Array, before: bytes) -> Packer:
    heads: dict[tuple[np.dtype[Any], tuple[int, ...]], bytes] = {}

    def pack(value: Any, out: list[Any]) -> None:
        if type(value) is not np.ndarray:
            out.append(before + pack_wire(kind.encode(value)))
            return
        key = value.dtype, value.shape
        head = heads.get(key)
        if head is None:
            kind.check(value)
            if has_padding(value.dtype):
                out.append(before + pack_wire(kind.encode(value)))
                return
            if len(heads) >= _MOST_HEADS:
                heads.clear()
            head = heads[key] = before + array_head(kind, *key)
        out.append(head)
        if value.nbytes < _VIEWED_BYTES or not value.flags.c_contiguous:
            out.append(value.tobytes())
        else:
            out.append(value.reshape(-1).view(np.uint8))

    return pack
