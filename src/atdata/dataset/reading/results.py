"""Results of functions given to map(): checked if a type is declared."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from atdata.errors import EncodeError, SampleTypeError
from atdata.samples.codec import codec_of, is_sample_type
from atdata.samples.dict_sample import DictSample
from atdata.samples.kinds import Misfit
from atdata.samples.pickling import defined_again


def checked_results(
    function: Callable[..., Any],
    made: list[Any],
    declared: type,
    keys: Sequence[str],
    *,
    verb: str = "map",
) -> list[Any]:
    """What a function returned, as samples of the type that was declared.

    A mapping with the fields of the type becomes a sample of it, whose arrays are not copied.

    Args:
        function: The function, for errors.
        made: What it returned.
        declared: The type.
        keys: Key of the sample that each was made of, for errors.
        verb: What the function was given to, for errors.

    Raises:
        SampleTypeError: One is not of the type.
        EncodeError: A value does not fit its field, or a field is missing or unknown.
    """
    if not is_sample_type(declared):
        for row, result in enumerate(made):
            if not isinstance(result, declared):
                raise _wrong_type(function, result, declared, keys[row], verb)
        return made
    take: Callable[[Any], Any] = codec_of(declared).checked
    out: list[Any] = []
    for row, result in enumerate(made):
        try:
            out.append(take(result))
        except Misfit as misfit:
            if not isinstance(result, Mapping | declared):
                raise _wrong_type(function, result, declared, keys[row], verb) from None
            name = name_of_function(function)
            raise EncodeError(
                f"{verb}({name}), sample {keys[row]!r}: {declared.__name__} {misfit}"
            ) from None
    return out


def type_of_results(samples: list[Any], expected: type, *, type_is_known: bool) -> type:
    """The type of a batch.

    Args:
        samples: Its samples.
        expected: Their type, or that of the samples that they were made of.
        type_is_known: Whether ``expected`` is their type.

    Raises:
        SampleTypeError: They have no fields, or are of several types.
    """
    types = set() if type_is_known else set(map(type, samples))
    if len(types) == 1 and is_sample_type(found := next(iter(types))):
        return found
    if all(issubclass(found, expected) for found in types) and is_sample_type(expected):
        return expected
    if all(issubclass(found, Mapping) for found in types):
        return DictSample
    names = ", ".join(sorted(found.__name__ for found in types))
    raise SampleTypeError(
        f"Samples of {names} cannot be batched field by field. Let the function given to map() "
        "return a packable class, always the same, or a dict."
    )


def _wrong_type(
    function: Callable[..., Any], result: object, declared: type, key: str, verb: str
) -> SampleTypeError:
    hint = f"Return what is declared, or declare what is returned: {verb}(…, sample_type=…)."
    return SampleTypeError(
        f"{verb}({name_of_function(function)}), sample {key!r}: expected {declared.__name__}, "
        f"found {type(result).__name__}. {defined_again(declared, type(result)) or hint}"
    )


def name_of_function(function: Callable[..., Any]) -> str:
    """What errors call a function."""
    inner = getattr(function, "func", function)  # of a functools.partial
    return str(getattr(inner, "__qualname__", None) or type(inner).__qualname__)


def returned_type(function: Callable[..., Any]) -> type | None:
    """The sample type that a function's return annotation names, if it does."""
    try:
        hint = typing.get_type_hints(function).get("return")
    except (NameError, TypeError):
        return None
    return hint if is_sample_type(hint) else None
