"""@packable and PackableSample: a dataclass whose instances are samples."""

from __future__ import annotations

import dataclasses
import sys
import uuid
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar, dataclass_transform, overload

import numpy as np

from atdata.errors import SampleTypeError
from atdata.samples.annotations import kind_of, resolve
from atdata.samples.codec import SampleCodec, defaults_of
from atdata.samples.kinds import Field, Kind, Maybe

T = TypeVar("T")
S = TypeVar("S", bound="PackableSample")


@overload
def packable(cls: type[T], /) -> type[T]: ...
@overload
def packable(*, frozen: bool = False, kw_only: bool = False) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(field_specifiers=(dataclasses.field,))
def packable(
    cls: type[T] | None = None, /, *, frozen: bool = False, kw_only: bool = False
) -> type[T] | Callable[[type[T]], type[T]]:
    """Make a class a sample type: a dataclass that can be stored and read back.

    The class becomes a dataclass (if it is not one already) and gets ``packed``, ``as_wds``,
    ``from_bytes`` and ``from_data``; two samples are equal when their fields are, arrays by
    dtype, shape and content.

    Args:
        cls: The class, its fields annotated.
        frozen: As for `dataclasses.dataclass`.
        kw_only: As for `dataclasses.dataclass`.

    Raises:
        SampleTypeError: A field's annotation is not supported; says which are.

    Example:
        >>> @packable
        ... class Digit:
        ...     image: NDArray[np.uint8]
        ...     label: int
    """
    names = sys._getframe(1).f_locals

    def make(cls: type[T]) -> type[T]:
        made = cls
        if "__dataclass_fields__" not in cls.__dict__:
            made = dataclasses.dataclass(cls, frozen=frozen, kw_only=kw_only, eq=False)
        _equip(made, names)
        return made

    return make if cls is None else make(cls)


@dataclass_transform(field_specifiers=(dataclasses.field,))
class PackableSample:
    """Base of sample types made by inheritance; the same as decorating with `packable`."""

    __atdata_codec__: ClassVar[SampleCodec[Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(cls, eq=False)
        _equip(cls, sys._getframe(1).f_locals)

    @property
    def packed(self) -> bytes:
        """The sample as msgpack bytes.

        Raises:
            EncodeError: A value does not fit its field.
        """
        return self.__atdata_codec__.pack(self)

    @property
    def as_wds(self) -> dict[str, Any]:
        """The sample as WebDataset writers take it: a fresh ``__key__``, and ``msgpack``."""
        return {"__key__": str(uuid.uuid4()), "msgpack": self.packed}

    @classmethod
    def from_bytes(cls: type[S], data: bytes) -> S:
        """Read a sample from the bytes that ``packed`` gave.

        Raises:
            DecodeError: The bytes are not a sample of this type.
        """
        sample: S = cls.__atdata_codec__.unpack(data)
        return sample

    @classmethod
    def from_data(cls: type[S], data: Mapping[str, Any]) -> S:
        """Make a sample of field values, each checked. Arrays are copied.

        Raises:
            EncodeError: A value does not fit, or a field has neither value nor default.
        """
        sample: S = cls.__atdata_codec__.from_mapping(data)
        return sample


def equip(cls: type, name: str, fields: tuple[Field, ...]) -> None:
    """Give a dataclass its codec and the members of a sample type.

    Args:
        cls: A dataclass with these fields.
        name: Qualified name that its schema carries.
        fields: Its fields, in order.
    """
    own_init = "__post_init__" in dir(cls) or not _init_is_generated(cls)
    slots = any("__slots__" in base.__dict__ for base in cls.__mro__[:-1])
    codec: SampleCodec[Any] = SampleCodec(
        cls, name, fields, defaults_of(cls), plain=not own_init and not slots
    )
    members: dict[str, Any] = {
        "__atdata_codec__": codec,
        "packed": PackableSample.packed,
        "as_wds": PackableSample.as_wds,
        "from_bytes": PackableSample.__dict__["from_bytes"],
        "from_data": PackableSample.__dict__["from_data"],
    }
    taken = [field.name for field in fields if field.name in members]
    if taken:
        raise SampleTypeError(
            f"{cls.__qualname__}.{taken[0]}: every sample has a member of that name already. "
            "Rename the field."
        )
    for member, value in members.items():
        setattr(cls, member, value)
    if "__eq__" not in cls.__dict__:
        cls.__eq__ = _equal  # type: ignore[assignment]
        if "__hash__" not in cls.__dict__ or cls.__dict__["__hash__"] is None:
            cls.__hash__ = None  # type: ignore[assignment]


def _equip(cls: type, names: Mapping[str, Any]) -> None:
    hints = resolve(cls, {field.name for field in dataclasses.fields(cls)}, names)
    fields = []
    for field in dataclasses.fields(cls):
        if not field.init:
            raise SampleTypeError(
                f"{cls.__qualname__}.{field.name}: a field with init=False cannot be read back."
            )
        try:
            kind: Kind = kind_of(hints[field.name])
        except SampleTypeError as error:
            raise SampleTypeError(f"{cls.__qualname__}.{field.name}: {error}") from None
        optional = isinstance(kind, Maybe)
        inner = kind.kind if isinstance(kind, Maybe) else kind
        description = field.metadata.get("description")
        fields.append(Field(field.name, inner, optional, description))
    equip(cls, f"{cls.__module__}.{cls.__name__}", tuple(fields))


def _init_is_generated(cls: type) -> bool:
    params = getattr(cls, "__dataclass_params__", None)
    code = getattr(cls.__init__, "__code__", None)  # type: ignore[misc]
    return bool(params and params.init and code and code.co_filename == "<string>")


def _equal(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return all(
        same_value(getattr(self, field.name), getattr(other, field.name))
        for field in self.__atdata_codec__.fields
    )


def same_value(a: Any, b: Any) -> bool:
    """Whether two field values are the same: arrays by dtype, shape and content, NaN as NaN."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
            return False
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fcmM"))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_value, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_value(a[k], b[k]) for k in a)
    if isinstance(a, float) and isinstance(b, float) and a != a:
        return b != b
    return bool(a == b)
