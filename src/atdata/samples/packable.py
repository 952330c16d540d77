"""@packable and PackableSample: a dataclass whose instances are samples."""

from __future__ import annotations

import dataclasses
import inspect
import keyword
import sys
import unicodedata
import uuid
from collections.abc import Callable, Mapping, Set
from datetime import datetime
from enum import Enum
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform, overload

import numpy as np

from atdata._arrays import AnyArray
from atdata._limits import limits
from atdata.errors import EncodeError, SampleTypeError
from atdata.samples.annotations import holds, kind_of, resolve
from atdata.samples.codec import SPECIAL, SampleCodec, defaults_of
from atdata.samples.described import doc_of, unit_of
from atdata.samples.extension_dtypes import has_nan
from atdata.samples.kinds import Field, Kind, Maybe, Primitive
from atdata.samples.media import Media
from atdata.samples.member import members_of

_RECURSIVE: Final = (
    "a class that holds itself is not supported: samples have a fixed depth. Keep the parts in a "
    "list of another class, each with the position of its parent."
)

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
    """Make a class a sample type: a dataclass whose instances can be stored and read back.

    The class becomes a dataclass, if it is not one already, and gets ``packed``, ``as_wds``,
    ``from_bytes`` and ``from_data``. Two samples are equal if their fields are: arrays by dtype,
    shape and content, NaN equal to NaN. A class that defines ``__eq__``, or has none because of
    ``@dataclass(eq=False)``, keeps that.

    A sample that is read is what was stored: neither ``__init__`` nor ``__post_init__`` runs, and
    what is not a field (an ``InitVar``, an attribute that ``__post_init__`` sets) is missing. A
    field that a stored sample lacks has its default.

    The class's docstring is the description of its schema, and `Doc` in an annotation that of a
    field.

    Args:
        cls: The class, its fields annotated.
        frozen: As for `dataclasses.dataclass`.
        kw_only: As for `dataclasses.dataclass`.

    Raises:
        SampleTypeError: A field's annotation is not supported; the message lists what is.

    Example:
        >>> @packable
        ... class Digit:
        ...     image: NDArray[np.uint8]
        ...     label: int
    """
    names = sys._getframe(1).f_locals

    def make(cls: type[T]) -> type[T]:
        if not isinstance(cls, type):
            raise SampleTypeError(
                f"@packable is for classes, found {getattr(cls, '__qualname__', repr(cls))!s:.80}, "
                f"a {type(cls).__name__}. Write the fields of a sample as a class, each annotated "
                "with its type."
            )
        return _made(cls, names, frozen=frozen, kw_only=kw_only)

    return make if cls is None else make(cls)


@dataclass_transform(field_specifiers=(dataclasses.field,))
class PackableSample:
    """Base class of sample types: deriving from it is the same as decorating with `packable`."""

    __atdata_codec__: ClassVar[SampleCodec[Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _made(cls, sys._getframe(1).f_locals)

    @property
    def packed(self) -> bytes:
        """The sample as msgpack bytes.

        Raises:
            EncodeError: A value does not fit its field.
        """
        return self.__atdata_codec__.pack(self)

    @property
    def as_wds(self) -> dict[str, Any]:
        """The sample as a dict for WebDataset's writers: a new random ``__key__``, and ``msgpack``.

        Raises:
            EncodeError: A value does not fit its field.
        """
        return as_wds(self.packed)

    @classmethod
    def from_bytes(cls: type[S], data: bytes) -> S:
        """Read a sample from the bytes of ``packed``. Arrays are writable and own their memory.

        Raises:
            DecodeError: The bytes are not a sample of this type.
        """
        sample: S = cls.__atdata_codec__.unpack(data)
        return sample

    @classmethod
    def from_data(cls: type[S], data: Mapping[str, Any]) -> S:
        """Make a sample of field values, each checked. Arrays are copied.

        As in reading, neither ``__init__`` nor ``__post_init__`` runs.

        Raises:
            EncodeError: A value does not fit, or a field has neither value nor default.
        """
        sample: S = cls.__atdata_codec__.from_mapping(data)
        return sample


def as_wds(packed: bytes) -> dict[str, Any]:
    """A packed sample as a dict for WebDataset's writers, with a new random key."""
    return {"__key__": str(uuid.uuid4()), "msgpack": packed}


def equip(cls: type, name: str, fields: tuple[Field, ...], description: str | None = None) -> None:
    """Give a dataclass its codec, the members of a sample type, and equality.

    Args:
        cls: A dataclass with these fields.
        name: Qualified name of its schema.
        fields: Its fields, in order.
        description: As for `SampleCodec`.

    Raises:
        SampleTypeError: Its instances cannot be stored by their fields.
    """
    for base in cls.__mro__[:-1]:
        made_by = base.__dict__.get("__new__")
        if made_by is not None and not isinstance(made_by, staticmethod):
            raise SampleTypeError(
                f"{cls.__qualname__} also derives from {base.__name__}, and only the fields would "
                "be stored. Make that a field."
            )
    for field in fields:
        if field.name in SPECIAL and field.value_kind != Primitive("str"):
            raise SampleTypeError(
                f"{cls.__qualname__}.{field.name}: it is a sample's key or its shard, so write "
                f"{field.name}: str."
            )
    statics = [inspect.getattr_static(cls, field.name, None) for field in fields]
    codec: SampleCodec[Any] = SampleCodec(
        cls,
        name,
        fields,
        defaults_of(cls),
        plain=bool(cls.__dictoffset__) and not any(hasattr(type(s), "__set__") for s in statics),
        positional=_stores_by_position(cls, fields),
        description=description,
    )
    parts: dict[str, Any] = {
        "__atdata_codec__": codec,
        "packed": PackableSample.packed,
        "as_wds": PackableSample.as_wds,
        "from_bytes": PackableSample.__dict__["from_bytes"],
        "from_data": PackableSample.__dict__["from_data"],
    }
    taken = [field.name for field in fields if field.name in parts]
    if taken:
        raise SampleTypeError(
            f"{cls.__qualname__}.{taken[0]}: every sample has a member of that name already. "
            "Rename the field."
        )
    for part, value in parts.items():
        setattr(cls, part, value)
    if _is_generated(cls.__dict__.get("__eq__")):
        cls.__eq__ = _equal  # type: ignore[assignment]
        if _is_generated(cls.__dict__.get("__hash__")):
            cls.__hash__ = _hash  # type: ignore[method-assign,assignment]


def _made(cls: type, names: Mapping[str, Any], **options: bool) -> type[Any]:
    """The class as a sample type."""
    if "__dataclass_fields__" not in cls.__dict__:
        annotations = cls.__dict__.get("__annotations__", {})  # noqa: RUF063 (3.14 has its own way)
        for name, annotation in annotations.items():
            if "ClassVar" not in str(annotation):
                _check_name(cls, name)
        dataclasses.dataclass(cls, **options)
        # A frozen dataclass gets a hash of its fields; arrays have no hash.
        if _is_generated(cls.__dict__.get("__hash__")):
            cls.__hash__ = None  # type: ignore[assignment]
    hints = resolve(cls, {field.name for field in dataclasses.fields(cls)}, names)
    fields = []
    for field in dataclasses.fields(cls):
        _check_name(cls, field.name)
        try:
            kind: Kind = kind_of(hints[field.name])
        except SampleTypeError as error:
            problem = _RECURSIVE if holds(hints[field.name], cls) else error
            raise SampleTypeError(f"{cls.__qualname__}.{field.name}: {problem}") from None
        optional = isinstance(kind, Maybe)
        inner = kind.kind if isinstance(kind, Maybe) else kind
        hint = hints[field.name]
        # Python 3.14 has field(doc=…).
        description = (
            field.metadata.get("description") or doc_of(hint) or getattr(field, "doc", None)
        )
        unit = field.metadata.get("unit") or unit_of(hint)
        members = members_of(hint) or ()
        fields.append(Field(field.name, inner, optional, description, unit, members))
    equip(cls, f"{cls.__module__}.{cls.__name__}", tuple(fields), _description_of(cls))
    return cls


def _description_of(cls: type) -> str | None:
    """The docstring of a class, if it has one of its own that a schema can hold."""
    doc = cls.__dict__.get("__doc__")
    # Without one, dataclasses write the class's signature.
    if not isinstance(doc, str) or doc.startswith(f"{cls.__name__}("):
        return None
    text = inspect.cleandoc(doc)
    if len(text) > limits.text:
        text = text.partition("\n\n")[0]
    fits = 0 < len(text) <= limits.text and not any("\ud800" <= c <= "\udfff" for c in text)
    return text if fits else None


def name_problem(name: str) -> str | None:
    """Why Python could not keep the value of a field of this name; None if it could."""
    if not name.isidentifier() or keyword.iskeyword(name):
        return "is not a name that Python code can use"
    if name.startswith("__") and name not in SPECIAL:
        return "is reserved by Python, or changed inside a class"
    plain = unicodedata.normalize("NFKC", name)
    return None if plain == name else f"would become {plain!r} in Python"


def _check_name(cls: type, name: str) -> None:
    if problem := name_problem(name):
        raise SampleTypeError(f"{cls.__qualname__}: the field {name!r:.80} {problem}. Rename it.")


def _stores_by_position(cls: type, fields: tuple[Field, ...]) -> bool:
    """Whether calling a class with its values in order only stores them."""
    code: Any = getattr(cls.__init__, "__code__", None)  # type: ignore[misc]
    return (
        _is_generated(cls.__init__)  # type: ignore[misc]
        and code.co_varnames[1 : code.co_argcount] == tuple(field.name for field in fields)
        and not hasattr(cls, "__post_init__")
        and type(cls).__call__ is type.__call__
        and all(getattr(cls, n) is getattr(object, n) for n in ("__new__", "__setattr__"))
    )


def _is_generated(method: Any) -> bool:
    """Whether `dataclasses.dataclass` made a method; only its qualified name shows that."""
    code = getattr(method, "__code__", None)
    return code is not None and code.co_qualname.startswith("__create_fn__.")


def _equal(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return all(
        same_value(getattr(self, field.name), getattr(other, field.name))
        for field in dataclasses.fields(self)
        if field.compare
    )


def _hash(self: Any) -> int:
    values = (
        getattr(self, field.name)
        for field in dataclasses.fields(self)
        if (field.compare if field.hash is None else field.hash)
    )
    # NaN equals NaN here, while its own hash depends on the object.
    return hash(tuple("nan" if isinstance(v, float) and v != v else v for v in values))


def same_value(a: Any, b: Any) -> bool:
    """Whether two field values are equal: arrays by dtype, shape and content; NaN to NaN; lists
    to tuples; datetimes by their moment; Enum members to their values; encoded media to their
    bytes; nested samples to the dicts that they can be written as.
    """
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and _same_array(a, b)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same_value, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same_value(a[k], b[k]) for k in a)
    if isinstance(a, Media) != isinstance(b, Media):
        return bool(getattr(a, "bytes", a) == getattr(b, "bytes", b))
    if isinstance(a, Set) and isinstance(b, Set):
        return set(map(_plain, a)) == set(map(_plain, b))
    if isinstance(a, Enum) != isinstance(b, Enum):
        return bool(getattr(a, "value", a) == getattr(b, "value", b))
    if isinstance(a, Mapping) != isinstance(b, Mapping):
        return _is_given_by(a, b) if isinstance(b, Mapping) else _is_given_by(b, a)
    if isinstance(a, float) and isinstance(b, float) and a != a:
        return b != b
    if isinstance(a, datetime) and isinstance(b, datetime) and a != b:
        return _same_moment(a, b)
    return bool(a == b)


def _plain(item: Any) -> Any:
    """An item of a set, Enum members as their values."""
    if isinstance(item, tuple):
        return tuple(map(_plain, item))
    return item.value if isinstance(item, Enum) else item


def _is_given_by(sample: Any, values: Mapping[str, Any]) -> bool:
    """Whether a mapping of values, written in place of a nested sample, gives that sample."""
    codec = getattr(type(sample), "__atdata_codec__", None)
    try:
        return codec is not None and bool(codec.from_mapping(values) == sample)
    except EncodeError:
        return False


def _same_array(a: AnyArray, b: AnyArray) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.names:
        return all(_same_array(a[name], b[name]) for name in a.dtype.names)
    nan = a.dtype.kind in "fcmM" or has_nan(a.dtype)
    return bool(np.array_equal(a, b, equal_nan=nan))


def _same_moment(a: datetime, b: datetime) -> bool:
    """Python never calls a time in a repeated hour equal to one of another zone; this does."""
    of_a, of_b = a.utcoffset(), b.utcoffset()
    if of_a is None or of_b is None:
        return False
    return a.replace(tzinfo=None) - b.replace(tzinfo=None) == of_a - of_b
