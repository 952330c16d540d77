"""Samples one by one, or columns of them → packed rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import numpy as np

from atdata._limits import limits
from atdata.errors import EncodeError, NoDataUrlsError, SampleTypeError
from atdata.samples.codec import SampleCodec
from atdata.samples.kinds import Field, Misfit
from atdata.samples.packing import map_head, map_key
from atdata.samples.pickling import defined_again
from atdata.samples.wire import check_readable
from atdata.shards.columns.given import given_columns
from atdata.shards.columns.packers import (
    PackColumn,
    PackedColumn,
    RowMisfit,
    Values,
    pack_list,
    pack_of,
    packed_values,
)
from atdata.shards.packed_rows import BATCH_BYTES, PackedRows
from atdata.shards.tar.ustar import number_key


class RowSource(ABC):
    """Samples under the numbers 0, 1, 2, …, packed as they are asked for."""

    count: int | None
    """How many there are; None: a stream, which is read once, from its start to its end."""

    def __init__(self) -> None:
        # Nothing is known of the size of the first one.
        self._next_count = 1

    def rows(self, start: int, end: int | None) -> Iterator[PackedRows]:
        """The samples from one number up to another; None: up to the last one.

        Where `count` is known, several ranges may be read by turns.

        Raises:
            EncodeError: A value does not fit its field; names the sample and the path.
            SampleTypeError: A sample of another type.
            ShardError: A sample is too large.
        """
        end = self.count if end is None else end
        while end is None or start < end:
            stop = start + min(self._next_count, int(10 ** len(number_key(start))) - start)
            packed = self._pack(start, stop if end is None else min(stop, end))
            if packed is None:
                return
            yield packed
            start += len(packed)
            self._next_count = packed.next_count()

    @abstractmethod
    def _pack(self, start: int, stop: int) -> PackedRows | None:
        """At least one of these samples, the first ones; None: a stream ended before them."""


class ColumnRows(RowSource):
    """Samples given field by field.

    Args:
        columns: Field name → one value a sample; read only.
        codec: Codec of the samples.
        first: The number that the first one has in its dataset.

    Raises:
        EncodeError: A field has neither column nor default, a column is not of its field's type, or
            columns differ in length.
        NoDataUrlsError: There are no samples.
    """

    def __init__(
        self, columns: Mapping[str, Values], codec: SampleCodec[Any], *, first: int = 0
    ) -> None:
        super().__init__()
        self._first = first
        columns = given_columns(columns, codec)
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name} has {length:,}" for name, length in lengths.items())
            raise EncodeError(f"The columns differ in their number of values: {shown}.")
        if not lengths or not min(lengths.values()):
            raise NoDataUrlsError("There is nothing to write: not one sample.")
        self.count = count = next(iter(lengths.values()))
        self._columns: list[Values] = []

        def pack_of_field(field: Field, before: bytes) -> PackColumn:
            column = columns.get(field.name)
            if column is None:
                column = _Repeated(codec.missing(field.name), count)
            self._columns.append(column)
            return pack_of(field, column, before)

        self._packer = _RowPacker(codec, pack_of_field)

    def _pack(self, start: int, stop: int) -> PackedRows:
        columns = [column[start:stop] for column in self._columns]
        return self._packer.pack(self._first + start, columns)


class BatchRows(RowSource):
    """Samples given field by field, in batches of any size, which are read once.

    Args:
        batches: Of each its columns, as for `ColumnRows`. Empty ones are left out.
        codec: Codec of the samples.
    """

    def __init__(self, batches: Iterable[Mapping[str, Values]], codec: SampleCodec[Any]) -> None:
        super().__init__()
        self.count = None
        self._batches = iter(batches)
        self._codec = codec
        self._batch: ColumnRows | None = None
        self._start = 0
        """The number of the first sample of the batch."""

    def _pack(self, start: int, stop: int) -> PackedRows | None:
        while self._batch is None or start - self._start >= (self._batch.count or 0):
            columns = next(self._batches, None)
            if columns is None:
                return None
            if any(len(column) for column in columns.values()):
                self._batch, self._start = ColumnRows(columns, self._codec, first=start), start
        end = self._start + (self._batch.count or 0)
        return self._batch._pack(start - self._start, min(stop, end) - self._start)


class SampleRows(RowSource):
    """Samples given one by one.

    Args:
        samples: Samples of the codec's type. A list or tuple is packed column by column; anything
            else is read once, in order, each sample packed before the next one is taken.
        codec: Codec of the samples.
    """

    def __init__(self, samples: Iterable[Any], codec: SampleCodec[Any]) -> None:
        super().__init__()
        self._codec = codec
        self._getters = [attrgetter(field.name) for field in codec.fields]
        self._packer = _RowPacker(codec, pack_list)
        # A generator may use an array again for its next sample; the items of a list exist already.
        listed = type(samples) in (list, tuple) and self._getters
        self._list: Sequence[Any] | None = samples if listed else None  # type: ignore[assignment]
        self.count = None if self._list is None else len(self._list)
        self._stream = iter(samples)

    def _pack(self, start: int, stop: int) -> PackedRows | None:
        if self._list is None:
            return self._one_by_one(islice(self._stream, stop - start), start)
        samples = self._list[start:stop]
        return self._as_columns(samples, start) or self._one_by_one(samples, start)

    def _as_columns(self, samples: Sequence[Any], first: int) -> PackedRows | None:
        """Samples packed together; None: only packing them one by one finds what is wrong."""
        if set(map(type, samples)) != {self._codec.sample_type}:
            return None
        try:
            return self._packer.pack(first, [list(map(get, samples)) for get in self._getters])
        except EncodeError:
            return None

    def _one_by_one(self, samples: Iterable[Any], first: int) -> PackedRows | None:
        packed: list[bytes] = []
        size = 0
        pack, sample_type = self._codec.pack, self._codec.sample_type
        for sample in samples:
            if type(sample) is not sample_type:
                again = defined_again(sample_type, type(sample))
                raise SampleTypeError(
                    f"Sample {first + len(packed)}: expected {sample_type.__name__} like the "
                    f"first, found {type(sample).__name__}. "
                    f"{again or 'A dataset has samples of one type.'}"
                )
            try:
                payload = pack(sample)
            except EncodeError as error:
                raise EncodeError(f"sample {first + len(packed)}: {error}") from None
            packed.append(payload)
            size += len(payload)
            if size >= BATCH_BYTES:
                break
        return PackedRows.of(first, [packed_values(packed)], len(packed)) if packed else None


class _RowPacker:
    """Packs samples given field by field.

    Args:
        codec: Codec of the samples.
        pack_of_field: Gives how a field is packed, from the field and the bytes before its value.

    Raises:
        EncodeError: `pack_of_field` raised Misfit.
    """

    def __init__(
        self, codec: SampleCodec[Any], pack_of_field: Callable[[Field, bytes], PackColumn]
    ) -> None:
        self._type = codec.sample_type.__name__
        self._containers = codec.containers
        self._named_axes = codec.named_axes
        self._fields: list[tuple[str, PackColumn]] = []
        head = map_head(len(codec.fields))
        for field in codec.fields:
            try:
                pack = pack_of_field(field, head + map_key(field.name))
            except Misfit as misfit:
                path = misfit if misfit.steps else misfit.at(f".{field.name}")
                raise EncodeError(f"{self._type} {path}") from None
            self._fields.append((field.name, pack))
            head = b""

    def pack(self, first: int, columns: Sequence[Values]) -> PackedRows:
        """Pack samples.

        Args:
            first: Number of the first one.
            columns: The values of each field, at least one.

        Raises:
            EncodeError: A value does not fit its field; names the sample and the path.
            ShardError: A sample is too large.
        """
        packed: list[PackedColumn] = []
        for (name, pack), values in zip(self._fields, columns, strict=True):
            try:
                packed.append(pack(values))
            except RowMisfit as misfit:
                message = f"sample {first + misfit.row}: {self._type} {misfit.at(f'.{name}')}"
                raise EncodeError(message) from None
        if self._named_axes is not None:
            self._check_axes(first, columns)
        if self._containers:
            self._check_containers(first, packed, len(columns[0]))
        return PackedRows.of(first, packed, len(columns[0]))

    def _check_axes(self, first: int, columns: Sequence[Values]) -> None:
        assert self._named_axes is not None
        given: dict[str, Any] = {
            name: values for (name, _), values in zip(self._fields, columns, strict=True)
        }
        row = self._named_axes.check_columns(given)
        if row >= 0:
            try:
                self._named_axes.check(
                    SimpleNamespace(**{name: column[row] for name, column in given.items()})
                )
            except Misfit as misfit:
                raise EncodeError(f"sample {first + row}: {self._type} {misfit}") from None

    def _check_containers(self, first: int, columns: list[PackedColumn], count: int) -> None:
        """Refuse samples of more lists and maps than reading allows; each takes a byte at least."""
        sizes = np.zeros(count, np.int64)
        for (name, _), column in zip(self._fields, columns, strict=True):
            if name in self._containers:
                sizes += column.sizes
        for row in np.flatnonzero(sizes > limits.containers).tolist():
            parts = (next(iter(x)) for c in columns for x in c.slice(row, row + 1).buffers())
            try:
                check_readable(b"".join(parts))
            except EncodeError as error:
                raise EncodeError(f"sample {first + row}: {self._type}: {error}") from None


@dataclass(frozen=True, slots=True)
class _Repeated(Sequence[Any]):
    """A column of one value."""

    value: Any
    size: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, rows: Any) -> Any:
        return [self.value] * len(range(self.size)[rows])
