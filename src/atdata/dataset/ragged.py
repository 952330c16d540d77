"""Batches as columns of NumPy, where arrays of one field may differ in shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from atdata._secrets import redacted_repr
from atdata.dataset.plan import Run, batches_of
from atdata.errors import OptionError, RaggedFieldError
from atdata.samples.batch import Column, SampleBatch
from atdata.samples.kinds import Array, Maybe

Way: TypeAlias = Literal["list", "pad", "flat"]
Ragged: TypeAlias = "Way | Mapping[str, Way] | None"
"""What is made of array fields: one way for all of them, or a way for each that is named.

``list`` gives a list of arrays. ``pad`` fills up with zeros behind the data, to the largest
shape of the batch: shape (B, *max), and ``{field}.lengths`` of shape (B, dimensions), (B,) for
one dimension, says how much is data. ``flat`` joins along the first axis, and
``{field}.offsets`` of shape (B + 1,) says where each sample begins. For both of them, None is
an array without elements; a batch of nothing but None is a list. Fields without a way are
stacked, shape (B, *S), which is an error where their arrays differ.
"""

_WAYS: Final = ("list", "pad", "flat")
_NUMBERS: Final = "biufc"


@redacted_repr
@dataclass(frozen=True)
class Columns:
    """Cuts rows into batches, and makes each a dict of columns.

    Args:
        sample_type: Type of the samples.
        size: Samples of a batch.
        drop_last: Whether a smaller batch at the end is left out.
        ragged: As in `Ragged`.
        then: Applied to each dict.
    """

    sample_type: type
    size: int
    drop_last: bool
    ragged: Ragged
    then: Callable[[dict[str, Column]], Any] | None = None

    def __call__(self, runs: Iterator[Run]) -> Iterator[tuple[Any, int]]:
        batches = batches_of(runs, self.sample_type, self.size, drop_last=self.drop_last)
        for batch, taken in batches:
            columns = columns_of(batch, self.ragged)
            yield (columns if self.then is None else self.then(columns)), taken


def check_ragged(ragged: Ragged, sample_type: type) -> None:
    """Let a way with ragged fields pass that is one.

    Raises:
        OptionError: It is none, or is for a field that is no array.
    """
    if not isinstance(ragged, str | Mapping | None):
        raise OptionError(
            f"ragged={ragged!r}: expected one of {', '.join(map(repr, _WAYS))}, or a dict with one "
            "of these for each field."
        )
    ways = {"ragged": ragged} if isinstance(ragged, str) else dict(ragged or {})
    fields = {field.name: field.kind for field in sample_type.__atdata_codec__.fields}  # type: ignore[attr-defined]
    for name, way in ways.items():
        if way not in _WAYS:
            raise OptionError(f"{name}={way!r}: expected one of {', '.join(map(repr, _WAYS))}.")
        if fields and not isinstance(ragged, str) and not _is_array(fields.get(name)):
            raise OptionError(f"ragged: {sample_type.__name__} has no array field {name!r}.")


def columns_of(batch: SampleBatch[Any], ragged: Ragged) -> dict[str, Column]:
    """A batch as a dict: numbers and arrays as arrays, everything else as lists.

    Raises:
        RaggedFieldError: Arrays that differ, in a field for which no way was given.
    """
    kinds = {field.name: field.kind for field in batch.sample_type.__atdata_codec__.fields}
    out: dict[str, Column] = {}
    for name in batch.fields:
        way = ragged if isinstance(ragged, str) else (ragged or {}).get(name)
        if name in kinds and not _is_array(kinds[name]):
            out[name] = _plain(batch, name)
            continue
        values = batch.values(name) if way or name not in kinds else None
        if way is None or values is None or not _are_arrays(values):
            out[name] = _plain(batch, name) if values is not None else _stacked(batch, name)
        elif way == "list":
            out[name] = values
        elif way == "pad":
            out[name], out[f"{name}.lengths"] = _padded(name, _without_none(values))
        else:
            out[name], out[f"{name}.offsets"] = _flat(name, _without_none(values))
    return out


def _is_array(kind: Any) -> bool:
    return isinstance(kind.kind if isinstance(kind, Maybe) else kind, Array)


def _are_arrays(values: list[Any]) -> bool:
    """Whether all of them are arrays, or None."""
    there = [value for value in values if value is not None]
    return bool(there) and all(isinstance(v, np.ndarray) and v.ndim for v in there)


def _without_none(values: list[Any]) -> list[Any]:
    one = next(value for value in values if value is not None)
    empty = np.empty((0, *one.shape[1:]), one.dtype)
    return [empty if value is None else value for value in values]


def _stacked(batch: SampleBatch[Any], name: str) -> Column:
    try:
        return batch.column(name)
    except RaggedFieldError:
        values = batch.values(name)
        if any(value is None for value in values):
            return values
        raise RaggedFieldError(
            f"{name}: arrays of this batch differ in shape or dtype and cannot be stacked. Pass "
            f"ragged={{{name!r}: 'pad'}}, or 'flat' or 'list'."
        ) from None


def _plain(batch: SampleBatch[Any], name: str) -> Column:
    try:
        column = batch.column(name)
    except RaggedFieldError:
        return batch.values(name)
    return column if column.dtype.kind in _NUMBERS else batch.values(name)


def _one_dtype(name: str, values: list[Any]) -> tuple[Any, int]:
    found = {(value.dtype, value.ndim) for value in values}
    if len(found) != 1:
        raise RaggedFieldError(
            f"{name}: arrays of this batch differ in dtype or in their number of dimensions: "
            f"{', '.join(f'{d} of {n}' for d, n in sorted(found, key=str))}. Pass ragged='list'."
        )
    return found.pop()


def _padded(name: str, values: list[Any]) -> tuple[Column, Column]:
    dtype, dimensions = _one_dtype(name, values)
    lengths = np.array([value.shape for value in values], np.int64)
    out = np.zeros((len(values), *lengths.max(axis=0).tolist()), dtype)
    for row, value in zip(out, values, strict=True):
        row[tuple(map(slice, value.shape))] = value
    return out, lengths[:, 0] if dimensions == 1 else lengths


def _flat(name: str, values: list[Any]) -> tuple[Column, Column]:
    dtype, _ = _one_dtype(name, values)
    if len({value.shape[1:] for value in values}) != 1:
        raise RaggedFieldError(
            f"{name}: arrays of this batch differ behind their first axis, and cannot be joined "
            f"along it. Pass ragged={{{name!r}: 'pad'}}."
        )
    offsets = np.cumsum([0, *map(len, values)], dtype=np.int64)
    return np.concatenate(values, dtype=dtype), offsets
