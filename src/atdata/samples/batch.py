"""SampleBatch: columns of many samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np

from atdata.errors import RaggedFieldError
from atdata.samples.ndarray import AnyArray
from atdata.samples.texts import Texts

T = TypeVar("T")

Column: TypeAlias = AnyArray | list[Any]
"""One field of many samples: an array whose first axis counts the samples, or a list."""


class SampleBatch(Generic[T]):
    """Several samples of one type, field by field.

    A field is an attribute: an array field gives one array of shape (B, *S), dtype unchanged,
    in reading order, any other field a list of B values. An array field with a None in it
    gives a list.

    Args:
        sample_type: The type of the samples.
        keys: Key of each sample in its shard, in reading order; not looked at before they are
            asked for.
        columns: Field name → array of shape (B, *S), texts, or list of B values; taken over.
        samples: The samples themselves, where they exist already.
    """

    __slots__ = ("_columns", "_fields", "_keys", "_samples", "sample_type")

    def __init__(
        self,
        sample_type: type[T],
        keys: Sequence[str],
        columns: Mapping[str, Column | Texts] | None = None,
        *,
        samples: Sequence[T] | None = None,
    ) -> None:
        self.sample_type = sample_type
        self._keys = keys
        self._columns: dict[str, Column | Texts] = dict(columns or {})
        self._samples = None if samples is None else list(samples)
        self._fields = tuple(sample_type.__atdata_codec__.holding_arrays)  # type: ignore[attr-defined]
        if not self._fields:  # samples without a type: the fields are those of the data
            names = list(self._columns) or dict.fromkeys(n for s in samples or () for n in s)  # type: ignore[attr-defined]
            self._fields = tuple(names)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, in order."""
        return self._fields

    @property
    def keys(self) -> list[str]:
        """Key of each sample in its shard, in reading order."""
        if not isinstance(self._keys, list):
            self._keys = list(self._keys)
        return self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def __getattr__(self, name: str) -> Column:
        if name.startswith("_"):
            # Asked for while a batch is unpickled, before it has fields.
            raise AttributeError(name)
        if name not in self._fields:
            raise AttributeError(
                f"A batch of {self.sample_type.__name__} has no field {name!r}. "
                f"It has: {', '.join(self._fields)}."
            )
        column = self._listed(name)
        if column is None:
            column = self._columns[name] = self._stack(name)
        if isinstance(column, np.ndarray):
            return column if self._holds_arrays(name, column) else column.tolist()
        if column and isinstance(column[0], np.ndarray) and not _has_none(column):
            self._columns[name] = column = self._stacked(name, column)
        return column

    def values(self, name: str) -> list[Any]:
        """One field as a list of B values, also where arrays differ in shape.

        Arrays are views of the batch's memory where it has them stacked.
        """
        column = self._listed(name)
        if column is None:
            return [_value(sample, name) for sample in self.samples]
        if isinstance(column, np.ndarray):
            return list(column) if self._holds_arrays(name, column) else column.tolist()
        return column

    def column(self, name: str) -> AnyArray:
        """One field as an array whose first axis counts the samples.

        Numbers stay the array that they were decoded to: int64 (uint64 where needed), float64,
        bool. str and bytes become NumPy's own strings, datetimes UTC ``datetime64[us]``. Not a
        copy: changing it changes the batch.

        Raises:
            RaggedFieldError: Arrays that differ in shape, a None among the values, or values
                that no dtype holds; says how to get them as a list.
        """
        if name not in self._fields:
            return getattr(self, name)  # type: ignore[no-any-return] # raises, and says which
        column = self._columns.get(name)
        if isinstance(column, Texts):
            column = column.array()
        if not isinstance(column, np.ndarray):
            values = self.values(name)
            if values and isinstance(values[0], np.ndarray):
                column = self._stacked(name, values) if not _has_none(values) else values
            else:
                column = _as_array(values)
        if not isinstance(column, np.ndarray):
            raise RaggedFieldError(
                f"{name}: its values do not make an array: some are None, or no dtype holds "
                f"them. batch.values({name!r}) gives them as a list."
            )
        return column

    def as_numpy(self) -> dict[str, AnyArray]:
        """Every field as a column: name → array whose first axis counts the samples.

        Raises:
            RaggedFieldError: As for `column`.
        """
        return {name: self.column(name) for name in self._fields}

    @property
    def samples(self) -> list[T]:
        """The samples one by one; arrays are views of the batch where it was stacked first."""
        if self._samples is None:
            build = self.sample_type.__atdata_codec__.build  # type: ignore[attr-defined]
            columns = [self.values(name) for name in self._fields]
            self._samples = [
                build(dict(zip(self._fields, row, strict=True)))
                for row in zip(*columns, strict=True)
            ]
        return self._samples

    def __iter__(self) -> Iterator[T]:
        return iter(self.samples)

    def __getitem__(self, index: int) -> T:
        return self.samples[index]

    def __repr__(self) -> str:
        shown = []
        for name in self._fields:
            column = self._columns.get(name)
            if isinstance(column, np.ndarray):
                shown.append(f"{name}: {column.dtype} {column.shape}")
            else:
                shown.append(name)
        return f"<SampleBatch of {len(self)} {self.sample_type.__name__}: {', '.join(shown)}>"

    def _listed(self, name: str) -> Column | None:
        """A column, texts as a list, which is kept."""
        column = self._columns.get(name)
        if isinstance(column, Texts):
            column = self._columns[name] = column.tolist()
        return column

    def _stack(self, name: str) -> Column:
        values = [_value(sample, name) for sample in self.samples]
        if not values or not isinstance(values[0], np.ndarray) or _has_none(values):
            return values
        return self._stacked(name, values)

    def _stacked(self, name: str, values: list[Any]) -> Column:
        first = values[0]
        for key, value in zip(self.keys, values, strict=True):
            if not isinstance(value, np.ndarray):
                return values
            if value.shape != first.shape or value.dtype != first.dtype:
                raise RaggedFieldError(
                    f"{name}: sample {self.keys[0]!r} has {first.dtype} {first.shape}, sample "
                    f"{key!r} {value.dtype} {value.shape}: they cannot be stacked. "
                    f"batch.values({name!r}) gives them as a list."
                )
        return np.stack(values, dtype=first.dtype)  # without it, in native byte order

    def _holds_arrays(self, name: str, column: AnyArray) -> bool:
        holding = self.sample_type.__atdata_codec__.holding_arrays.get(name)  # type: ignore[attr-defined]
        # Without a type: a column of one axis is numbers.
        return column.ndim > 1 if holding is None else bool(holding)


def _value(sample: Any, name: str) -> Any:
    return sample.get(name) if isinstance(sample, Mapping) else getattr(sample, name)


def _as_array(values: list[Any]) -> AnyArray | None:
    """Values of one plain sort as an array, or None where there is no dtype for them."""
    sorts = set(map(type, values))
    if len(sorts) != 1 or not sorts <= {bool, int, float, str, bytes, datetime}:
        return None
    if sorts == {datetime}:
        if len({value.tzinfo is None for value in values}) != 1:
            return None
        moments = [
            v if v.tzinfo is None else v.astimezone(UTC).replace(tzinfo=None) for v in values
        ]
        return np.array(moments, "datetime64[us]")
    # NumPy's strings end at the last character that is not NUL.
    if sorts <= {str, bytes} and any(v[-1:] in ("\0", b"\0") for v in values):
        return None
    array = np.array(values)
    return None if array.dtype.hasobject else array


def _has_none(values: list[Any]) -> bool:
    return any(value is None for value in values)
