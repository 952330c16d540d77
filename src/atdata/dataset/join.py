"""Dataset.join: which fields the samples of two datasets have together, and of what type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from atdata.dataset.reading.matched import Matched, OnMissing, Pairing
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.recorded_type import recorded_type
from atdata.dataset.verbs import Verbs
from atdata.errors import OptionError, SampleTypeError, UnknownKindError
from atdata.samples.codec import SPECIAL, check_sample_type, codec_of
from atdata.samples.dict_sample import DictSample
from atdata.samples.kinds import Field
from atdata.schema.build import build_type
from atdata.schema.model import Schema


def join(
    left: Verbs[Any],
    other: Verbs[Any] | str | Path | Sequence[str | Path],
    as_type: type | None,
    *,
    on_missing: OnMissing,
    prefix: str,
) -> tuple[type, Matched]:
    """The type of joined samples, of which ``as_type`` is a view, and what they are read from.

    Arguments and errors are those of `Dataset.join`.

    Raises:
        SampleTypeError: No type says which fields of ``as_type`` come from which dataset.
    """
    if on_missing not in get_args(OnMissing):
        raise OptionError(f'on_missing={on_missing!r:.80}: expected "raise", "skip" or "none".')
    if not isinstance(prefix, str):
        raise OptionError(f"prefix={prefix!r:.80}: expected a str, such as 'other_'.")
    left = left._whole()
    if isinstance(other, Verbs):
        right = other._whole()
    else:
        shards = PositionedShards.of(other)
        right = left._reading(_recorded(shards), shards)
    if as_type is not None and as_type is not DictSample:
        check_sample_type(as_type)
        left, right = _typed(left, right, as_type, prefix)
        if not _is_typed(left) or not _is_typed(right):
            raise SampleTypeError(
                f"join(…, as_type={as_type.__name__}): which fields come from which dataset is "
                "open: neither has a type, or one without a type is not whole shards as stored "
                "(some were taken, mapped or filtered). Open it as Dataset[SomeType](…)."
            )
    if as_type is not DictSample and _is_typed(left) and _is_typed(right):
        pairing = _pairing(left, right, prefix, optional=on_missing == "none")
    else:
        pairing = Pairing(DictSample, {}, {}, prefix)
    return pairing.sample_type, Matched(left, right, pairing, on_missing)


def _recorded(shards: PositionedShards) -> type:
    """The type that is recorded next to shards, if one is."""
    try:
        return recorded_type(shards.source) or DictSample
    except UnknownKindError:
        return DictSample


def _is_typed(dataset: Verbs[Any]) -> bool:
    return dataset.sample_type is not DictSample and dataset._type_is_known


def _typed(
    left: Verbs[Any], right: Verbs[Any], as_type: type, prefix: str
) -> tuple[Verbs[Any], Verbs[Any]]:
    """Both datasets; one without a type is read as the fields that only the other type lacks."""
    wanted = codec_of(as_type).fields
    if _is_typed(left) and not _is_typed(right):
        have = set(codec_of(left.sample_type).by_name)
        rest = [
            replace(field, name=field.name.removeprefix(prefix))
            for field in wanted
            if field.name not in have
        ]
        return left, _read_as(right, rest, as_type)
    if _is_typed(right) and not _is_typed(left):
        have = {prefix + name for name in codec_of(right.sample_type).by_name}
        return _read_as(left, [f for f in wanted if f.name not in have], as_type), right
    return left, right


def _read_as(dataset: Verbs[Any], fields: Sequence[Field], as_type: type) -> Verbs[Any]:
    """Stored samples without a type, read as some fields of a type."""
    origin = dataset._origin
    if not isinstance(origin, PositionedShards) or not dataset._steps.is_plain or not fields:
        return dataset
    part: Any = build_type(Schema(f"{codec_of(as_type).name}Part", "1.0.0", tuple(fields)))
    return dataset._reading(part, origin)


def _pairing(left: Verbs[Any], right: Verbs[Any], prefix: str, *, optional: bool) -> Pairing:
    """The fields of both types.

    Raises:
        OptionError: Both have a field of one name.
    """
    own = codec_of(left.sample_type)
    others = codec_of(right.sample_type)
    more = [field for field in others.fields if field.name not in SPECIAL]
    names = {prefix + field.name: field.name for field in more}
    twice = [name for name in names if name in own.by_name]
    if twice:
        raise OptionError(
            f"{own.sample_type.__name__} and {others.sample_type.__name__} both have "
            f"{', '.join(map(repr, twice))}. Name those of the other dataset with prefix='other_', "
            "or read it as a type without them."
        )
    added = [
        replace(field, name=name, optional=field.optional or optional)
        for name, field in zip(names, more, strict=True)
    ]
    name = f"{own.name}With{others.sample_type.__name__}"
    made = build_type(Schema(name, "1.0.0", (*own.fields, *added)))
    return Pairing(made, {field.name: field.name for field in own.fields}, names, prefix)
