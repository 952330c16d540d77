"""Python annotations → kinds."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Mapping, Set
from dataclasses import replace
from datetime import datetime
from enum import Enum, Flag
from typing import Annotated, Any, Final, Literal, Union

import numpy as np

from atdata._limits import limits
from atdata.errors import SampleTypeError
from atdata.samples.described import Shape, is_axis_name
from atdata.samples.extension_dtypes import EXTENSION_DTYPES, extension_dtype
from atdata.samples.kinds import (
    PRIMITIVES,
    SIMPLE,
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
    Nested,
    Primitive,
    SetOf,
    TupleOf,
    is_hashable,
    one_of,
)
from atdata.samples.media import MEDIA
from atdata.samples.ndarray import dtype_name, npy_header

SUPPORTED: Final = (
    "str, int, float, bool, bytes, NDArray, NDArray[np.float32] and the like, list[T], "
    "dict[str, T], tuple[T, ...], tuple[T, U], set[T], datetime, date, time, timedelta, Decimal, "
    'UUID, Literal["a", "b"], an Enum of str or int, Annotated[int, ClassLabel("a", "b")], Json, '
    "Image, Audio, a packable class, int | str and other unions of JSON kinds, T | None"
)
_INSTEAD: Final[dict[type, str]] = {
    np.timedelta64: "timedelta",  # which is a np.integer, too
    np.bool_: "bool",
    np.integer: "int",
    np.floating: "float",
    np.str_: "str",
    np.bytes_: "bytes",
    np.datetime64: "datetime",
    Flag: "int",
    list: "list[T], such as list[int]",
    tuple: "tuple[T, ...], such as tuple[int, ...], or tuple[int, str]",
    set: "set[T], such as set[str]",
    frozenset: "frozenset[T], such as frozenset[str]",
    dict: "dict[str, T], such as dict[str, int], or dict[str, Any] for JSON; its keys are str",
    object: "Json, for any JSON value",
    ClassLabel: 'Annotated[int, ClassLabel("cat", "dog")]',
    bytearray: "bytes",
}
"""Types that cannot be a field → what holds their values; the first that fits counts."""
_TO_NUMPY: Final = {
    "torch": "tensor.numpy(force=True)",
    "tensorflow": "tensor.numpy()",
    "jax": "np.asarray(array)",
    "jaxlib": "np.asarray(array)",
    "cupy": "array.get()",
    "mlx": "np.asarray(array)",
}
"""Package of an array class → how its values become NumPy arrays. None is imported."""
_MEDIA_NAMES: Final = {cls: name for name, cls in MEDIA.items()}
_SIMPLE_CLASSES: Final[dict[type, Kind]] = {kind.python: kind for kind in SIMPLE.values()}
_PRIMITIVE_NAMES: Final = {cls: name for name, cls in PRIMITIVES.items()}


def resolve(cls: type, fields: Set[str], names: Mapping[str, Any]) -> dict[str, Any]:
    """The annotations of a class's fields, inherited ones included, strings turned into types.

    Args:
        cls: The class that is being made a sample type.
        fields: Names of its fields; other annotations, such as a ClassVar, are ignored.
        names: Local names where the class statement is.

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
            except RecursionError:
                raise SampleTypeError(f"{cls.__qualname__}.{name}: {_too_deep()}") from None
            except (TypeError, SyntaxError) as error:
                raise SampleTypeError(
                    f"{cls.__qualname__}.{name}: the annotation {annotation!r} is not a type: "
                    f"{error}. Supported: {SUPPORTED}."
                ) from None
    return hints


def kind_of(annotation: Any, *, depth: int = 1) -> Kind:
    """The kind of an annotation.

    Args:
        annotation: A field's, or one inside it.
        depth: How deep it is nested: 1 for a field's.

    Raises:
        SampleTypeError: It is not supported, and the message lists what is; or it is nested more
            than ``limits.nesting`` deep.
    """
    if depth > limits.nesting:
        raise SampleTypeError(_too_deep())
    if annotation is Any:
        return JsonValue()
    if _is_jaxtyping(annotation):
        return _jaxtyping(annotation)
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return _kind_of_class(annotation, depth)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    # A subscripted alias has the __value__ of the alias itself, so its origin comes first.
    if alias := getattr(origin, "__value__", None):  # type X[T] = …, as NDArray in NumPy 2.5
        return kind_of(alias[args], depth=depth)
    if alias := getattr(annotation, "__value__", None):  # type X = …
        return kind_of(alias, depth=depth)
    if origin is Annotated:
        return _annotated(args[0], args[1:], depth)
    if origin is np.ndarray:
        return _array(annotation, args)
    if origin in (Union, types.UnionType):
        return _union(args, depth)
    if origin is list and args:
        return ListOf(kind_of(args[0], depth=depth + 1))
    if origin is dict and args and args[0] is str:
        return MapOf(kind_of(args[1], depth=depth + 1))
    if origin is tuple and annotation is not typing.Tuple:  # noqa: UP006 (without items)
        return _tuple(args, depth)
    if origin in (set, frozenset) and args:
        return _set(origin, args[0], depth)
    if origin is Literal and all(type(arg) is str for arg in args):
        return Choice(tuple(args))
    if origin is Literal and all(type(arg) is int for arg in args):
        return _int_choice(tuple(args), None)
    raise _unsupported(annotation)


def _union(args: tuple[Any, ...], depth: int) -> Kind:
    rest = [arg for arg in args if arg is not type(None)]
    inner = depth + 1 if len(rest) < len(args) else depth
    if len(rest) == 1:
        return Maybe(kind_of(rest[0], depth=inner))
    found = one_of(kind_of(arg, depth=inner + 1) for arg in rest)
    if isinstance(found, str):
        shown = " | ".join(getattr(arg, "__name__", str(arg)) for arg in rest)
        raise SampleTypeError(
            f"{shown} is not supported as a field: {found}. Supported: {SUPPORTED}."
        )
    return Maybe(found) if len(rest) < len(args) else found


def _tuple(args: tuple[Any, ...], depth: int) -> Kind:
    if len(args) == 2 and args[1] is Ellipsis:
        return TupleOf(kind_of(args[0], depth=depth + 1))
    if len(args) > limits.fields:
        raise SampleTypeError(
            f"A tuple of {len(args):,} items: limits.fields is {limits.fields:,}."
        )
    return FixedTuple(tuple(kind_of(arg, depth=depth + 1) for arg in args))


def _set(python: Any, item: Any, depth: int) -> Kind:
    kind = SetOf(kind_of(item, depth=depth + 1), python)
    if not is_hashable(kind.items):
        raise SampleTypeError(
            f"{kind.describe()} is not supported as a field: Python's sets cannot hold "
            f"{kind.items.describe()}; write list[T]. Supported: {SUPPORTED}."
        )
    return kind


def _int_choice(values: tuple[int, ...], enum: type[Enum] | None) -> IntChoice:
    if any(abs(value) >= 2**53 for value in values):
        raise SampleTypeError(
            "A choice of integers of more than 53 bits is not supported as a field, since no "
            f"schema could hold it: write int. Supported: {SUPPORTED}."
        )
    return IntChoice(values, None if enum is None else tuple(m.name for m in enum), enum)


def _annotated(annotation: Any, notes: tuple[Any, ...], depth: int) -> Kind:
    for note in notes:
        if isinstance(note, ClassLabel):
            numbers = kind_of(annotation, depth=depth)
            if numbers == Primitive("int"):
                return note
            if numbers == Maybe(Primitive("int")):
                return Maybe(note)
            shown = getattr(annotation, "__name__", annotation)
            raise SampleTypeError(
                f"ClassLabel numbers classes, and is written as an int, not as {shown}: write "
                'Annotated[int, ClassLabel("cat", "dog")], or Literal["cat", "dog"] for a str.'
            )
        if note is ClassLabel:
            raise SampleTypeError(
                'ClassLabel needs the names of the classes: write Annotated[int, ClassLabel("cat", '
                '"dog")].'
            )
        if isinstance(note, Kind):
            return note
    kind = kind_of(annotation, depth=depth)
    for note in notes:
        if isinstance(note, Shape):
            kind = _shaped(kind, note)
        elif note is Shape or (_holds_array(kind) and _is_axes(note)):
            axes = note if isinstance(note, tuple) else ("h", "w", 3)
            shown = ", ".join("..." if axis is ... else repr(axis) for axis in axes)
            raise SampleTypeError(
                f"The shape of an array is written Annotated[…, atdata.Shape({shown})], found "
                f"{note!r:.80}."
            )
    return kind


def _is_axes(note: object) -> bool:
    """Whether this is a shape as a plain tuple."""
    return isinstance(note, tuple) and all(
        axis is None or axis is ... or isinstance(axis, int | str) for axis in note
    )


def _holds_array(kind: Kind) -> bool:
    return isinstance(kind, Array) or (isinstance(kind, Maybe) and _holds_array(kind.kind))


def _shaped(kind: Kind, shape: Shape) -> Kind:
    """An array's kind with a shape."""
    if isinstance(kind, Maybe):
        return Maybe(_shaped(kind.kind, shape))
    if not isinstance(kind, Array):
        raise SampleTypeError(
            f"{shape!r} is for an array, not for {kind.describe()}. Write it around the array: "
            f"Annotated[NDArray[np.float32], {shape!r}]."
        )
    if kind.shape is not None and (kind.shape, kind.axes) != (shape.lengths, shape.names):
        raise SampleTypeError(
            f"{shape!r}: the array has another shape already, {kind.describe()}. Give one of them."
        )
    return Array(kind.dtype, shape.lengths, shape.names)


def holds(annotation: Any, cls: type) -> bool:
    """Whether an annotation is this class, or contains it."""
    return annotation is cls or any(holds(arg, cls) for arg in typing.get_args(annotation))


def _kind_of_class(cls: type, depth: int) -> Kind:
    if cls in _PRIMITIVE_NAMES:
        return Primitive(_PRIMITIVE_NAMES[cls])
    if cls in _MEDIA_NAMES:
        return Encoded(_MEDIA_NAMES[cls])
    if cls is np.ndarray:
        return Array()
    if cls is datetime:
        return DateTime()
    if cls in _SIMPLE_CLASSES:
        return _SIMPLE_CLASSES[cls]
    if issubclass(cls, Enum) and not issubclass(cls, Flag):
        values = [member.value for member in cls]
        if values and all(type(value) is int for value in values):
            return _int_choice(tuple(values), cls)
        if values and all(isinstance(value, str) for value in values):
            return Choice(tuple(str.__str__(value) for value in values), cls)
    if codec := cls.__dict__.get("__atdata_codec__"):
        if depth + codec.depth > limits.nesting:
            raise SampleTypeError(_too_deep())
        return Nested(codec.name, codec.fields, cls, description=codec.description)
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
    # Abstract types such as np.floating convert to a dtype, with a warning, but are none.
    if dtype.hasobject:
        raise SampleTypeError(
            "An array of Python objects, of dtype object, is not supported as a field: name the "
            "dtype of its values, such as NDArray[np.float32], or write list[T]. "
            f"Supported: {SUPPORTED}."
        )
    if dtype.type is not scalar and dtype.name != "void":
        raise _unsupported(annotation)
    return _array_of(dtype, shape)


def _array_of(dtype: np.dtype[Any], shape: tuple[int | None, ...] | None) -> Array:
    try:
        npy_header(dtype, (0,))
    except ValueError as error:
        raise SampleTypeError(f"Arrays of {dtype.name} cannot be stored. {error}") from None
    if shape is not None and len(shape) > limits.array_dimensions:
        raise SampleTypeError(
            f"An array of {len(shape)} dimensions: limits.array_dimensions is "
            f"{limits.array_dimensions}."
        )
    return Array(dtype_name(dtype), shape)


def _too_deep() -> str:
    return f"nested more than {limits.nesting} deep; limits.nesting sets how deep a type may be."


def _is_jaxtyping(annotation: Any) -> bool:
    """Whether an annotation is of the package jaxtyping, which is not imported."""
    return isinstance(annotation, type) and all(
        name in annotation.__dict__ for name in ("array_type", "dim_str", "dtypes")
    )


def _jaxtyping(annotation: Any) -> Array:
    """``Float32[np.ndarray, "batch 3"]``: a dtype, and a shape as of `Shape`."""
    shown = annotation.__name__
    if annotation.array_type is not np.ndarray:
        raise SampleTypeError(
            f"{shown}: a sample holds NumPy arrays: write "
            f"{shown.partition('[')[0]}[np.ndarray, {annotation.dim_str!r}]."
            f"{_converted_by(annotation.array_type)}"
        )
    axes = annotation.dim_str.split()
    several = [axis for axis in axes if axis.startswith("*") or "..." in axis]
    if several and len(axes) > 1:
        raise SampleTypeError(
            f"{shown}: {several[0]!r} stands for any number of axes, so there can be no other. "
            'Write "..." alone, or a name for each axis.'
        )
    shape = _jaxtyping_shape(axes) if not several else Shape(...)
    if not isinstance(annotation.dtypes, (tuple, list)):
        return Array(None, shape.lengths, shape.names)
    found: set[np.dtype[Any]] = set()
    for name in annotation.dtypes:
        try:
            # bool_ is NumPy's own name for bool.
            plain = name.removesuffix("_")
            found.add(extension_dtype(plain) if plain in EXTENSION_DTYPES else np.dtype(plain))
        except TypeError:
            found.add(np.dtype(object))
    if len(found) != 1 or np.dtype(object) in found:
        raise SampleTypeError(
            f"{shown}: a field has one dtype that NumPy knows, such as Float32, or any, which "
            "is Shaped."
        )
    return replace(_array_of(found.pop(), shape.lengths), axes=shape.names)


def _jaxtyping_shape(axes: list[str]) -> Shape:
    """Axes as jaxtyping writes them: ``3``, ``channels=3``, ``batch``, ``_`` for any length."""
    found: list[int | str | None] = []
    for axis in axes:
        length = axis.rpartition("=")[2]
        if length.isdecimal():
            found.append(int(length))
        else:
            # Others, such as #batch, which may be 1, or n-1, are not checked.
            found.append(axis if is_axis_name(axis) and not axis.startswith("_") else None)
    return Shape(*found)


def _unsupported(annotation: Any) -> SampleTypeError:
    shown = annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
    return SampleTypeError(
        f"{shown} is not supported as a field{_instead_of(annotation)}. Supported: {SUPPORTED}."
    )


def _converted_by(cls: object) -> str:
    """How values of another library's array class become NumPy arrays; "" for other classes."""
    home = str(getattr(cls, "__module__", "")).partition(".")[0]
    call = _TO_NUMPY.get(home)
    return "" if call is None else f" Store {call}, which is a NumPy array."


def _instead_of(annotation: Any) -> str:
    """``": write int"`` for a type that a supported one can stand for; "" for any other."""
    cls = typing.get_origin(annotation) or annotation
    if isinstance(cls, ClassLabel):
        cls = ClassLabel
    if not isinstance(cls, type):
        return ""
    if hint := _converted_by(cls):
        return f": write NDArray[np.float32] or the like.{hint} Dataset.to_torch gives tensors"
    for unfit, fit in _INSTEAD.items():
        if cls is unfit or (issubclass(cls, np.generic | Flag) and issubclass(cls, unfit)):
            return f": write {fit}"
    return ""
