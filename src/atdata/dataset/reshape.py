"""Sample types with fields renamed, left out or added, and how samples become these."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from atdata._secrets import redacted_repr
from atdata.dataset.reading.results import name_of_function
from atdata.dataset.reading.selecting import select_step
from atdata.dataset.reading.steps import Map, Step, View
from atdata.errors import AtdataError, OptionError, SampleTypeError
from atdata.lenses.lens import Lens
from atdata.lenses.views import field_view
from atdata.samples.codec import SampleCodec, codec_of
from atdata.samples.dict_sample import DictSample, as_dict
from atdata.samples.kinds import Field
from atdata.samples.packable import packable
from atdata.schema.build import build_type
from atdata.schema.model import Schema


def renamed(sample_type: type, names: Mapping[str, str]) -> tuple[Step, type]:
    """The step that gives fields new names, and the type that it makes.

    Args:
        sample_type: Type of the samples.
        names: Old name → new name.

    Raises:
        OptionError: No such field, or two fields of one name.
    """
    if not names or not all(isinstance(name, str) for pair in names.items() for name in pair):
        raise OptionError(f"rename({dict(names)!r:.80}): expected rename(old='new').")
    if sample_type is DictSample:
        return Map(_Renamed(dict(names)), DictSample, "rename"), DictSample
    fields = _fields(sample_type, "rename", names)
    after = [names.get(field.name, field.name) for field in fields]
    double = next((name for name in after if after.count(name) > 1), None)
    if double is not None:
        raise OptionError(f"rename: {sample_type.__name__} would have two fields {double!r}.")
    made = _type(
        sample_type,
        [dataclasses.replace(f, name=name) for f, name in zip(fields, after, strict=True)],
        "rename",
    )
    return View(field_view(sample_type, made, {new: old for old, new in names.items()})), made


def dropped(sample_type: type, names: tuple[str, ...]) -> tuple[Step, type]:
    """The step that leaves fields out, and the type that it makes.

    Raises:
        OptionError: No such field, or none would be left.
    """
    if not names or not all(isinstance(name, str) for name in names):
        raise OptionError(f"drop({', '.join(map(repr, names)):.80}): expected names of fields.")
    if sample_type is DictSample:
        return Map(_Dropped(names), DictSample, "drop"), DictSample
    fields = _fields(sample_type, "drop", names)
    left = tuple(field.name for field in fields if field.name not in names)
    if not left:
        raise OptionError(f"drop: {sample_type.__name__} has no other field.")
    step = select_step(sample_type, left, None, type_is_known=True)
    return step, step.sample_type


def extended(
    sample_type: type, name: str, function: Callable[[Any], Any], annotation: Any
) -> tuple[Step, type]:
    """The step that adds a field, or replaces one, and the type that it makes.

    Args:
        sample_type: Type of the samples.
        name: The field.
        function: Gives its value.
        annotation: Its type; None: what the function's return annotation says.

    Raises:
        OptionError: Nothing says the type, or it is none that a field can have.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise OptionError(f"with_column({name!r:.80}): expected the name of a field.")
    if sample_type is DictSample:
        return Map(_Extended(name, function, None), DictSample, "with_column"), DictSample
    added = _field(name, function, annotation)
    fields = [added if f.name == name else f for f in _fields(sample_type, "with_column", ())]
    fields += [] if added in fields else [added]
    others = [field for field in fields if field is not added]
    lens: Lens[Any, Any] | None = None
    if others:
        lens = field_view(sample_type, _type(sample_type, others, "with_column"))
    made = _type(sample_type, fields, "with_column")
    return Map(_Extended(name, function, lens), made, "with_column"), made


@redacted_repr
@dataclass(frozen=True, slots=True)
class _Renamed:
    names: Mapping[str, str]

    def __call__(self, sample: DictSample) -> dict[str, Any]:
        found = as_dict(sample)
        _check(found, self.names, "rename")
        return {self.names.get(name, name): value for name, value in found.items()}


@redacted_repr
@dataclass(frozen=True, slots=True)
class _Dropped:
    names: tuple[str, ...]

    def __call__(self, sample: DictSample) -> dict[str, Any]:
        found = as_dict(sample)
        _check(found, self.names, "drop")
        return {name: value for name, value in found.items() if name not in self.names}


@redacted_repr
@dataclass(frozen=True, slots=True)
class _Extended:
    name: str
    func: Callable[[Any], Any]
    lens: Lens[Any, Any] | None
    """Gives the other fields of a sample; None: the sample is a dict."""

    def __call__(self, sample: Any) -> dict[str, Any]:
        if isinstance(sample, DictSample):
            found = dict(as_dict(sample))
        else:
            seen = None if self.lens is None else self.lens.get(sample)
            fields = () if self.lens is None else codec_of(self.lens.view_type).fields
            found = {field.name: getattr(seen, field.name) for field in fields}
        return {**found, self.name: self.func(sample)}


def _check(found: Mapping[str, Any], names: Any, verb: str) -> None:
    for name in names:
        if name not in found:
            raise OptionError(
                f"{verb}: a sample has no field {name!r:.80}. It has: {', '.join(found)}."
            )


def _fields(sample_type: type, verb: str, names: Any) -> list[Field]:
    codec: SampleCodec[Any] = codec_of(sample_type)
    for name in names:
        if name not in codec.by_name:
            raise OptionError(
                f"{verb}: {sample_type.__name__} has no field {name!r:.80}. It has: "
                f"{', '.join(codec.by_name)}."
            )
    return list(codec.fields)


def _field(name: str, function: Callable[[Any], Any], annotation: Any) -> Field:
    if annotation is None:
        try:
            annotation = typing.get_type_hints(function, include_extras=True).get("return")
        except (NameError, TypeError):
            annotation = None
    if annotation is None:
        raise OptionError(
            f"with_column({name!r}): nothing says of which type it is. Annotate what "
            f"{name_of_function(function)} returns, or pass it: with_column({name!r}, function, "
            "float)."
        )
    try:
        made: type = packable(dataclasses.make_dataclass("Column", [(name, annotation)]))
    except (AtdataError, TypeError, ValueError) as error:
        raise OptionError(f"with_column({name!r}): {error}") from None
    return codec_of(made).by_name[name]


def _type(sample_type: type, fields: list[Field], verb: str) -> type:
    codec: SampleCodec[Any] = codec_of(sample_type)
    try:
        schema = Schema(f"{codec.name}View", "1.0.0", tuple(fields), codec.description, None)
        return build_type(schema)
    except AtdataError as error:
        raise SampleTypeError(f"{verb}: {error}") from None
