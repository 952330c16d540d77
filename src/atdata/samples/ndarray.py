"""Array ↔ bytes: NumPy's ``.npy`` (written and read) and the compact form (read).

``.npy``: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Dtypes of the
package ml_dtypes have their names in the header, ``'descr': 'bfloat16'``, which NumPy reads where
that package is imported.

compact: u8 length of the dtype string, dtype string, u8 ndim, ndim × i64 little-endian,
raw data in C order.

Nothing is unpickled: a header whose dtype holds Python objects is refused.
"""

from __future__ import annotations

import ast
import io
import math
import re
import struct
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
from numpy.lib import format as npy

from atdata._arrays import AnyArray, Bytes
from atdata._limits import limits
from atdata._nesting import text_is_deeper
from atdata.errors import DecodeError
from atdata.samples.extension_dtypes import EXTENSION_DTYPES, extension_dtype, is_extension
from atdata.samples.wire import FOREIGN

NPY_MAGIC: Final = b"\x93NUMPY"
_COMPACT_DTYPE = re.compile(rb"[<>|=][?bBiufcSUVMmO]\d{0,9}(\[\d{0,9}[A-Za-z]{1,2}\])?")
# What NumPy writes for a plain dtype; anything else is parsed as a literal, many times slower.
_PLAIN_HEADER = re.compile(
    rb"\{'descr': '([<>|=][?bBiufcSUVMm]\d{0,9}(?:\[\d{0,9}[A-Za-z]{1,2}\])?)', "
    rb"'fortran_order': (True|False), 'shape': \(((?:\d{1,19}(?:, \d{1,19})*,?)?)\), \} *\n"
)
_LONG_OF_PYTHON_2 = re.compile(r"(?<=\d)L(?=[,)])")
_SHAPE = re.compile(r"'shape': \([\dL, ]*\)")


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """Dtype, shape and layout of an array, from the bytes before its data."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    """Whether the data are in Fortran order."""
    length: int
    """Bytes before the data."""
    data_bytes: int
    """Bytes of the data."""

    @property
    def order(self) -> Literal["C", "F"]:
        """Order of the data in memory."""
        return "F" if self.fortran else "C"


_written: dict[tuple[np.dtype[Any], tuple[int, ...]], bytes] = {}
_parsed: dict[bytes, ArrayHeader] = {}
_MOST_HEADERS: Final = 4096
_LONGEST_KEPT_BYTES: Final = 256
"""Bytes of the longest header that is cached: untrusted long ones could fill memory."""


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The ``.npy`` bytes before the data of an array in C order, magic included.

    Raises:
        ValueError: Such an array could not be read back; the message says why.
    """
    key = (dtype, shape)
    header = _written.get(key)
    if header is None:
        header = _make_header(dtype, shape)
        if len(_written) >= _MOST_HEADERS:
            _written.clear()
        _written[key] = header
    return header


def _make_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    if dtype.hasobject and dtype.kind != "T":
        raise ValueError("An array of Python objects cannot be stored; give it a dtype.")
    if not is_extension(dtype) and (unnamed := _unnamed(dtype)) is not None:
        raise ValueError(_no_name(unnamed))
    try:
        descr = dtype.name if is_extension(dtype) else npy.dtype_to_descr(dtype)
        header = _header({"descr": descr, "fortran_order": False, "shape": shape})
        back = read_header(header)
    except (ValueError, DecodeError) as error:
        raise ValueError(f"It could not be read back: {error}.") from None
    if back.dtype != dtype or back.shape != shape:
        raise ValueError(f"It would be read back as {back.dtype} {back.shape}.")
    return header


def _header(spec: dict[str, Any]) -> bytes:
    for write in (npy.write_array_header_1_0, npy.write_array_header_2_0):
        out = io.BytesIO()
        try:
            write(out, spec)
        except ValueError:  # too long for the first, not in Latin-1 for either
            continue
        return out.getvalue()
    # NumPy has no public function for version 3.
    text = repr({name: spec[name] for name in sorted(spec)}).encode()
    size = len(text) - (len(NPY_MAGIC) + 6 + len(text)) % -npy.ARRAY_ALIGN
    size += 0 if size > len(text) else npy.ARRAY_ALIGN
    return NPY_MAGIC + b"\x03\x00" + struct.pack("<I", size) + text.ljust(size - 1) + b"\n"


def _unnamed(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """The dtype, or one inside it, that ``.npy`` cannot name, since a package added it to NumPy."""
    if dtype.subdtype is not None:
        return _unnamed(dtype.subdtype[0])
    if dtype.fields is not None:
        inside = (_unnamed(field[0]) for field in dtype.fields.values())
        return next((found for found in inside if found is not None), None)
    try:
        return None if np.dtype(dtype.str) == dtype else dtype
    except TypeError:
        return dtype


def _no_name(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "T":
        return "The .npy form has no text of any length: convert it with .astype(np.str_)."
    wide = f"np.uint{8 * dtype.itemsize}"
    return (
        f"The .npy form has no name for {dtype.name}. Convert the array, for example with "
        f".astype(np.float32), or store its bits, array.view({wide}), and read them with "
        f".view({dtype.name!r})."
    )


@lru_cache(maxsize=256)
def _used(dtype: np.dtype[Any]) -> Bytes | None:
    """Mask of the bytes of an item that hold its value, shape (itemsize,); None: all do."""
    used = np.zeros(dtype.itemsize, np.uint8)
    _mark(dtype, used)
    return None if used.all() else used


def _mark(dtype: np.dtype[Any], used: Bytes) -> None:
    if dtype.subdtype is not None:
        base = dtype.subdtype[0]
        for item in used.reshape(-1, base.itemsize) if base.itemsize else ():
            _mark(base, item)
    elif dtype.fields is not None:
        for field in dtype.fields.values():
            _mark(field[0], used[field[1] : field[1] + field[0].itemsize])
    elif dtype.type in (np.longdouble, np.clongdouble):
        # x86 stores 80 bits in 16 bytes, and leaves the others as they were.
        known = 10 if np.finfo(np.longdouble).nmant == 63 else np.dtype(np.longdouble).itemsize
        for item in used.reshape(-1, np.dtype(np.longdouble).itemsize):
            part = item if dtype.isnative else item[::-1]
            part[:known] = 0xFF
    else:
        used[:] = 0xFF


def has_padding(dtype: np.dtype[Any]) -> bool:
    """Whether items of a dtype have bytes that hold no value."""
    return dtype.kind in "Vfc" and dtype.itemsize > 8 and _used(dtype) is not None


def without_padding(array: AnyArray) -> AnyArray:
    """The array in C order, with padding inside its items set to zero; a copy if it has any.

    Padding would leak old memory, and give equal arrays different bytes.
    """
    used = _used(array.dtype) if has_padding(array.dtype) else None
    if used is None:
        return array
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    clean = flat.reshape(-1, array.dtype.itemsize) & used
    return clean.reshape(-1).view(array.dtype).reshape(array.shape)


def refuse_mask(array: AnyArray) -> None:
    """Refuse a masked array: ``.npy`` has no place for the mask.

    Raises:
        ValueError: It is one.
    """
    if type(array) is np.ndarray:
        return
    # Not imported here: who has a masked array has imported numpy.ma.
    masked: Any = getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())
    if isinstance(array, masked):
        raise ValueError(
            "The mask would be lost: store array.filled(…), or data and mask as two fields."
        )


def encode_array(array: AnyArray) -> bytes:
    """An array as ``.npy`` bytes in C order. One copy of the data.

    Raises:
        ValueError: It could not be read back: it holds Python objects, has a mask, a dtype that
            ``.npy`` cannot name, too many dimensions or too long a header.
    """
    refuse_mask(array)
    return npy_header(array.dtype, array.shape) + without_padding(array).tobytes()


def parse_header(data: bytes | memoryview) -> ArrayHeader:
    """Read an array's header, in either form, and check it against the bytes of the data.

    Raises:
        DecodeError: Not a header, Python objects, or a size that is not the data's.
    """
    header = read_header(data)
    if header.data_bytes != len(data) - header.length:
        raise DecodeError(
            f"the header claims {header.dtype} {header.shape}, {header.data_bytes:,} bytes; "
            f"{len(data) - header.length:,} are there"
        )
    return header


def read_header(data: bytes | memoryview) -> ArrayHeader:
    """Read an array's header, in either form, without checking what comes after it.

    Raises:
        DecodeError: Not a header, cut short, or of Python objects.
    """
    return _npy(data) if bytes(data[:6]) == NPY_MAGIC else _compact(data)


def decode_array(data: bytes | memoryview) -> AnyArray:
    """Bytes in either form → a writable array that owns its data.

    Raises:
        DecodeError: They are not an array.
    """
    header = parse_header(data)
    count = math.prod(header.shape)
    order = header.order
    try:
        if not header.data_bytes:
            return np.empty(header.shape, header.dtype, order=order)
        flat = np.frombuffer(data, header.dtype, count, header.length)
        return flat.reshape(header.shape, order=order).copy(order="K")
    except (ValueError, OverflowError, MemoryError) as error:
        raise DecodeError(f"no array of {header.dtype} {header.shape}: {error}") from None


def is_foreign_array(wire: Any) -> bool:
    """Whether a msgpack value is an array that the package msgpack-numpy wrote, as a map."""
    return isinstance(wire, dict) and wire.keys() == FOREIGN


def decode_foreign_array(wire: dict[Any, Any]) -> AnyArray:
    """An array that msgpack-numpy wrote; writable, owns its data.

    Raises:
        DecodeError: It is damaged, or of Python objects or records.
    """
    shape, data, name = wire[b"shape"], wire[b"data"], wire[b"type"]
    if wire[b"nd"] is not True or wire[b"kind"] not in (b"", "") or not isinstance(name, str):
        raise DecodeError("an array of msgpack-numpy of Python objects or records, or damaged")
    whole = isinstance(shape, list) and all(type(n) is int and 0 <= n < 2**40 for n in shape)
    dtype = name.encode("utf-8", "replace")
    if not whole or len(shape) > 64 or len(dtype) > 64 or not isinstance(data, bytes):
        raise DecodeError("a damaged array of msgpack-numpy")
    head = struct.pack(f"<B{len(dtype)}sB{len(shape)}q", len(dtype), dtype, len(shape), *shape)
    return decode_array(head + data)


def looks_like_array(data: bytes) -> bool:
    """Whether bytes are an array in either form: a valid header, and data of just its size."""
    try:
        parse_header(data)
    except DecodeError:
        return False
    return True


def dtype_name(dtype: np.dtype[Any]) -> str:
    """The name of a dtype in a schema: ``float32``, or NumPy's code if the name loses something."""
    if is_extension(dtype):
        return dtype.name
    if dtype.kind in "mM":
        return dtype.name if np.datetime_data(dtype)[0] == "generic" else dtype.str
    if dtype.kind in "SUV":
        return dtype.name.rstrip("0123456789") if dtype.itemsize == 0 else dtype.str
    return dtype.name if dtype.isnative else dtype.str


def conversion(array: AnyArray, dtype: str) -> str:
    """How to convert an array to a field's dtype, for an error; empty if it cannot be."""
    if dtype_fits(array.dtype, dtype) or (array.dtype.kind == "c" and "complex" not in dtype):
        return ""
    unit = "[us]" if array.dtype.kind in "US" else "[s]"
    target = f"{dtype}{unit}" if dtype in ("datetime64", "timedelta64") else dtype
    try:
        converted = array.flat[:1].astype(target)
    except (TypeError, ValueError, OverflowError):
        return ""
    return f"Convert it with .astype({target!r})." if dtype_fits(converted.dtype, dtype) else ""


@lru_cache(maxsize=1024)
def dtype_fits(dtype: np.dtype[Any], name: str) -> bool:
    """Whether a dtype is the one that a schema names.

    Byte order is ignored. ``str``, ``bytes``, ``void``, ``datetime64`` and ``timedelta64`` without
    a size or unit match any size or unit.
    """
    if dtype.name == name:
        return True
    if name in EXTENSION_DTYPES:
        return False
    try:
        want = np.dtype(name)
    except TypeError:
        return False
    if want.kind in "SUVmM" and name in UNSIZED_DTYPES:
        return dtype.kind == want.kind and not is_extension(dtype)
    return dtype.newbyteorder("=") == want.newbyteorder("=")


UNSIZED_DTYPES: Final = frozenset({"str", "bytes", "void", "datetime64", "timedelta64"})
"""Names of dtypes that match any size or unit."""


def _npy(data: bytes | memoryview) -> ArrayHeader:
    start = bytes(data[:12])
    version = start[6:8]
    if version == b"\x01\x00":
        size, at = struct.unpack_from("<H", start.ljust(12, b"\0"), 8)[0], 10
    elif version in (b"\x02\x00", b"\x03\x00"):
        size, at = struct.unpack_from("<I", start.ljust(12, b"\0"), 8)[0], 12
    else:
        raise DecodeError(f"an .npy header of unknown version {tuple(version)}")
    if size > limits.array_header:
        raise DecodeError(
            f"an .npy header of {size:,} bytes; limits.array_header is {limits.array_header:,}"
        )
    if at + size > len(data):
        raise DecodeError(f"an .npy header that claims {size:,} bytes; {len(data):,} are there")
    raw = bytes(data[: at + size])
    header = _parsed.get(raw)
    if header is None:
        header = _parse_npy(raw, at)
        if len(raw) > _LONGEST_KEPT_BYTES:
            return header
        if len(_parsed) >= _MOST_HEADERS:
            _parsed.clear()
        _parsed[raw] = header
    return header


def _parse_npy(raw: bytes, at: int) -> ArrayHeader:
    if match := _PLAIN_HEADER.fullmatch(raw, at):
        dtype = _dtype(match[1].decode("ascii"))
        shape = tuple(int(part) for part in match[3].split(b",") if part.strip())
        return _checked(dtype, shape, fortran=match[2] == b"True", length=len(raw))
    encoding = "utf-8" if raw[6] == 3 else "latin-1"
    try:
        text = raw[at:].decode(encoding)
        if text_is_deeper(raw[at:], limits.sample_nesting, python=True):
            raise DecodeError(
                f"an .npy header nested too deep; limits.sample_nesting is {limits.sample_nesting}"
            )
        spec = _evaluated(text)
        if set(spec) != {"descr", "fortran_order", "shape"}:
            raise ValueError(f"keys {sorted(map(str, spec))}")
        descr, shape = spec["descr"], spec["shape"]
        named = isinstance(descr, str) and descr in EXTENSION_DTYPES
        dtype = extension_dtype(descr) if named else npy.descr_to_dtype(descr)
        if type(shape) is not tuple or any(type(n) is not int for n in shape):
            raise ValueError(f"shape {shape!r}")
    except (ValueError, TypeError, KeyError, IndexError, SyntaxError) as error:
        raise DecodeError("an .npy header that cannot be parsed") from error
    except (RecursionError, MemoryError):
        raise DecodeError("an .npy header nested too deep to be parsed") from None
    return _checked(dtype, shape, fortran=spec["fortran_order"] is True, length=len(raw))


def _evaluated(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except SyntaxError:
        # Python 2 wrote the lengths of some arrays as 3L.
        return ast.literal_eval(_SHAPE.sub(lambda shape: _LONG_OF_PYTHON_2.sub("", shape[0]), text))


def _compact(data: bytes | memoryview) -> ArrayHeader:
    size = data[0] if len(data) else 0
    descr = bytes(data[1 : 1 + size])
    if not size or not _COMPACT_DTYPE.fullmatch(descr) or len(data) < 2 + size:
        raise DecodeError("neither an .npy array nor one in the compact form")
    ndim = data[1 + size]
    length = 2 + size + 8 * ndim
    if length > len(data):
        raise DecodeError(f"an array header that claims {ndim} dimensions and is cut short")
    shape = struct.unpack_from(f"<{ndim}q", data, 2 + size)
    return _checked(_dtype(descr.decode("ascii")), shape, fortran=False, length=length)


def _dtype(text: str) -> np.dtype[Any]:
    try:
        return np.dtype(text)
    except (TypeError, ValueError) as error:
        raise DecodeError(f"an array of unknown dtype {text!r}") from error


def _checked(
    dtype: np.dtype[Any], shape: tuple[int, ...], *, fortran: bool, length: int
) -> ArrayHeader:
    if dtype.hasobject:
        raise DecodeError("an array of Python objects, which is never read")
    if len(shape) > limits.array_dimensions:
        raise DecodeError(
            f"an array of {len(shape)} dimensions; limits.array_dimensions is "
            f"{limits.array_dimensions}"
        )
    if any(n < 0 or n > 2**62 for n in shape):
        raise DecodeError(f"an array of the impossible shape {shape}")
    if dtype.kind in "SU" and not dtype.itemsize and 0 not in shape:
        # NumPy reads such items as one character each, beyond the data.
        raise DecodeError(f"an array {shape} whose items have no bytes")
    return ArrayHeader(dtype, shape, fortran, length, math.prod(shape) * dtype.itemsize)
