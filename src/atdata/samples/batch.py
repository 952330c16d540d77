"""SampleBatch: columns of many samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np

from atdata._arrays import AnyArray
from atdata.errors import RaggedFieldError
from atdata.samples.codec import SPECIAL
from atdata.samples.dict_sample import as_dict
from atdata.samples.hideable import hideable
from atdata.samples.kinds import Array, Field, IntChoice, Kind
from atdata.samples.text_column import TextColumn
from atdata.samples.to_numpy import (
    as_array,
    fills_of,
    is_number,
    listed,
    rows_of,
    untyped_array,
)

T = TypeVar("T")

Column: TypeAlias = AnyArray | list[Any]
"""One field of n samples: an array of shape (n, …), or a list of n values."""


class SampleBatch(Generic[T]):
    """B samples of one type, field by field, in reading order.

    Each field is an attribute: an array field is one array of shape (B, *S), dtype unchanged; any
    other field is a list of B values. The field's type decides, never its values: an array field
    that may be None is a list of arrays and None.

    A field named like a member of this class hides it. Reach the member through the class:
    ``SampleBatch.keys(batch)``, ``SampleBatch.column(batch, "image")``.

    Args:
        sample_type: The type of the samples.
        keys: The key of each sample in its shard; read only once they are asked for.
        columns: Field name → array of shape (B, *S), list of B values, or B texts. Not copied.
        samples: The samples themselves, if they exist already.
    """

    __slots__ = ("__columnar__",)

    def __init__(
        self,
        sample_type: type[T],
        keys: Sequence[str],
        columns: Mapping[str, Column | TextColumn] | None = None,
        *,
        samples: Sequence[T] | None = None,
    ) -> None:
        self.__columnar__ = Columnar(sample_type, keys, columns, samples)

    def __getattribute__(self, name: str) -> Any:
        # A field comes first, so that data read with any field names look alike.
        plain = not name.startswith("__") or name in SPECIAL
        if plain and name in (held := columnar(self)).fields:
            return held.attribute(name)
        return object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            # copy, pickle and NumPy call what such names give: data must never provide it.
            raise AttributeError(name)
        raise columnar(self).no_field(name)

    @hideable
    def sample_type(self) -> type[T]:
        """The type of the samples."""
        return columnar(self).sample_type

    @hideable
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, in order."""
        return columnar(self).fields

    @hideable
    def keys(self) -> list[str]:
        """The key of each sample in its shard, in reading order."""
        return columnar(self).key_list()

    def values(self, name: str) -> list[Any]:
        """One field as a list of B values, even if arrays differ in shape.

        Arrays are views of the batch's memory if they are stacked there.

        Raises:
            AttributeError: The samples have no such field.
        """
        return columnar(self).values(name)

    def column(self, name: str, *, fill: Any = None) -> AnyArray:
        """One field as an array of shape (B, …), in reading order.

        An int field has dtype int64, float float64, bool bool; str, bytes and Literal have NumPy's
        string types, as wide as the longest value; a datetime is UTC ``datetime64[us]``; arrays
        of shape (*S) are stacked to (B, *S), dtype unchanged. The field's type decides, never its
        values. Not a copy if the batch already has this array: changing it changes the batch.

        Args:
            name: The field.
            fill: What replaces None, for a field that may be None: a value of the field. For an
                array field, an array of the shape and dtype that all of them have.

        Raises:
            RaggedFieldError: Arrays differ in shape, an int is outside of int64, a field that may
                be None has no ``fill``, or the field's type has no dtype, such as a list. The
                message says how to get a list.
            OptionError: ``fill`` is not a value of the field.
            AttributeError: The samples have no such field.
        """
        held = columnar(self)
        given = None if fill is None else fills_of({name: fill}, held.kinds)[name]
        return held.column(name, given)

    def as_numpy(self, *, fill: Mapping[str, Any] | None = None) -> dict[str, AnyArray]:
        """Every field as an array: field name → array of shape (B, …), as `column` gives it.

        Args:
            fill: Field name → what replaces None in it.

        Raises:
            RaggedFieldError: As for `column`.
            OptionError: A ``fill`` is not a value of its field.
        """
        held = columnar(self)
        fills = fills_of(fill, held.kinds)
        return {name: held.column(name, fills.get(name)) for name in held.fields}

    @hideable
    def samples(self) -> list[T]:
        """The B samples; their arrays are views of the batch's memory if they are stacked there."""
        return columnar(self).samples

    def __len__(self) -> int:
        return len(columnar(self))

    def __iter__(self) -> Iterator[T]:
        return iter(columnar(self).samples)

    def __getitem__(self, index: int) -> T:
        sample: T = columnar(self).samples[index]
        return sample

    def __repr__(self) -> str:
        return f"<SampleBatch of {columnar(self)}>"


def replaced(
    batch: SampleBatch[Any], columns: Mapping[str, Column], kinds: Mapping[str, Field]
) -> SampleBatch[Any]:
    """A batch with other columns in the places of some of its own, which are not copied.

    Args:
        batch: The batch.
        columns: Field name → its column.
        kinds: The fields that it has then; empty: its samples have no type.
    """
    held = columnar(batch)
    found = {name: columns.get(name, held.as_it_is(name)) for name in held.fields}
    made: SampleBatch[Any] = SampleBatch(held.sample_type, held.keys, {**found})
    columnar(made).kinds = dict(kinds)
    return made


def taken(batch: SampleBatch[Any], rows: Sequence[int]) -> SampleBatch[Any]:
    """Some rows of a batch, in this order; arrays are copied."""
    held = columnar(batch)
    columns: dict[str, Column] = {}
    for name in held.fields:
        column = held.as_it_is(name)
        if isinstance(column, TextColumn):
            column = column.tolist()
        if isinstance(column, list):
            columns[name] = [column[row] for row in rows]
        else:
            columns[name] = column[list(rows)]
    keys = [held.keys[row] for row in rows]
    made: SampleBatch[Any] = SampleBatch(held.sample_type, keys, columns)
    columnar(made).kinds = held.kinds
    return made


# The slot's own getter, since __getattribute__ itself needs it.
columnar: Callable[[SampleBatch[Any]], Columnar] = SampleBatch.__dict__["__columnar__"].__get__
"""What a batch holds, whatever its fields are called."""


class Columnar:
    """The contents of a batch, apart from it: no field can have the name of a member of this.

    The arguments are those of `SampleBatch`.
    """

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
        if fill is None and _is_kept_as_array(field.kind):
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


def _is_kept_as_array(kind: Kind) -> bool:
    """Whether the values of a column can be taken from its array."""
    if isinstance(kind, IntChoice):
        return kind.enum is None
    return is_number(kind) or isinstance(kind, Array)
