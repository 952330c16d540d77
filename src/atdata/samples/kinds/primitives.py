"""Kinds for the values that msgpack has itself: str, int, float, bool, bytes"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from atdata.samples.kinds.kind import Kind, Misfit, check_text
from atdata.samples.missing import found_for_error
from atdata.samples.numbers import has_float, shown_number

PRIMITIVES: Final[dict[str, type]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "bytes": bytes,
}
_INT_RANGE: Final = range(-(2**63), 2**64)
"""What msgpack can hold."""


@dataclass(frozen=True)
class Primitive(Kind):
    """str, int, float, bool or bytes.

    NumPy scalars of the same sort can be written, and as a float any number that equals one.
    """

    name: str

    def describe(self) -> str:
        return self.name

    def encode(self, value: Any) -> Any:
        kind = type(value)
        if kind is PRIMITIVES[self.name]:
            return self._in_range(value)
        sorts, convert = _ACCEPT[self.name]
        if not isinstance(value, sorts) or isinstance(value, bool):
            raise Misfit(self.name, found_for_error(value))
        if isinstance(value, memoryview) and (value.format != "B" or value.ndim != 1):
            # A view of other items does not equal its bytes.
            shown = f"a memoryview of {value.format!r} {value.shape}"
            raise Misfit(self.name, shown, "Write its bytes: view.tobytes().")
        if self.name == "float" and not has_float(value):
            raise Misfit("float", shown_number(value), _NO_FLOAT)
        return self._in_range(convert(value))

    def _in_range(self, value: Any) -> Any:
        if self.name == "int" and value not in _INT_RANGE:
            raise Misfit("int", shown_number(value), "An integer has at most 64 bits.")
        if self.name == "str":
            check_text(value)
        return value

    def decode(self, wire: Any) -> Any:
        kind = type(wire)
        if kind is PRIMITIVES[self.name]:
            return wire
        # Writers without float64, such as JavaScript's, write whole numbers as integers.
        if self.name == "float" and kind is int:
            return float(wire)
        raise Misfit(self.name, found_for_error(wire))


_NO_FLOAT: Final = "No 64-bit float is equal to it; round it with float(…) if that will do."
_ACCEPT: Final[dict[str, tuple[tuple[type, ...], Callable[[Any], Any]]]] = {
    # A subclass such as np.str_ becomes a plain str, without calling its own methods.
    "str": ((str,), str.__str__),
    "int": ((int, np.integer), int),
    "float": ((int, float, np.integer, np.floating), float),
    "bool": ((np.bool_,), bool),
    "bytes": ((bytes, bytearray, memoryview), bytes),
}
"""Other types that can be written, and how they are converted. A bool is never a number."""
