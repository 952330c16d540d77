"""The contents of a batch: the columns of its fields, and its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from atdata._arrays import AnyArray
from atdata.errors import RaggedFieldError
from atdata.samples.dict_sample import as_dict
from atdata.samples.kinds import Array, Field
from atdata.samples.text_column import TextColumn
from atdata.samples.to_numpy import as_array, is_number, listed, rows_of, untyped_array

Column: TypeAlias = AnyArray | list[Any]
"""One field of n samples: an array of shape (n, …), or a list of n values."""


class Columnar:
    """Several samples of one type, field by field. The arguments are those of `SampleBatch`."""

    def __init__(
        self,
        sample_type: type,
        keys: Sequence[str],
        columns: Mapping[str, Column | TextColumn] | None,
        samples: Sequence[Any] | None,
    ) -> None:
        self.sample_type = sample_type
        self.keys = keys
        self._columns: dict[str, Column | TextColumn] = dict(columns or {})
        self._samples = None if samples is None else list(samples)
        self.kinds: dict[str, Field] = sample_type.__atdata_codec__.by_name  # type: ignore[attr-defined]
        """The fields of the type, by name; empty for samples without a type."""
        untyped = samples if samples and issubclass(sample_type, Mapping) else ()
        self._dicts = [as_dict(sample) for sample in untyped]
        found = chain.from_iterable(self._dicts)
        self.fields = tuple(self.kinds or self._columns or dict.fromkeys(found))
        """Names of the fields, in order; without a type, those that any sample has."""

    def __len__(self) -> int:
        return len(self.keys)

    def key_list(self) -> list[str]:
        """The key of each sample, as a list."""
        if not isinstance(self.keys, list):
            self.keys = list(self.keys)
        return self.keys

    @property
    def samples(self) -> list[Any]:
        """The samples, built from the columns when first asked for."""
        if self._samples is None:
            build = self.sample_type.__atdata_codec__.build  # type: ignore[attr-defined]
            columns = [self.values(name) for name in self.fields]
            self._samples = [
                build(dict(zip(self.fields, row, strict=True)))
                for row in zip(*columns, strict=True)
            ]
        return self._samples

    def attribute(self, name: str) -> Column:
        """A field as the batch's attribute: arrays stacked, everything else a list."""
        field = self.kinds.get(name)
        if field is None:
            values = self.values(name)
            if not any(isinstance(value, np.ndarray) for value in values):
                return values
            return self.column(name)
        if field.optional or not isinstance(field.kind, Array):
            return self.values(name)
        return self.column(name)

    def values(self, name: str) -> list[Any]:
        """A field as a list of values; arrays are views if they are stacked."""
        column = self._listed(name)
        if isinstance(column, list):
            return column
        kind = self.kinds[name].kind if name in self.kinds else None
        # Without a type, a column of one axis holds numbers.
        of_arrays = isinstance(kind, Array) if kind else column.ndim > 1
        return rows_of(column) if of_arrays else list(column.tolist())

    def column(self, name: str, fill: Any = None) -> AnyArray:
        """A field as an array, see `SampleBatch.column`."""
        field = self.kinds.get(name)
        found = self._columns.get(name)
        if isinstance(found, TextColumn):
            found = found.array()
        column = found if isinstance(found, np.ndarray) else self._listed(name)
        if isinstance(column, list) and fill is not None:
            column = [fill if value is None else value for value in column]
        if field is None:
            return self._untyped(name, column, keep=fill is None)
        if field.optional and fill is None:
            raise RaggedFieldError(
                f"{name}: it may be None, which no array can hold. Pass a value for it: "
                f"batch.column({name!r}, fill=…). {listed(name)}"
            )
        if isinstance(fill, np.ndarray) and not len(self):
            column = np.empty((0, *fill.shape), fill.dtype)
        made = as_array(name, field.kind, column, self.keys)
        if fill is None and (is_number(field.kind) or isinstance(field.kind, Array)):
            self._columns[name] = made
        return made

    def _untyped(self, name: str, column: Column, *, keep: bool) -> AnyArray:
        made = column if isinstance(column, np.ndarray) else None
        if made is None:
            made = untyped_array(name, list(column), self.keys)
        if keep and made.ndim > 1:
            self._columns[name] = made
        return made

    def present(self, name: str) -> AnyArray:
        """Which samples have a value in a field; shape (B,), bool."""
        column = self._columns.get(name)
        if isinstance(column, np.ndarray | TextColumn):
            return np.ones(len(self), np.bool_)
        return np.array([value is not None for value in self.values(name)], np.bool_)

    def as_it_is(self, name: str) -> Column | TextColumn:
        """A column in the form in which it is here, perhaps texts that are not decoded."""
        column = self._columns.get(name)
        return self._listed(name) if column is None else column

    def _listed(self, name: str) -> Column:
        """A column with its texts decoded to a list, which is kept."""
        column = self._columns.get(name)
        if column is None:
            if name not in self.fields:
                raise self.no_field(name)
            if self._dicts:
                column = [fields.get(name) for fields in self._dicts]
            else:
                column = [getattr(sample, name) for sample in self.samples]
        elif isinstance(column, TextColumn):
            column = column.tolist()
        self._columns[name] = column
        return column

    def no_field(self, name: str) -> AttributeError:
        """The error for a field that the samples lack."""
        return AttributeError(
            f"A batch of {self.sample_type.__name__} has no field {name!r}. "
            f"It has: {', '.join(map(str, self.fields))}."
        )

    def __str__(self) -> str:
        shown = []
        for name in self.fields:
            column = self._columns.get(name)
            if isinstance(column, np.ndarray):
                shown.append(f"{name}: {column.dtype} {column.shape}")
            else:
                shown.append(str(name))
        return f"{len(self)} {self.sample_type.__name__}: {', '.join(shown)}"
