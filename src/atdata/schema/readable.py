"""Whether samples of a schema can be read as a class: one that cannot is an error at once."""

from __future__ import annotations

from operator import eq
from typing import Any

from atdata.samples.codec import SampleCodec, codec_of
from atdata.samples.dict_sample import DictSample
from atdata.samples.kinds import (
    Array,
    Choice,
    ClassLabel,
    DateTime,
    Encoded,
    Field,
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
    Simple,
    TupleOf,
    Unknown,
)
from atdata.samples.ndarray import dtype_fits
from atdata.schema.checks import known_dtype
from atdata.schema.model import Schema


def why_unreadable(schema: Schema, sample_type: type) -> str | None:
    """Why no sample of a schema can be read as a class; None if some may be.

    Unlike `compare`, this allows what the values decide: a str that has to be one of a few, or an
    optional field read as one that is not.

    Returns:
        The path of the first field that cannot be read, and both of its kinds.
    """
    if sample_type is DictSample:
        return None
    codec: SampleCodec[Any] = codec_of(sample_type)
    return _of_fields(codec.fields, set(codec.defaults), schema.fields, "$")


def _of_fields(
    new: tuple[Field, ...], with_default: set[str], old: tuple[Field, ...], path: str
) -> str | None:
    stored = {field.name: field for field in old}
    for field in new:
        where = f"{path}.{field.name}"
        have = stored.get(field.name)
        if have is None:
            if field.name not in with_default:
                return f"{where}: expected {field.kind.describe()}, and no such field is recorded"
            continue
        if not field.same_unit(have):
            return f"{where}: expected {field.described_type}, recorded as {have.described_type}"
        found = _of_kinds(field.value_kind, have.value_kind, where)
        if found is not None:
            return found
    return None


def _of_kinds(new: Kind, old: Kind, path: str) -> str | None:
    match new, old:
        case Maybe(), Maybe():
            return None
        case (Maybe(inner), _):
            return _of_kinds(inner, old, path)
        case (_, Maybe(inner)):
            return _of_kinds(new, inner, path)
        case (ListOf(one), ListOf(other)) | (MapOf(one), MapOf(other)):
            return _of_kinds(one, other, f"{path}[]")
        case Nested(), Nested():
            defaults = set(codec_of(new.python).defaults) if new.python is not None else set()
            return _of_fields(new.fields, defaults, old.fields, path)
    if _may_fit(new, old):
        return None
    return f"{path}: expected {new.describe()}, recorded as {old.describe()}"


def _may_fit(new: Kind, old: Kind) -> bool:
    match new, old:
        case (Unknown(), _) | (_, Unknown()):
            return True
        case Choice(values), Choice(others):
            return not set(values).isdisjoint(others)
        case IntChoice(numbers), IntChoice(others):
            return not set(numbers).isdisjoint(others)
        case ClassLabel(names), ClassLabel(before):
            # Another name at the same number: labels would be taken for another class.
            return all(map(eq, names, before))
        case Array(), Array():
            return _arrays_may_fit(new, old)
        case FixedTuple(), FixedTuple():
            return len(new.items) == len(old.items)
        case _:
            wanted = {"int", *_forms(new)} if "float" in _forms(new) else _forms(new)
            return not wanted.isdisjoint(_forms(old))


def _forms(kind: Kind) -> set[str]:
    """What values of a kind may be on the wire."""
    match kind:
        case Primitive(name):
            return {name}
        case Choice() | DateTime():
            return {"str"}
        case Simple():
            return {kind.on_wire.__name__}
        case ClassLabel() | IntChoice():
            return {"int"}
        case Array() | Encoded():
            return {"bytes"}
        case ListOf() | TupleOf() | FixedTuple() | SetOf():
            return {"list"}
        case MapOf() | Nested():
            return {"map"}
        case JsonValue():
            return {"bool", "int", "float", "str", "list", "map"}
        case _:
            return {form for part in kind.parts() for form in _forms(part)}


def _arrays_may_fit(new: Array, old: Array) -> bool:
    have = None if old.dtype is None else known_dtype(old.dtype)
    want = None if new.dtype is None else known_dtype(new.dtype)
    # A dtype without size or unit may have those of the other.
    if (
        have is not None
        and want is not None
        and not dtype_fits(have, str(new.dtype))
        and not dtype_fits(want, str(old.dtype))
    ):
        return False
    if new.shape is None or old.shape is None:
        return True
    return len(new.shape) == len(old.shape) and all(
        one is None or other is None or one == other
        for one, other in zip(new.shape, old.shape, strict=True)
    )
