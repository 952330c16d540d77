"""Lists, dicts, tuples, sets and nested samples as Arrow columns."""

from __future__ import annotations

from itertools import chain
from typing import Any, Final

import numpy as np

from atdata.exchange.arrow_library import pa
from atdata.exchange.forms.arrays import is_list, lengths_of, lists
from atdata.exchange.forms.form import Feature, Form, Values, rows, unfit
from atdata.samples.kinds import FixedTuple, Kind, ListOf, MapOf, Misfit, Nested, SetOf
from atdata.shards.columns.packers import RowMisfit

_is: Final[Any] = pa.types


class Items(Form):
    """Lists, tuples of any length, and sets."""

    def __init__(self, kind: Kind, items: Form) -> None:
        super().__init__(kind, pa.list_(items.type))
        self._items = items

    @property
    def feature(self) -> Feature:
        return {"feature": self._items.feature, "_type": "List"}

    def _out(self, values: Values) -> Any:
        if isinstance(self.kind, SetOf):
            # In the order of the bytes that are stored, so that equal sets give equal columns.
            values = [list(map(self.kind.items.decode, self.kind.encode(each))) for each in values]
        flat = list(chain.from_iterable(values))
        sizes = np.array([len(each) for each in values], np.int64)
        return lists(inside(self._items, flat, sizes), sizes)

    def _back(self, array: Any) -> Values:
        if not is_list(array.type):
            raise self.wrong(array)
        sizes = lengths_of(array)
        found = cut(rows(self._items.kind, self._items.back(array.flatten())), sizes)
        if isinstance(self.kind, ListOf):
            return found
        make = self.kind.python if isinstance(self.kind, SetOf) else tuple
        return list(map(make, found))


def inside(form: Form, flat: list[Any], sizes: Any) -> Any:
    """The values in lists of these sizes as an Arrow array; a misfit has the row of its list."""
    try:
        return form.out(flat)
    except RowMisfit as misfit:
        ends = np.cumsum(sizes)
        row = int(np.searchsorted(ends, misfit.row, side="right"))
        item = misfit.row - int(ends[row] - sizes[row])
        misfit.row = row
        raise misfit.at(f"[{item}]") from None


def cut(values: list[Any], sizes: Any) -> list[list[Any]]:
    """Consecutive values as lists of these sizes."""
    ends = np.cumsum(sizes).tolist()
    return [values[end - size : end] for end, size in zip(ends, sizes.tolist(), strict=True)]


class Pairs(Form):
    """Dicts, as lists of pairs.

    Arrow's type of maps would say so, but the library `datasets` refuses every file with one.
    """

    kind: MapOf

    def __init__(self, kind: MapOf, values: Form) -> None:
        self._values = values
        super().__init__(kind, pa.list_(pa.struct([("key", pa.string()), ("value", values.type)])))

    @property
    def feature(self) -> Feature:
        key = {"dtype": "string", "_type": "Value"}
        return {"feature": {"key": key, "value": self._values.feature}, "_type": "List"}

    def _out(self, values: Values) -> Any:
        keys = pa.array(list(chain.from_iterable(values)), pa.string())
        flat = list(chain.from_iterable(each.values() for each in values))
        sizes = np.array([len(each) for each in values], np.int64)
        parts = [keys, inside(self._values, flat, sizes)]
        return lists(pa.StructArray.from_arrays(parts, fields=list(self.type.value_type)), sizes)

    def _back(self, array: Any) -> Values:
        if _is.is_map(array.type):
            array = array.cast(pa.list_(pa.struct(list(_entries(array.type)))))
        pair = array.type.value_type if is_list(array.type) else None
        if pair is None or not _is.is_struct(pair) or {f.name for f in pair} != {"key", "value"}:
            raise self.wrong(array)
        parts = array.flatten().flatten()
        keys = parts[pair.get_field_index("key")].cast(pa.string()).to_pylist()
        values = rows(self.kind.values, self._values.back(parts[pair.get_field_index("value")]))
        sizes = lengths_of(array)
        found = []
        for row, pairs in enumerate(cut(list(zip(keys, values, strict=True)), sizes)):
            found.append(dict(pairs))
            if len(found[-1]) != len(pairs):
                raise unfit(row, self.kind.describe(), "a key twice")
        return found


def _entries(type: Any) -> list[Any]:
    return [pa.field("key", type.key_type), pa.field("value", type.item_type)]


class Struct(Form):
    """Nested samples, and tuples with a kind for each place: a struct.

    Args:
        kind: Their kind.
        parts: Name of each part → its form.
    """

    kind: Nested | FixedTuple

    def __init__(self, kind: Nested | FixedTuple, parts: dict[str, Form]) -> None:
        # A struct without fields cannot be stored in Parquet.
        type = pa.struct([(name, part.type) for name, part in parts.items()]) if parts else None
        super().__init__(kind, type or pa.bool_())
        self._parts = parts

    @property
    def feature(self) -> Feature:
        if not self._parts:
            return {"dtype": "bool", "_type": "Value"}
        return {name: part.feature for name, part in self._parts.items()}

    def _out(self, values: Values) -> Any:
        if not self._parts:
            return pa.array([True] * len(values), pa.bool_())
        if isinstance(self.kind, Nested):
            columns = [[_part(each, name) for each in values] for name in self._parts]
        else:
            columns = [[each[place] for each in values] for place in range(len(self._parts))]
        arrays = []
        for (name, part), column in zip(self._parts.items(), columns, strict=True):
            try:
                arrays.append(part.out(column))
            except Misfit as misfit:
                raise misfit.at(self._step(name)) from None
        return pa.StructArray.from_arrays(arrays, fields=list(self.type))

    def _step(self, name: str) -> str:
        return f".{name}" if isinstance(self.kind, Nested) else f"[{name}]"

    def _back(self, array: Any) -> Values:
        if self._parts and not _is.is_struct(array.type):
            raise self.wrong(array)
        columns: dict[str, list[Any]] = {}
        parts = array.flatten() if self._parts else []
        for name, part in self._parts.items():
            place = array.type.get_field_index(name)
            try:
                if place < 0:
                    columns[name] = self._missing(name, len(array))
                else:
                    columns[name] = rows(part.kind, part.back(parts[place]))
            except Misfit as misfit:
                raise misfit.at(self._step(name)) from None
        found = zip(*columns.values(), strict=True) if columns else [()] * len(array)
        if isinstance(self.kind, FixedTuple):
            return list(map(tuple, found))
        codec = self.kind.codec()
        return [codec.build(dict(zip(columns, row, strict=True))) for row in found]

    def _missing(self, name: str, count: int) -> list[Any]:
        if not isinstance(self.kind, Nested):
            raise Misfit(self.kind.describe(), "a struct without it")
        codec = self.kind.codec()
        return [codec.missing(name) for _ in range(count)]


def _part(sample: Any, name: str) -> Any:
    """A field of a nested sample, which a DataFrame may hold as a dict."""
    return sample.get(name) if isinstance(sample, dict) else getattr(sample, name)
