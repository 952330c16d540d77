"""Schema → sample type, from data only: no source text is run, nothing is imported."""

from __future__ import annotations

import copyreg
import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal, Optional, Union, cast
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from atdata._protocols import Packable
from atdata.errors import SampleTypeError, SchemaError, UnknownKindError
from atdata.samples.described import Shape
from atdata.samples.kinds import (
    PRIMITIVES,
    Array,
    Choice,
    ClassLabel,
    DateTime,
    Encoded,
    Field,
    FixedTuple,
    IntChoice,
    Json,
    JsonValue,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Nested,
    OneOf,
    Primitive,
    SetOf,
    Simple,
    TupleOf,
    Unknown,
)
from atdata.samples.media import MEDIA
from atdata.samples.packable import equip
from atdata.schema.checks import check_identifier, check_limits, known_dtype
from atdata.schema.model import Schema
from atdata.system.forks import ForkLock

CACHE_SIZE: Final = 256
"""Unused types that are kept. A type in use is always found again."""


class _BuiltType(type):
    """The class of the types made here; see `_reduce`."""


class _Built(metaclass=_BuiltType):
    __atdata_schema__: ClassVar[Schema]


_lock = ForkLock()
_alive: WeakValueDictionary[Hashable, type] = WeakValueDictionary()
_recent: OrderedDict[Hashable, type] = OrderedDict()


def build_type(schema: Schema) -> type[Packable]:
    """Make the sample type that a schema describes.

    The type is a dataclass with the schema's fields and qualified name, so that `schema_of` gives
    the same name and fields. An optional field defaults to None; a required field after an
    optional one is keyword-only. A nested sample becomes such a type, too, and an Enum a Literal.

    Equal schemas, nested names and descriptions included, give the same class, from any thread.
    The types can be pickled: another process builds them from the schema again.

    Raises:
        UnknownKindError: A field has a kind that this version does not know.
        SchemaError: A name that Python cannot use, or a schema over the limits: by default 1,000
            fields a type, 10,000 in all, nested 32 deep.
    """
    check_limits(schema.name, schema.fields)
    with _lock:
        return cast(type[Packable], _build(schema))


def _build(schema: Schema) -> type:
    key = (schema.name, schema.description, _key_of_fields(schema.fields))
    made = _alive.get(key)
    if made is None:
        made = _make(schema)
        _alive[key] = made
    _recent[key] = made
    _recent.move_to_end(key)
    if len(_recent) > CACHE_SIZE:
        _recent.popitem(last=False)
    return made


def _make(schema: Schema) -> type:
    check_identifier(schema.class_name, schema.name)
    bare = tuple(dataclasses.replace(f, kind=_without_python(f.kind)) for f in schema.fields)
    fields = tuple(
        dataclasses.replace(f, kind=_with_types(f.kind, f"{schema.name}.{f.name}"))
        for f in schema.fields
    )
    specs, after_optional = [], False
    for f in fields:
        check_identifier(f.name, f"{schema.name}.{f.name:.80}")
        metadata = {"description": f.description, "unit": f.unit}
        spec: Any
        if f.optional:
            spec = dataclasses.field(default=None, metadata=metadata)
        else:
            spec = dataclasses.field(kw_only=after_optional, metadata=metadata)
        after_optional = after_optional or f.optional
        specs.append((f.name, _annotation(f.value_kind), spec))
    namespace = {
        "__doc__": schema.description or f"{schema.name}, made from its schema.",
        "__atdata_schema__": Schema(schema.name, schema.version, bare, schema.description),
    }
    # Safe although dataclasses generate source: every name in it is a checked identifier.
    made = dataclasses.make_dataclass(
        schema.class_name, specs, bases=(_Built,), namespace=namespace
    )
    module = schema.name.rpartition(".")[0]
    if module:
        made.__module__ = module
    try:
        equip(made, schema.name, fields, description=schema.description)
    except SampleTypeError as error:
        raise SchemaError(
            f"{schema.name}: {error} No type can be made of this schema as it is; "
            "read the data as atdata.DictSample."
        ) from None
    return made


def _reduce(cls: type) -> str | tuple[Any, ...]:
    """Pickle a type that no module has as its schema."""
    schema = cls.__dict__.get("__atdata_schema__")
    return (build_type, (schema,)) if schema is not None else cls.__qualname__


copyreg.pickle(cast(Any, _BuiltType), cast(Any, _reduce))


def _key_of_fields(fields: tuple[Field, ...]) -> Hashable:
    return tuple(
        (f.name, f.optional, f.description, f.unit, f.members, _key(f.kind)) for f in fields
    )


def _key(kind: Kind) -> Hashable:
    """The identity of a kind: unlike ``==`` on kinds, it includes the names of nested types."""
    match kind:
        case Nested():
            return kind.name, kind.version, kind.description, _key_of_fields(kind.fields)
        case IntChoice(_, names):
            return kind, names
        case _ if inside := kind.parts():
            return type(kind), *map(_key, inside)
        case _:
            return kind


def _without_python(kind: Kind) -> Kind:
    if not isinstance(kind, Nested):
        return _converted(kind, _without_python)
    inside = (dataclasses.replace(f, kind=_without_python(f.kind)) for f in kind.fields)
    return Nested(kind.name, tuple(inside), None, kind.version, kind.description)


def _with_types(kind: Kind, where: str) -> Kind:
    """The kind, with a type built for each nested sample."""
    match kind:
        case Nested():
            made = _build(Schema.of_nested(kind))
            inner = cast(Any, made).__atdata_codec__.fields
            return Nested(kind.name, inner, made, kind.version, kind.description)
        case Unknown():
            raise UnknownKindError(
                f"{where} has the kind {kind.name!r:.80}, which this version of atdata does "
                "not know. Read the data as atdata.DictSample, or upgrade atdata."
            )
        case Array(dtype) if dtype is not None and known_dtype(dtype) is None:
            raise UnknownKindError(
                f"{where} is an array of {dtype!r:.80}, which NumPy {np.__version__} does not "
                "know. Read the data as atdata.DictSample."
            )
        case _:
            return _converted(kind, lambda inner: _with_types(inner, where))


def _converted(kind: Kind, convert: Callable[[Kind], Kind]) -> Kind:
    """The kind with the kind inside it converted, and without the class of an Enum."""
    match kind:
        case Choice(values):
            return Choice(values)
        case IntChoice(values, names):
            return IntChoice(values, names)
        case SetOf(items):
            return SetOf(convert(items))
        case _:
            return kind.with_parts(convert)


def _annotation(kind: Kind) -> Any:
    match kind:
        case Primitive(name):
            return PRIMITIVES[name]
        case DateTime():
            return datetime
        case JsonValue():
            return Json
        case ClassLabel():
            return Annotated[int, kind]
        case Choice(values) | IntChoice(values):
            return cast(Any, Literal)[values]
        case Simple():
            return kind.python
        case TupleOf(items):
            return cast(Any, tuple)[_annotation(items), ...]
        case FixedTuple(places):
            return cast(Any, tuple)[tuple(map(_annotation, places))]
        case SetOf(items):
            return cast(Any, set)[_annotation(items)]
        case OneOf(several):
            return cast(Any, Union)[tuple(map(_annotation, several))]
        case Array(dtype, shape, axes) if axes is not None and shape is not None:
            named = Shape(*(name or n for name, n in zip(axes, shape, strict=True)))
            return Annotated[_annotation(Array(dtype)), named]
        case Array(dtype, shape):
            known = None if dtype is None else known_dtype(dtype)
            scalar: Any = Any if known is None else known.type
            if shape is None:
                return NDArray[scalar]
            dims = tuple(int if n is None else cast(Any, Literal)[n] for n in shape)
            return cast(Any, np.ndarray)[cast(Any, tuple)[dims], cast(Any, np.dtype)[scalar]]
        case Encoded(name):
            return MEDIA[name]
        case ListOf(inner):
            return list[_annotation(inner)]  # type: ignore[misc]
        case MapOf(inner):
            return dict[str, _annotation(inner)]  # type: ignore[misc]
        case Maybe(inner):
            return Optional[_annotation(inner)]  # noqa: UP045 (built at run time)
        case Nested():
            return kind.python
        case _:
            raise UnknownKindError(f"{kind.describe()} has no annotation.")
