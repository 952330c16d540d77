"""The kind for values of several JSON kinds, such as ``int | str``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from atdata.samples.kinds.choices import Choice
from atdata.samples.kinds.containers import ListOf, MapOf, Maybe
from atdata.samples.kinds.json_values import JsonValue
from atdata.samples.kinds.kind import Kind, Misfit
from atdata.samples.kinds.primitives import Primitive
from atdata.samples.missing import found_for_error

_FORMS: Final[tuple[tuple[str, tuple[type, ...]], ...]] = (
    ("bool", (bool, np.bool_)),
    ("int", (int, np.integer)),
    ("float", (float, np.floating)),
    ("str", (str,)),
    ("list", (list, tuple)),
    ("map", (dict,)),
)
"""The forms of JSON values in the order in which they are tried, and their Python types."""
_ORDER: Final = tuple(form for form, _ in _FORMS)


@dataclass(frozen=True)
class OneOf(Kind):
    """A value of one of several JSON kinds of different forms; its form decides which."""

    kinds: tuple[Kind, ...]
    """In the order bool, int, float, str, list, map; at most one of each."""
    by_form: dict[str, Kind] = field(init=False, compare=False, repr=False)
    """Form → the kind that has it. Whole numbers are floats where nothing else takes them."""

    def __post_init__(self) -> None:
        found = {form_of(kind): kind for kind in self.kinds}
        if "float" in found:
            found.setdefault("int", found["float"])
        object.__setattr__(self, "by_form", found)

    def describe(self) -> str:
        return " | ".join(kind.describe() for kind in self.kinds)

    def encode(self, value: Any) -> Any:
        return self._kind_of(value).encode(value)

    def decode(self, wire: Any) -> Any:
        return self._kind_of(wire).decode(wire)

    def checked(self, value: Any) -> Any:
        return self._kind_of(value).checked(value)

    def _kind_of(self, value: Any) -> Kind:
        form = next((form for form, types in _FORMS if isinstance(value, types)), "")
        kind = self.by_form.get(form)
        if kind is None:
            raise Misfit(self.describe(), found_for_error(value))
        return kind

    def parts(self) -> tuple[Kind, ...]:
        return self.kinds

    def with_parts(self, convert: Callable[[Kind], Kind]) -> Kind:
        return OneOf(tuple(map(convert, self.kinds)))


def form_of(kind: Kind) -> str:
    """The form of JSON that the values of a kind have: str, list, …; "" if it is none, or any."""
    match kind:
        case Primitive(name) if name != "bytes":
            return name
        case Choice(enum=None):
            return "str"
        case ListOf(inner) if _is_json(inner):
            return "list"
        case MapOf(inner) if _is_json(inner):
            return "map"
        case _:
            return ""


def _is_json(kind: Kind) -> bool:
    if isinstance(kind, Maybe | OneOf):
        return all(map(_is_json, kind.parts()))
    return isinstance(kind, JsonValue) or form_of(kind) != ""


def one_of(kinds: Iterable[Kind]) -> OneOf | str:
    """A union of kinds in any order; or what is wrong with them."""
    given = list(kinds)
    found: dict[str, Kind] = {}
    for kind in given:
        form = form_of(kind)
        if isinstance(kind, JsonValue):
            return "Json holds the others, too: write Json"
        if not form:
            return f"{kind.describe()} is not a JSON kind: give it a field of its own"
        if form in found:
            both = f"{found[form].describe()} and {kind.describe()}"
            return f"{both} look alike when they are stored: write Json, or list[int | str]"
        found[form] = kind
    if len(found) < 2:
        return "a union has two kinds or more"
    return OneOf(tuple(found[form] for form in _ORDER if form in found))
