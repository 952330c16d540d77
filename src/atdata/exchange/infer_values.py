"""Python values → the kind of field that holds them all."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import numpy as np

from atdata.exchange.field_names import class_name, field_names
from atdata.samples.kinds import (
    SIMPLE,
    Array,
    DateTime,
    Encoded,
    Field,
    JsonValue,
    Kind,
    ListOf,
    Maybe,
    Nested,
    Primitive,
)
from atdata.samples.media import Audio, Image
from atdata.samples.ndarray import dtype_name

_SCALARS: Final[tuple[tuple[tuple[type, ...], Kind], ...]] = (
    ((bool, np.bool_), Primitive("bool")),
    ((int, np.integer), Primitive("int")),
    ((float, np.floating), Primitive("float")),
    ((str,), Primitive("str")),
    ((bytes, bytearray), Primitive("bytes")),
    ((Image,), Encoded("image")),
    ((Audio,), Encoded("audio")),
    ((datetime,), DateTime()),
    ((date,), SIMPLE["date"]),
    ((time,), SIMPLE["time"]),
    ((timedelta,), SIMPLE["duration"]),
    ((Decimal,), SIMPLE["decimal"]),
    ((UUID,), SIMPLE["uuid"]),
)
_MOST_FIELDS: Final = 100
"""Keys of dicts up to which they are nested samples; those of more are data."""
_NUMBERS: Final = frozenset({"int", "float"})


class Seen:
    """What was seen of some values, one after the other."""

    def __init__(self) -> None:
        self.count = 0
        self.nulls = 0
        self.nans = 0
        self._kinds: dict[Kind, None] = {}
        self._items: Seen | None = None
        self._fields: dict[str, Seen] | None = None
        self._shapes: set[tuple[int, ...]] = set()
        self._odd = False
        """Values that only `Json` holds."""

    def add(self, value: Any) -> None:
        """See one more value."""
        self.count += 1
        if value is None:
            self.nulls += 1
        elif isinstance(value, np.ndarray):
            self._kinds[Array(dtype_name(value.dtype))] = None
            self._shapes.add(value.shape)
        elif isinstance(value, dict):
            self._add_dict(value)
        elif (codec := getattr(type(value), "__atdata_codec__", None)) is not None:
            nested = Nested(codec.name, codec.fields, type(value), description=codec.description)
            self._kinds[nested] = None
        elif isinstance(value, list | tuple):
            self._items = self._items or Seen()
            for each in value:
                self._items.add(each)
        else:
            kind = next((kind for types, kind in _SCALARS if isinstance(value, types)), None)
            self._odd = self._odd or kind is None
            if kind is not None:
                self._kinds[kind] = None
            if isinstance(value, float) and value != value:
                self.nans += 1

    def _add_dict(self, value: dict[Any, Any]) -> None:
        self._fields = {} if self._fields is None else self._fields
        if len(self._fields) > _MOST_FIELDS or not all(isinstance(key, str) for key in value):
            self._odd = True
            return
        for key, each in value.items():
            if key not in self._fields:
                self._fields[key] = Seen()
            self._fields[key].add(each)

    def kind(self, name: str) -> Kind:
        """The kind that holds all of them but None.

        Args:
            name: Qualified name for a type of nested samples.
        """
        forms = bool(self._kinds) + (self._items is not None) + (self._fields is not None)
        if self._odd or forms != 1:
            return JsonValue()
        if self._items is not None:
            inner = self._items.kind(name)
            return ListOf(Maybe(inner) if self._items.nulls else inner)
        if self._fields is not None:
            return self._nested(name, self._fields)
        kinds = list(self._kinds)
        if len(kinds) == 1 and isinstance(kinds[0], Array):
            shape = next(iter(self._shapes)) if len(self._shapes) == 1 else None
            return Array(kinds[0].dtype, shape)
        if len(kinds) == 1:
            return kinds[0]
        names = {kind.name for kind in kinds if isinstance(kind, Primitive)}
        return Primitive("float") if names == _NUMBERS and len(kinds) == 2 else JsonValue()

    def _nested(self, name: str, fields: dict[str, Seen]) -> Kind:
        names = list(fields)
        if not names or len(names) > _MOST_FIELDS or field_names(names) != names:
            return JsonValue()
        there = self.count - self.nulls
        module, _, last = name.rpartition(".")
        return Nested(
            f"{module}.{class_name(last)}",
            tuple(
                Field(key, seen.kind(f"{name}.{key}"), bool(seen.nulls or seen.count < there))
                for key, seen in fields.items()
            ),
        )


def seen(values: Iterable[Any]) -> Seen:
    """What is seen of values."""
    found = Seen()
    for value in values:
        found.add(value)
    return found
