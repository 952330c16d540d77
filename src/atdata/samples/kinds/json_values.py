"""The kind for any JSON value, such as the metadata that comes with a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias

from atdata._limits import limits
from atdata.samples.kinds.kind import Kind, Misfit, check_text
from atdata.samples.kinds.primitives import Primitive
from atdata.samples.missing import found_for_error

_NUMBERS: Final = (Primitive("int"), Primitive("float"), Primitive("bool"))
_INSTEAD: Final = {
    "bytes": "JSON has no bytes: make it a field of its own.",
    "ndarray": "JSON has no arrays: write array.tolist(), or make it a field of its own.",
    "datetime": "JSON has no times: write value.isoformat(), or make it a field of its own.",
    "set": "JSON has no sets: write sorted(value).",
}


@dataclass(frozen=True)
class JsonValue(Kind):
    """Any JSON value: None, bool, int, float, str, and lists and dicts of them, with str keys.

    Integers have at most 64 bits, floats are finite, and lists and dicts are nested at most
    ``limits.sample_nesting`` deep.
    """

    def describe(self) -> str:
        return "Json"

    def encode(self, value: Any) -> Any:
        return _encode(value, 1)

    def decode(self, wire: Any) -> Any:
        _check(wire, 1)
        return wire


Json: TypeAlias = Annotated[Any, JsonValue()]
"""The annotation of a field that holds any JSON value; ``Any`` means the same."""


def _check_depth(depth: int) -> None:
    if depth > limits.sample_nesting:
        hint = "limits.sample_nesting sets how deep a JSON value may be nested."
        raise Misfit(f"at most {limits.sample_nesting} levels", "more", hint)


def _encode(value: Any, depth: int) -> Any:
    _check_depth(depth)
    sort = type(value)
    if value is None or sort is bool:
        return value
    if sort is dict or sort is list or isinstance(value, (dict, list, tuple)):
        return _inside(value, depth, _encode)
    if isinstance(value, str):
        check_text(value)
        return str.__str__(value)
    for kind in _NUMBERS:
        try:
            plain = kind.encode(value)
        except Misfit as misfit:
            # An integer too large for msgpack is none for a float either, unless it says so.
            if misfit.expected == "int" and isinstance(value, int) and sort is not bool:
                raise
            continue
        return _finite(plain)
    raise Misfit("a JSON value", found_for_error(value), _INSTEAD.get(sort.__name__, ""))


def _check(wire: Any, depth: int) -> None:
    _check_depth(depth)
    sort = type(wire)
    if sort is float:
        _finite(wire)
    elif sort is list or sort is dict:
        _inside(wire, depth, _check)
    elif wire is not None and sort not in (bool, int, str):
        raise Misfit("a JSON value", found_for_error(wire))


def _inside(value: Any, depth: int, each: Any) -> Any:
    """A list or dict with each item converted."""
    if not isinstance(value, dict):
        found: list[Any] = []
        try:
            for item in value:
                found.append(each(item, depth + 1))
        except Misfit as misfit:
            raise misfit.at(f"[{len(found)}]") from None
        return found
    pairs: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise Misfit("str as a key", found_for_error(key), "The keys of JSON are str.")
        check_text(key)
        try:
            pairs[str.__str__(key)] = each(item, depth + 1)
        except Misfit as misfit:
            raise misfit.at(f"[{key!r:.60}]") from None
    return pairs


def _finite(value: Any) -> Any:
    if type(value) is float and not math.isfinite(value):
        raise Misfit("a JSON value", repr(value), "JSON has no such number: write None for it.")
    return value
