"""DictSample: a sample of unknown type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, ClassVar, Final
from uuid import UUID

import msgpack
import numpy as np

from atdata._limits import limits
from atdata.errors import DecodeError, EncodeError
from atdata.samples.codec import SampleCodec
from atdata.samples.hideable import hideable
from atdata.samples.kinds import DateTime, Field, Misfit, Primitive
from atdata.samples.media import Media
from atdata.samples.ndarray import (
    decode_array,
    decode_foreign_array,
    encode_array,
    is_foreign_array,
    looks_like_array,
)
from atdata.samples.packable import as_wds, same_value
from atdata.samples.packing import pack_wire
from atdata.samples.wire import check_readable, foreign_value, moment_of, timestamp_of, unpack_map


class DictSample(Mapping[str, Any]):
    """One sample without a type: a mapping whose items are also attributes.

    Bytes that hold an encoded array are decoded to an array. An `Image` or `Audio` is stored as its
    bytes, and read back as bytes; the two are equal in a sample.

    A field named like a method hides it. Reach the method through the class:
    ``DictSample.items(sample)``, ``DictSample.get(sample, "label")``.

    Example:
        >>> sample = DictSample({"label": 3})
        >>> sample.label, sample["label"]
        (3, 3)
    """

    __atdata_codec__: ClassVar[SampleCodec[Any]]
    __slots__ = ("__data__",)

    def __init__(self, data: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        self.__data__ = {**as_dict(data or {}), **fields}

    def __getitem__(self, name: str) -> Any:
        return _data(self)[name]

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("__"):
            data = _data(self)
            if name in data:
                return data[name]
        return object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            # copy, pickle and NumPy call what such names give: data must never provide it.
            raise AttributeError(f"Reach the field {name!r} as sample[{name!r}].")
        raise AttributeError(
            f"This sample has no field {name!r}. It has: {', '.join(_data(self)) or 'none'}."
        )

    def __iter__(self) -> Iterator[str]:
        return iter(_data(self))

    def __len__(self) -> int:
        return len(_data(self))

    def __contains__(self, name: object) -> bool:
        return name in _data(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DictSample):
            return NotImplemented
        return same_value(_data(self), _data(other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        inside = ", ".join(f"{k}={v!r}" for k, v in _data(self).items())
        return f"DictSample({inside})"

    def __reduce__(self) -> tuple[Any, ...]:
        return DictSample, (_data(self),)

    def to_dict(self) -> dict[str, Any]:
        """The fields as a new dict; the values are not copied."""
        return dict(_data(self))

    @hideable
    def packed(self) -> bytes:
        """The sample as msgpack bytes.

        Raises:
            EncodeError: A value of a type that no sample can hold; names the path.
        """
        return type(self).__atdata_codec__.pack(self)

    @hideable
    def as_wds(self) -> dict[str, Any]:
        """The sample as a dict for WebDataset's writers: a random ``__key__``, and ``msgpack``."""
        return as_wds(type(self).__atdata_codec__.pack(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> DictSample:
        """Read a sample from msgpack bytes.

        Raises:
            DecodeError: They are not a msgpack map with str keys.
        """
        sample: DictSample = cls.__atdata_codec__.unpack(data)
        return sample

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> DictSample:
        """A sample of these field values, which are not copied."""
        return cls(data)


# The slot's own getter, since __getattribute__ itself needs it.
_data: Callable[[DictSample], dict[str, Any]] = DictSample.__dict__["__data__"].__get__


def as_dict(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a mapping, not a copy. Its own methods may be hidden by fields."""
    if isinstance(data, DictSample):
        return _data(data)
    return data if type(data) is dict else {name: data[name] for name in data}


class _DictCodec(SampleCodec[DictSample]):
    """The codec of samples without a type: each value is encoded by its Python type."""

    untyped = True

    def __init__(self, selected: tuple[str, ...] | None = None) -> None:
        self.selected = selected
        fields: tuple[Field, ...] = ()
        super().__init__(DictSample, "atdata.DictSample", fields, {}, plain=False, positional=False)

    def pack(self, sample: DictSample) -> bytes:
        try:
            packed = pack_wire(self.to_wire(sample))
        except Misfit as misfit:
            raise EncodeError(f"{self.sample_type.__name__} {misfit}") from None
        check_readable(packed)
        return packed

    def unpack(self, payload: bytes | memoryview) -> DictSample:
        try:
            wire = unpack_map(payload)
            return self.from_wire(wire if self.selected is None else picked(wire, self.selected))
        except Misfit as misfit:
            raise DecodeError(f"{self.sample_type.__name__} {misfit}") from None
        except _Foreign:
            raise DecodeError(f"not a msgpack sample: {foreign_value(payload)}") from None

    def from_mapping(self, data: Mapping[str, Any]) -> DictSample:
        return DictSample(data)

    def checked(self, made: Any) -> DictSample:
        if not isinstance(made, Mapping):
            raise Misfit("DictSample", made)
        return made if isinstance(made, DictSample) else DictSample(made)

    def to_wire(self, sample: DictSample) -> dict[str, Any]:
        wire = {}
        for name, value in DictSample.items(sample):
            if not isinstance(name, str):
                raise Misfit("str as the name of a field", type(name).__name__)
            wire[_encode(name, " name of a field", 1)] = _encode(value, f".{name}", 1)
        return wire

    def from_wire(self, wire: dict[str, Any]) -> DictSample:
        return DictSample({name: _decode(value, 1) for name, value in wire.items()})


def picked(fields: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Some of a sample's fields.

    Raises:
        Misfit: It lacks one; lists those that it has.
    """
    for name in names:
        if name not in fields:
            shown = ", ".join(map(repr, list(fields)[:20]))
            hint = (
                'A type with a field that may be None reads samples that lack it; on_error="skip" '
                "leaves them out."
            )
            raise Misfit("a field of this name", f"the fields {shown}", hint).at(f".{name}")
    return {name: fields[name] for name in names}


@lru_cache(maxsize=64)
def selecting(names: tuple[str, ...]) -> SampleCodec[DictSample]:
    """The codec that reads only these fields."""
    return _DictCodec(names)


class _Foreign(Exception):
    """A value of another program; `foreign_value` finds out where it is."""


_DATETIME: Final = DateTime()
_AS_THEY_ARE: Final = frozenset({type(None), bool, float})
_NUMBERS_AND_TEXT: Final = (
    ((int, np.integer), Primitive("int")),
    ((float, np.float32, np.float16), Primitive("float")),
    ((str,), Primitive("str")),
)


_INSTEAD: Final[dict[type, str]] = {
    date: "value.isoformat()",
    time: "value.isoformat()",
    timedelta: "value / timedelta(seconds=1)",
    Decimal: "str(value)",
    UUID: "str(value)",
    set: "sorted(value)",
    frozenset: "sorted(value)",
}
"""Types that come back as others without a type → what to write."""


def _encode(value: Any, path: str, depth: int) -> Any:
    if depth > limits.sample_nesting:
        raise EncodeError(f"DictSample ${path}: nested more than {limits.sample_nesting} deep.")
    sort = type(value)
    if sort in _AS_THEY_ARE or (sort is str and value.isascii()):
        return value
    if sort is int and -(2**63) <= value < 2**64:
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    for sorts, kind in _NUMBERS_AND_TEXT:
        if isinstance(value, sorts):
            try:
                return kind.encode(value)
            except Misfit as misfit:
                raise misfit.at(path) from None
    if isinstance(value, bytes):
        if looks_like_array(value):
            raise EncodeError(
                f"DictSample ${path}: these bytes are an array, and would be read as one. Pass "
                "the array, np.load(io.BytesIO(…)), or write a class with a field of bytes."
            )
        return value
    if isinstance(value, Media):
        return _encode(value.bytes, path, depth)
    if isinstance(value, np.ndarray):
        try:
            return encode_array(value)
        except ValueError as error:
            raise EncodeError(f"DictSample ${path}: {error}") from None
    if isinstance(value, datetime):
        return _timestamp(value, path)
    if isinstance(value, (list, tuple)):
        return [_encode(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {
            _encode(key, path, depth): _encode(value[key], f"{path}[{key!r}]", depth + 1)
            for key in value
        }
    raise EncodeError(
        f"DictSample ${path}: expected None, bool, int, float, str, bytes, a datetime, an array, "
        f"an Image, an Audio, a list or a dict with str keys, found {type(value).__name__}."
        f"{_instead_of(value)}"
    )


def _instead_of(value: Any) -> str:
    """What to write for a value of a type that a field of a class can have; "" for others."""
    for sort, instead in _INSTEAD.items():
        if isinstance(value, sort):
            return f" Write {instead}, or a class with a field of {sort.__name__}."
    return ""


def _timestamp(value: datetime, path: str) -> msgpack.Timestamp:
    try:
        moment = datetime.fromisoformat(_DATETIME.encode(value))
    except Misfit as misfit:
        raise misfit.at(path) from None
    if moment.utcoffset() != timedelta(0):
        found = "one without a time zone" if moment.tzinfo is None else f"{moment}"
        hint = "Write value.astimezone(timezone.utc), or a class with a field of datetime."
        raise Misfit("a datetime in UTC", found, hint).at(path)
    return timestamp_of(moment)


def _decode(wire: Any, depth: int) -> Any:
    if depth > limits.sample_nesting:
        raise DecodeError(f"not a sample: nested more than {limits.sample_nesting} deep")
    if isinstance(wire, bytes):
        return decode_array(wire) if looks_like_array(wire) else wire
    if isinstance(wire, list):
        return [_decode(item, depth + 1) for item in wire]
    if isinstance(wire, dict):
        if is_foreign_array(wire):
            return decode_foreign_array(wire)
        if not all(type(key) is str for key in wire):
            raise _Foreign
        return {key: _decode(item, depth + 1) for key, item in wire.items()}
    if isinstance(wire, msgpack.Timestamp):
        try:
            return moment_of(wire)
        except DecodeError:
            raise _Foreign from None
    return wire


DictSample.__atdata_codec__ = _DictCodec()
