"""Batches as NumPy columns, in the form of the field's type or as requested."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from atdata._arrays import AnyArray
from atdata._secrets import redacted_repr
from atdata.dataset.reading.rows import OfEpoch, Run, batches_of
from atdata.errors import OptionError, RaggedFieldError
from atdata.samples.batch import Column, Columnar, columnar
from atdata.samples.kinds import Array, Field
from atdata.samples.to_numpy import fills_of, is_number, untyped_kind

if TYPE_CHECKING:
    from atdata.dataset.decode.columns import Decoding

Way: TypeAlias = Literal["list", "pad", "flat"]
Ragged: TypeAlias = "Way | Mapping[str, Way] | None"
"""What is made of array fields: one way for all of them, or a way for each that is named.

``list`` gives a list of arrays; asked for by name, of any field. ``pad`` fills up with zeros
after the data, to the largest shape of the batch: shape (B, *max), and ``{field}.lengths`` of
shape (B, dimensions), (B,) for one dimension, says how much is data. ``flat`` joins along the
first axis, and ``{field}.offsets`` of shape (B + 1,) says where each sample begins. For both of
them, None is an array without elements, and ``{field}.mask`` of shape (B,) says of a field that
may be None where values are. Fields without a way are stacked, shape (B, *S), which is an error
where their arrays differ; those that may be None are lists. Samples without a type are listed
field by field where ``list`` is the way for all.
"""
Fill: TypeAlias = Mapping[str, Any] | None
"""What stands for None, for each field that is named."""

_WAYS: Final = ("list", "pad", "flat")


@dataclass(frozen=True)
class ColumnOptions:
    """What a caller asks of columns.

    Args:
        ragged: As in `Ragged`.
        fill: As in `Fill`.
    """

    ragged: Ragged
    fill: Fill

    def of(self, fields: Mapping[str, Field]) -> CheckedOptions:
        """The same for samples that have these fields; none: samples without a type.

        Raises:
            OptionError: An unknown way, or one for another kind of field; a value
                that a field cannot have.
        """
        ragged = self.ragged
        if not isinstance(ragged, str | Mapping | None):
            raise OptionError(
                f"ragged={ragged!r}: expected one of {', '.join(map(repr, _WAYS))}, or a dict with "
                "one of these for each field."
            )
        ways = {"ragged": ragged} if isinstance(ragged, str) else dict(ragged or {})
        for name, way in ways.items():
            if way not in _WAYS:
                raise OptionError(f"{name}={way!r}: expected one of {', '.join(map(repr, _WAYS))}.")
            if not fields or isinstance(ragged, str):
                continue
            if name not in fields or (way != "list" and not isinstance(fields[name].kind, Array)):
                raise OptionError(f"ragged: there is no array field {name!r}.")
        fills = fills_of(self.fill, fields)
        return CheckedOptions(ragged if isinstance(ragged, str) else None, ways, fills)


@redacted_repr
@dataclass(frozen=True)
class CheckedOptions:
    """What a caller asks of columns, checked."""

    everywhere: str | None
    """The way for all array fields."""
    ways: Mapping[str, str]
    """The way of each field that is named."""
    fills: Mapping[str, Any]
    """What stands for None."""

    def way(self, name: str) -> str | None:
        """The way of an array field; None: stacked."""
        return self.everywhere or self.ways.get(name)


@redacted_repr
@dataclass(frozen=True)
class ColumnBatches(OfEpoch):
    """Cuts rows into batches, and makes each a dict of columns.

    Args:
        sample_type: Type of the samples.
        type_is_known: As for `batch_of`.
        size: Samples of a batch.
        drop_last: Whether a smaller batch at the end is left out.
        options: What is asked of columns.
        then: Applied to each dict.
        decoding: What is made of pictures.
    """

    sample_type: type
    type_is_known: bool
    size: int
    drop_last: bool
    options: ColumnOptions
    then: Callable[[dict[str, Column]], Any] | None = None
    decoding: Decoding | None = None

    def in_epoch(self, seed: int, epoch: int, *, workers: int = 1) -> ColumnBatches:
        """See `OfEpoch`."""
        if self.decoding is None:
            return self
        return replace(self, decoding=self.decoding.of(seed, epoch, workers=workers))

    def __call__(self, runs: Iterator[Run]) -> Iterator[tuple[Any, int]]:
        checked: dict[type, CheckedOptions] = {}
        batches = batches_of(
            runs,
            self.sample_type,
            self.size,
            type_is_known=self.type_is_known,
            drop_last=self.drop_last,
            decoding=self.decoding,
        )
        for batch, samples_taken in batches:
            held = columnar(batch)
            if held.sample_type not in checked:
                checked[held.sample_type] = self.options.of(held.kinds)
            columns = columns_of(held, checked[held.sample_type])
            yield (columns if self.then is None else self.then(columns)), samples_taken


def columns_of(held: Columnar, checked: CheckedOptions) -> dict[str, Column]:
    """A batch as a dict of columns.

    Raises:
        RaggedFieldError: Arrays that differ, in a field for which no way was given; an int beyond
            int64; two columns of one name.
    """
    out: dict[str, Column] = {}
    for name in held.fields:
        more = _typed(held, name, checked) if held.kinds else _untyped(held, name, checked)
        for suffix, column in more.items():
            if suffix and f"{name}{suffix}" in held.fields:
                raise RaggedFieldError(
                    f"{name}{suffix}: there is a field of that name, and the column that belongs "
                    f"to {name!r} is called so as well. Pass ragged={{{name!r}: 'list'}}, and no "
                    "fill for it."
                )
            out[f"{name}{suffix}"] = column
    return out


def _typed(held: Columnar, name: str, checked: CheckedOptions) -> dict[str, Column]:
    """The columns of a field, by what their names end with."""
    field, fill = held.kinds[name], checked.fills.get(name)
    optional = field.optional and fill is None
    ragged = isinstance(field.kind, Array) and field.kind.shape != ()
    way = checked.way(name) if ragged else checked.ways.get(name)
    found: dict[str, Column]
    if isinstance(field.kind, Array) and way in ("pad", "flat"):
        found = _ragged(held, name, field.kind, way, fill)
        return {**found, ".mask": held.present(name)} if field.optional else found
    if way == "list" or optional or not (is_number(field.kind) or isinstance(field.kind, Array)):
        found = {"": _filled(held.values(name), fill)}
    else:
        found = {"": held.column(name, fill)}
    return found if fill is None else {**found, ".mask": held.present(name)}


def _untyped(held: Columnar, name: str, checked: CheckedOptions) -> dict[str, Column]:
    """The same without a type: what the values say, as long as they all say the same."""
    values, fill = held.values(name), checked.fills.get(name)
    more: dict[str, Column] = {} if fill is None else {".mask": held.present(name)}
    if checked.way(name) == "list":
        return {"": _filled(values, fill), **more}
    there = [value for value in values if value is not None]
    way = checked.way(name)
    if way and there and all(isinstance(v, np.ndarray) for v in there):
        return {**_ragged(held, name, Array(), way, fill), **more}
    values = _filled(values, fill)
    if untyped_kind(name, values, held.keys) is None:
        return {"": values, **more}
    return {"": held.column(name, fill), **more}


def _filled(values: list[Any], fill: Any) -> list[Any]:
    return values if fill is None else [fill if value is None else value for value in values]


def _ragged(held: Columnar, name: str, kind: Array, way: str, fill: Any) -> dict[str, Column]:
    values = _filled(held.values(name), fill)
    one = next((value for value in values if value is not None), None)
    if one is None:
        # float64, where the kind names no dtype: as NumPy's own empty arrays.
        one = np.empty(tuple(size or 0 for size in kind.shape or (0,)), kind.dtype)
    empty = np.empty((0, *one.shape[1:]) if one.ndim else (), one.dtype)
    arrays = [empty if value is None else value for value in values]
    if way == "pad":
        out, lengths = _padded(name, arrays, empty)
        return {"": out, ".lengths": lengths}
    out, offsets = _flat(name, arrays, empty)
    return {"": out, ".offsets": offsets}


def _one_dtype(name: str, values: list[Any]) -> tuple[Any, int]:
    found = {(value.dtype, value.ndim) for value in values}
    if len(found) != 1:
        raise RaggedFieldError(
            f"{name}: arrays of this batch differ in dtype or in their number of dimensions: "
            f"{', '.join(f'{d} of {n}' for d, n in sorted(found, key=str))}. Pass ragged='list'."
        )
    return found.pop()


def _padded(name: str, values: list[Any], empty: AnyArray) -> tuple[AnyArray, AnyArray]:
    dtype, dimensions = _one_dtype(name, values or [empty])
    lengths = np.array([value.shape for value in values], np.int64).reshape(len(values), dimensions)
    out = np.zeros((len(values), *lengths.max(axis=0, initial=0).tolist()), dtype)
    for row, value in enumerate(values):
        out[row, ...][tuple(map(slice, value.shape))] = value
    return out, lengths[:, 0] if dimensions == 1 else lengths


def _flat(name: str, values: list[Any], empty: AnyArray) -> tuple[AnyArray, AnyArray]:
    dtype, dimensions = _one_dtype(name, values or [empty])
    if not dimensions or len({value.shape[1:] for value in values or [empty]}) != 1:
        raise RaggedFieldError(
            f"{name}: arrays of this batch differ after their first axis, or have none, and "
            f"cannot be joined along it. Pass ragged={{{name!r}: 'pad'}}."
        )
    offsets = np.cumsum([0, *map(len, values)], dtype=np.int64)
    return np.concatenate([empty[:0], *values], dtype=dtype), offsets
