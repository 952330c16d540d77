"""Value → msgpack bytes: one function a kind, for the fields of a sample.

Integers take nine bytes whatever their value, so that the fields behind them stand at the
same place in every sample, which lets many of them be read at once. Everything else is what
msgpack's own packer writes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgpack
import numpy as np

from atdata.samples.kinds import Array, Kind, Maybe, Misfit, Primitive
from atdata.samples.ndarray import npy_header

Packer: TypeAlias = Callable[[Any], bytes]
"""Packs one value, checked. Raises Misfit."""

NIL: Final = b"\xc0"
INT: Final = b"\xd3"
UNSIGNED: Final = b"\xcf"
FLOAT: Final = b"\xcb"
BOOLS: Final = (b"\xc2", b"\xc3")
_STR_HEADS: Final = tuple(
    bytes([0xA0 | size]) if size < 32 else bytes([0xD9, size]) for size in range(256)
)
_BIN_FORMS: Final = ((1 << 8, 0xC4, ">BB"), (1 << 16, 0xC5, ">BH"), (1 << 32, 0xC6, ">BI"))
_KNOWN_HEADS: Final = 4096


def packer_of(kind: Kind) -> Packer:
    """How values of a kind are packed."""
    match kind:
        case Primitive("int"):
            return _pack_int
        case Primitive("float"):
            return _pack_float
        case Primitive("bool"):
            return _pack_bool
        case Primitive("str"):
            return _pack_str
        case Primitive("bytes"):
            return _pack_bytes
        case Array():
            return _array_packer(kind)
        case Maybe(inner):
            pack = packer_of(inner)
            return lambda value: NIL if value is None else pack(value)
        case _:
            return lambda value: pack_wire(kind.encode(value))


def map_head(count: int) -> bytes:
    """What a map of so many pairs begins with."""
    if count < 16:
        return bytes([0x80 | count])
    return struct.pack(">BH", 0xDE, count) if count < 1 << 16 else struct.pack(">BI", 0xDF, count)


def map_key(name: str) -> bytes:
    """A key of a map."""
    raw = name.encode("utf-8")
    return str_head(len(raw)) + raw


def str_head(size: int) -> bytes:
    """What a str of so many bytes begins with.

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
    """What bytes begin with.

    Raises:
        Misfit: They are too many.
    """
    for below, code, form in _BIN_FORMS:
        if size < below:
            return struct.pack(form, code, size)
    _check_length(size)
    return b""


def array_head(kind: Array, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """What an array in C order begins with, up to its data.

    Raises:
        Misfit: No array of this dtype and shape is of the kind, or it cannot be stored.
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
    """Values as msgpack takes them, packed by msgpack."""
    return msgpack.packb(wire, use_bin_type=True)  # type: ignore[no-any-return]


_INT_KIND: Final = Primitive("int")
_FLOAT_KIND: Final = Primitive("float")
_BOOL_KIND: Final = Primitive("bool")
_STR_KIND: Final = Primitive("str")
_BYTES_KIND: Final = Primitive("bytes")
_DOUBLE: Final = struct.Struct(">Bd").pack


def _pack_int(value: Any) -> bytes:
    if type(value) is not int:
        value = _INT_KIND.encode(value)
    try:
        return INT + value.to_bytes(8, "big", signed=True)  # type: ignore[no-any-return]
    except OverflowError:
        return UNSIGNED + _INT_KIND.encode(value).to_bytes(8, "big")  # type: ignore[no-any-return]


def _pack_float(value: Any) -> bytes:
    if type(value) is not float:
        value = _FLOAT_KIND.encode(value)
    return _DOUBLE(0xCB, value)


def _pack_bool(value: Any) -> bytes:
    return BOOLS[value if type(value) is bool else _BOOL_KIND.encode(value)]


def _pack_str(value: Any) -> bytes:
    if type(value) is not str:
        value = _STR_KIND.encode(value)
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raw = _STR_KIND.encode(value).encode()  # raises, and says why
    return str_head(len(raw)) + raw  # type: ignore[no-any-return]


def _pack_bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        value = _BYTES_KIND.encode(value)
    return bin_head(len(value)) + value  # type: ignore[no-any-return]


def _array_packer(kind: Array) -> Packer:
    heads: dict[tuple[np.dtype[Any], tuple[int, ...]], bytes] = {}

    def pack(value: Any) -> bytes:
        if type(value) is not np.ndarray:
            return pack_wire(kind.encode(value))
        key = value.dtype, value.shape
        head = heads.get(key)
        if head is None:
            data = kind.encode(value)
            if not value.flags.c_contiguous and value.flags.f_contiguous:
                return bin_head(len(data)) + data
            if len(heads) >= _KNOWN_HEADS:
                heads.clear()
            head = heads[key] = array_head(kind, *key)
        elif value.ndim > 1 and not value.flags.c_contiguous and value.flags.f_contiguous:
            data = kind.encode(value)
            return bin_head(len(data)) + data
        return head + value.tobytes()

    return pack
