"""Lenses that select fields by name, without a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeAlias, TypeVar

from atdata.errors import LensError
from atdata.lenses.lens import Lens
from atdata.samples.codec import SampleCodec, codec_of
from atdata.samples.kinds import (
    Array,
    Choice,
    Field,
    FixedTuple,
    IntChoice,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Misfit,
    Nested,
    SetOf,
    TupleOf,
)
from atdata.system.forks import importing

S = TypeVar("S")
V = TypeVar("V")
Convert: TypeAlias = Callable[[Any], Any]


def field_view(
    source_type: type[S], view_type: type[V], renames: Mapping[str, str] | None = None
) -> Lens[S, V]:
    """A lens that takes each field of the view from a field of the source.

    A field fits if the kinds are equal, or if the view's is wider: an array of any dtype or length,
    or a value that may be None. Values are the source's own objects, not copies; nested samples of
    another class are built again. If no value has to be converted, the lens has `Lens.renames`.

    Args:
        source_type: The type of the source.
        view_type: The type of the view.
        renames: Field of the view → field of the source, for those with different names.

    Raises:
        LensError: Fields of the view have no counterpart; names each, and why.
    """
    renames = dict(renames or {})
    source, view = codec_of(source_type), codec_of(view_type)
    pairs, problems = _match(source, view, renames)
    if problems:
        raise LensError(
            f"{view_type.__name__} is not a plain view of {source_type.__name__}: "
            f"{'; '.join(problems)}."
        )
    getters = [(v.name, s.name, _converter(s.value_kind, v.value_kind)) for s, v in pairs]
    putters = [(s.name, v.name, _back(s, v)) for s, v in pairs]
    plain = all(convert is None for _, _, convert in getters)

    def get(sample: S) -> V:
        return view.build(
            {name: _apply(convert, getattr(sample, origin)) for name, origin, convert in getters}
        )

    def put(seen: V, sample: S) -> S:
        values = {field.name: getattr(sample, field.name) for field in source.fields}
        for name, origin, convert in putters:
            try:
                values[name] = _apply(convert, getattr(seen, origin))
            except Misfit as misfit:
                raise LensError(
                    f"{source_type.__name__} cannot take the view: {misfit.at(f'.{name}')}"
                ) from None
        return source.build(values)

    return Lens(
        source_type,
        view_type,
        get,
        put,
        name="view",
        renames={v.name: s.name for s, v in pairs} if plain else None,
        recipe=(field_view, (source_type, view_type, renames)),
    )


def view_problems(source_type: type, view_type: type) -> list[str]:
    """Why one type is not a plain view of the other, a line for each field; empty if it is."""
    return _match(codec_of(source_type), codec_of(view_type), {})[1]


def same_structure(a: type, b: type) -> bool:
    """Whether two types have equal fields in the same order, whatever the types' names."""
    one: SampleCodec[Any] = codec_of(a)
    two: SampleCodec[Any] = codec_of(b)
    return bool(one.fields) and one.fields == two.fields


def _match(
    source: SampleCodec[Any], view: SampleCodec[Any], renames: Mapping[str, str]
) -> tuple[list[tuple[Field, Field]], list[str]]:
    have = {field.name: field for field in source.fields}
    source_name, view_name = source.sample_type.__name__, view.sample_type.__name__
    pairs, problems = [], []
    if not source.fields or not view.fields:
        problems.append("a type without fields has nothing to pick from")
    for name in sorted(set(renames) - {field.name for field in view.fields}):
        problems.append(f"{view_name} has no field {name!r} to rename")
    taken: dict[str, str] = {}
    for field in view.fields:
        origin = renames.get(field.name, field.name)
        found = have.get(origin)
        if found is None:
            problems.append(f"{source_name} has no field {origin!r}")
        elif origin in taken:
            problems.append(f"{field.name!r} and {taken[origin]!r} are both {origin!r}")
        elif not found.same_unit(field) or not _fits(found.value_kind, field.value_kind):
            old, new = found.described_type, field.described_type
            problems.append(f"{origin!r} is {old} in {source_name}, {new} in {view_name}")
        else:
            taken[origin] = field.name
            pairs.append((found, field))
    return pairs, problems


def _fits(source: Kind, view: Kind) -> bool:
    """Whether each value of one kind is also one of the other, with the same meaning."""
    match source, view:
        case Maybe(a), Maybe(b):
            return _fits(a, b)
        case _, Maybe(b):
            return _fits(source, b)
        case Array(), Array():
            with importing():
                from atdata.schema.evolve import accepts
            return accepts(view, source)
        case _:
            return source == view


def _converter(source: Kind, view: Kind) -> Convert | None:
    """Converts a value to the Python class of an equal kind; None: nothing to convert."""
    match source, view:
        case Maybe(a), Maybe(b):
            return _unless_none(_converter(a, b))
        case Maybe(a), _:
            return _unless_none(_converter(a, view))
        case _, Maybe(b):
            return _converter(source, b)
        case Choice(), Choice() if source.enum is not view.enum:
            return _to_choice(view)
        case IntChoice(), IntChoice() if source.enum is not view.enum:
            return _to_choice(view)
        case Nested(), Nested() if source.python is not view.python:
            if source.python is None or view.python is None:
                raise LensError(f"No type was made of the nested sample {source.describe()}.")
            return field_view(source.python, view.python).get
        case ListOf(a), ListOf(b):
            return _over_items(_converter(a, b), list)
        case MapOf(a), MapOf(b):
            return _over_map(_converter(a, b))
        case TupleOf(a), TupleOf(b):
            return _over_items(_converter(a, b), tuple)
        case FixedTuple(), FixedTuple():
            return _over_places([*map(_converter, source.items, view.items)])
        case SetOf(a), SetOf(b):
            convert = _converter(a, b)
            if convert is None and source.python is view.python:
                return None
            return _over_items(convert or _itself, view.python)
        case _:
            return None


def _back(source: Field, view: Field) -> Convert | None:
    """Converts a value of the view back; checks it if the view is wider."""
    wider = source.value_kind != view.value_kind
    convert = _converter(view.value_kind, source.value_kind)
    if not wider:
        return convert
    check = source.value_kind.encode

    def narrow(value: Any) -> Any:
        value = _apply(convert, value)
        check(value)
        return value

    return narrow


def _to_choice(kind: Choice | IntChoice) -> Convert:
    def convert(value: Any) -> Any:
        plain = value.value if isinstance(value, Enum) else value
        return plain if kind.enum is None else kind.enum(plain)

    return convert


def _unless_none(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda value: None if value is None else convert(value)


def _over_items(convert: Convert | None, made: Convert) -> Convert | None:
    return None if convert is None else lambda values: made(map(convert, values))


def _over_places(converts: list[Convert | None]) -> Convert | None:
    if not any(converts):
        return None
    return lambda values: tuple(map(_apply, converts, values))


def _itself(value: Any) -> Any:
    return value


def _over_map(convert: Convert | None) -> Convert | None:
    if convert is None:
        return None
    return lambda values: dict(zip(values, map(convert, values.values()), strict=True))


def _apply(convert: Convert | None, value: Any) -> Any:
    return value if convert is None else convert(value)
