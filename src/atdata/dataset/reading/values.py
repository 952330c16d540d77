"""Values of samples that decide over them: fields or functions, read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from numbers import Real
from typing import Any, Final, TypeAlias
from uuid import UUID

import numpy as np

from atdata._arrays import Integers
from atdata._secrets import redacted_repr
from atdata.dataset.reading.derived import Part, runs_of
from atdata.dataset.reading.results import name_of_function
from atdata.dataset.reading.rows import Rows
from atdata.errors import OptionError
from atdata.samples.codec import fields_of
from atdata.samples.pickling import check_function
from atdata.system.forks import once

By: TypeAlias = str | Sequence[str] | Callable[[Any], Any]
"""A field, several of them, or a function of a sample. ``__key__`` is the key of a sample."""

KEY: Final = "__key__"


@redacted_repr
class Values:
    """What a field or a function gives for each sample of a dataset, read once.

    Args:
        part: The dataset.
        by: The field, fields or function.
        verb: What asks, for errors.
    """

    def __init__(self, part: Part, by: By, verb: str) -> None:
        names = (by,) if isinstance(by, str) else () if callable(by) else tuple(by)
        if not callable(by) and not (names and all(isinstance(name, str) for name in names)):
            raise OptionError(
                f"{verb}: {by!r:.80} is no name of a field, no list of names, and no function."
            )
        fields = fields_of(part.sample_type) if part._type_is_known else {}
        unknown = [name for name in names if fields and name not in (*fields, KEY)]
        if unknown:
            raise OptionError(
                f"{verb}: {part.sample_type.__name__} has no field {unknown[0]!r:.80}. It has: "
                f"{', '.join(fields)}."
            )
        self._part, self._by, self._verb = part, by, verb
        self._names = names

    def check_sendable(self) -> None:
        """See `Steps.check_sendable`."""
        if callable(self._by):
            check_function(self._by, f"the function of {self._verb}()")

    @once
    def found(self) -> tuple[Integers, list[Any]]:
        """The position of each sample, and its value."""
        positions: list[Integers] = []
        values: list[Any] = []
        with closing(runs_of(self._part)) as runs:  # type: ignore[type-var]
            for rows, taken in runs:
                positions.append(taken - 1)
                values += self.of(rows)
        return np.concatenate([np.zeros(0, np.int64), *positions]), values

    def of(self, rows: Rows) -> Iterator[Any]:
        """The value of each of some samples."""
        by = self._by
        if callable(by):
            return map(by, rows.samples())
        read = [rows.keys if name == KEY else self._field(name, rows) for name in self._names]
        return iter(read[0]) if len(read) == 1 else zip(*read, strict=True)

    def _field(self, name: str, rows: Rows) -> list[Any]:
        values = []
        for key, sample in zip(rows.keys, rows.samples(), strict=True):
            try:
                values.append(
                    sample[name] if isinstance(sample, Mapping) else getattr(sample, name)
                )
            except (KeyError, AttributeError):
                raise OptionError(
                    f"{self._verb}: the sample {key!r} has no field {name!r}."
                ) from None
        return values

    def hashable(self) -> list[Any]:
        """The values, each as something that equals only the same value.

        Raises:
            OptionError: One cannot be compared so; names it.
        """
        return [_canonical(value, self) for value in self.found[1]]

    def __str__(self) -> str:
        return name_of_function(self._by) if callable(self._by) else ", ".join(self._names)


_PLAIN: Final = (str, bytes, int, float, bool, type(None), date, datetime, time, timedelta)
_PLAIN_MORE: Final = (Decimal, UUID)


def _canonical(value: Any, values: Values) -> Any:
    """A value as something hashable, equal and printed alike on every machine."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, float) and value != value:
        return "float", "nan"
    if type(value) in _PLAIN or type(value) in _PLAIN_MORE:
        # 1, 1.0 and True are equal in Python, and other values here.
        return type(value).__name__, value
    if isinstance(value, list | tuple):
        return tuple(_canonical(item, values) for item in value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, Real):
        return "float", float(value)
    raise OptionError(
        f"{values}: {type(value).__name__} cannot be compared for being the same. Use a function "
        "that gives numbers, text, or a tuple of them."
    )
