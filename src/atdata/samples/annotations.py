"""Python annotations → kinds, the reading side of the type table."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Mapping, Set
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union

import numpy as np

from atdata.errors import SampleTypeError
from atdata.samples.kinds import (
    PRIMITIVES,
    Array,
    Choice,
    DateTime,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Nested,
    Primitive,
)
from atdata.samples.ndarray import dtype_name

SUPPORTED: Final = (
    "str, int, float, bool, bytes, NDArray, NDArray[np.float32] and the like, list[T], "
    'dict[str, T], datetime, Literal["a", "b"], an Enum of str, a packable class, T | None'
)
_PRIMITIVE_NAMES: Final = {cls: name for name, cls in PRIMITIVES.items()}


def resolve(cls: type, fields: Set[str], names: Mapping[str, Any]) -> dict[str, Any]:
    """The annotations of a class's fields, inherited ones included, strings turned into types.

    Args:
        cls: The class that is being made a sample type.
        fields: Names of its fields; other annotations, such as a ClassVar, are left alone.
        names: Local names at the place of the class statement.

    Raises:
        SampleTypeError: A name in an annotation is not defined.
    """
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        annotations = base.__dict__.get("__annotations__", {})  # noqa: RUF063 (3.14 has its own way)
        module = vars(sys.modules.get(base.__module__, types.ModuleType("")))
        scope = {**names, base.__name__: base}
        for name in fields & annotations.keys():
            annotation = annotations[name]
            holder = types.SimpleNamespace(__annotations__={name: annotation})
            try:
                hints.update(typing.get_type_hints(holder, module, scope, include_extras=True))
            except NameError as error:
                raise SampleTypeError(
                    f"{cls.__qualname__}.{name}: the annotation {annotation!r} names something "
                    f"that is not defined here: {error}. Define or import it before the class."
                ) from None
            except (TypeError, SyntaxError) as error:
                raise SampleTypeError(
                    f"{cls.__qualname__}.{name}: the annotation {annotation!r} is not a type: "
                    f"{error}. Supported: {SUPPORTED}."
                ) from None
    return hints


def kind_of(annotation: Any) -> Kind:
    """The kind of an annotation.

    Raises:
        SampleTypeError: It is not supported; the message says which are.
    """
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return _kind_of_class(annotation)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    # A subscripted alias passes __value__ on from the alias itself: look at its origin first.
    if alias := getattr(origin, "__value__", None):  # type X[T] = …, as NDArray in NumPy 2.5
        return kind_of(alias[args])
    if alias := getattr(annotation, "__value__", None):  # type X = …
        return kind_of(alias)
    if origin is Annotated:
        return kind_of(args[0])
    if origin is np.ndarray:
        return _array(annotation, args)
    if origin in (Union, types.UnionType):
        rest = [arg for arg in args if arg is not type(None)]
        if len(rest) == 1 and len(args) == 2:
            return Maybe(kind_of(rest[0]))
    if origin is list:
        return ListOf(kind_of(args[0]))
    if origin is dict and args[0] is str:
        return MapOf(kind_of(args[1]))
    if origin is Literal and all(type(arg) is str for arg in args):
        return Choice(tuple(args))
    raise _unsupported(annotation)


def _kind_of_class(cls: type) -> Kind:
    if cls in _PRIMITIVE_NAMES:
        return Primitive(_PRIMITIVE_NAMES[cls])
    if cls is np.ndarray:
        return Array()
    if cls is datetime:
        return DateTime()
    if issubclass(cls, Enum):
        values = [member.value for member in cls]
        if values and all(isinstance(value, str) for value in values):
            return Choice(tuple(str.__str__(value) for value in values), cls)
    if codec := cls.__dict__.get("__atdata_codec__"):
        return Nested(codec.name, codec.fields, cls)
    raise _unsupported(cls)


def _array(annotation: Any, args: tuple[Any, ...]) -> Array:
    shape_arg, dtype_arg = args
    scalar = (typing.get_args(dtype_arg) or (Any,))[0]
    dims = typing.get_args(shape_arg)
    shape = None
    if dims and dims[-1] is not Ellipsis:
        shape = tuple(
            int(typing.get_args(dim)[0]) if typing.get_origin(dim) is Literal else None
            for dim in dims
        )
    if scalar is Any or isinstance(scalar, typing.TypeVar):
        return Array(None, shape)
    try:
        dtype = np.dtype(scalar)
    except TypeError:
        raise _unsupported(annotation) from None
    # np.dtype(np.floating) is float64 with a warning of old: a family is not a dtype.
    if dtype.hasobject or (dtype.type is not scalar and dtype.name != "void"):
        raise _unsupported(annotation)
    return Array(dtype_name(dtype), shape)


def _unsupported(annotation: Any) -> SampleTypeError:
    shown = annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
    return SampleTypeError(f"{shown} is not supported as a field. Supported: {SUPPORTED}.")
