"""Form: the values of one kind as an Arrow array, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from atdata._arrays import AnyArray
from atdata.exchange.arrow_library import pa
from atdata.samples.kinds import Kind, Misfit
from atdata.shards.columns.packers import RowMisfit

Values: TypeAlias = AnyArray | Sequence[Any]
"""One value a row: an array of shape (n, …), or a list in which None may stand."""
Feature: TypeAlias = Any
"""What the library `datasets` calls the type of a column, as its JSON."""


class Form(ABC):
    """How values of one kind lie in an Arrow array.

    Args:
        kind: Their kind, without None.
        type: The Arrow type.
    """

    note: str | None = None
    """What a reader of the column has to know; None: the type says everything."""

    def __init__(self, kind: Kind, type: Any) -> None:
        self.kind = kind
        self.type = type

    @property
    @abstractmethod
    def feature(self) -> Feature:
        """The type of the column for the library `datasets`."""

    def out(self, values: Values) -> Any:
        """Values as an Arrow array of `type`; None becomes null.

        Raises:
            RowMisfit: A value that the type cannot hold.
        """
        if isinstance(values, np.ndarray):
            return self._out(values)
        there = [row for row, value in enumerate(values) if value is not None]
        if len(there) == len(values):
            return self._out(values)
        try:
            found = self._out([values[row] for row in there])
        except RowMisfit as misfit:
            misfit.row = there[misfit.row]
            raise
        places = np.full(len(values), -1, np.int64)
        places[there] = np.arange(len(there))
        return found.take(pa.array(places, mask=places < 0))

    @abstractmethod
    def _out(self, values: Values) -> Any:
        """The same, for values without None."""

    def back(self, array: Any) -> Values:
        """The values of an Arrow array, which another program may have made; null becomes None.

        Raises:
            Misfit: It is of another type, or a value does not fit.
        """
        if isinstance(array, pa.ExtensionArray) and not self.takes_extension:
            order = getattr(array.type, "permutation", None)
            if order is not None and list(order) != sorted(order):
                hint = "Store them in C order."
                raise Misfit(self.kind.describe(), f"tensors with axes in the order {order}", hint)
            array = array.storage
        if not array.null_count:
            return self._back(array)
        found = iter(rows(self.kind, self._back(array.drop_null())))
        return [next(found) if valid else None for valid in array.is_valid().to_pylist()]

    takes_extension = False
    """Whether `_back` takes arrays of extension types as they are."""

    @abstractmethod
    def _back(self, array: Any) -> Values:
        """The same, for an array without nulls."""

    def wrong(self, array: Any) -> Misfit:
        """The error for an array of another type."""
        return Misfit(self.kind.describe(), f"a column of {array.type}")


def rows(kind: Kind, values: Values) -> list[Any]:
    """Values as a list of Python values; arrays where the kind is one."""
    if not isinstance(values, np.ndarray):
        return list(values)
    return list(values) if values.ndim > 1 else list(values.tolist())


def unfit(row: int, expected: str, found: Any, hint: str = "") -> RowMisfit:
    """The error for the value of one row."""
    return RowMisfit(row, Misfit(expected, found, hint))


def first_unfit(make: Any, values: Values, expected: str, hint: str = "") -> RowMisfit:
    """The error for the first of several values that ``make`` cannot convert alone."""
    for row, value in enumerate(values):
        try:
            make([value])
        except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
            return unfit(row, expected, f"{value!r:.60}", hint or str(error))
    return unfit(0, expected, "values that make no column together", hint)
