"""Columns → shards: whole runs of samples are built as bytes at once.

The bytes are those that the same samples give one by one, through `writer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atdata._limits import limits
from atdata._shardlist import ShardUrls
from atdata.errors import EncodeError, NoDataUrlsError
from atdata.samples.codec import SampleCodec
from atdata.samples.kinds import Field, Misfit
from atdata.samples.packing import map_head, map_key
from atdata.samples.wire import check_readable
from atdata.shards.columns.given import given_columns
from atdata.shards.columns.packers import Pack, Piece, RowMisfit, Values, pack_of
from atdata.shards.open_shard import ShardSink
from atdata.shards.runs import FIRST_ROWS, Run, most_rows, rows_after
from atdata.shards.writer import write_runs


def write_shard_columns(
    columns: Mapping[str, Values],
    codec: SampleCodec[Any],
    sink: ShardSink,
    *,
    stem: str,
    maxcount: int | None = None,
    maxsize: int | None = None,
    fsync: bool = True,
) -> ShardUrls:
    """Write samples that are there field by field.

    Shards, keys, names and what is left after an error are as for
    `atdata.shards.writer.write_shards`; keys are the samples' numbers.

    Args:
        columns: Field name → one value a sample; read only.
        codec: Codec of their type.
        sink: Takes each shard when it is finished.
        stem: Start of the shards' names.
        maxcount: Most samples of a shard.
        maxsize: Largest tar, in bytes, padding included.
        fsync: Wait until each shard is on the disk.

    Raises:
        EncodeError: A value does not fit its field, a field has neither column nor default, or
            columns differ in length.
        NoDataUrlsError: There are no samples.
        OptionError: A limit below 1, or a sample that alone is larger than ``maxsize``.
        ShardError: A sample over 4 GiB.
    """
    source = _Columns(columns, codec)
    return write_runs(source, sink, stem=stem, maxcount=maxcount, maxsize=maxsize, fsync=fsync)


class RunPacker:
    """Packs samples that are there field by field.

    Args:
        codec: Codec of their type.
        pack_of_field: Field and what goes before its values → how they are packed.

    Raises:
        EncodeError: `pack_of_field` raised Misfit.
    """

    def __init__(
        self, codec: SampleCodec[Any], pack_of_field: Callable[[Field, bytes], Pack]
    ) -> None:
        self._type = codec.sample_type.__name__
        self._containers = codec.containers
        self._fields: list[tuple[str, Pack]] = []
        head = map_head(len(codec.fields))
        for field in codec.fields:
            try:
                pack = pack_of_field(field, head + map_key(field.name))
            except Misfit as misfit:
                path = misfit if misfit.steps else misfit.at(f".{field.name}")
                raise EncodeError(f"{self._type} {path}") from None
            self._fields.append((field.name, pack))
            head = b""

    def run(self, first: int, columns: Sequence[Values]) -> Run:
        """Samples as a run.

        Args:
            first: The number of the first one.
            columns: The values of each field, at least one.

        Raises:
            EncodeError: A value does not fit its field; names the sample and the path.
            ShardError: A sample is too large.
        """
        pieces: list[Piece] = []
        for (name, pack), values in zip(self._fields, columns, strict=True):
            try:
                pieces.append(pack(values))
            except RowMisfit as misfit:
                message = f"sample {first + misfit.row}: {self._type} {misfit.at(f'.{name}')}"
                raise EncodeError(message) from None
        if self._containers:
            self._check_containers(first, pieces, len(columns[0]))
        return Run.of(first, pieces, len(columns[0]))

    def _check_containers(self, first: int, pieces: list[Piece], count: int) -> None:
        """Refuse rows of more lists and maps than reading takes; each of them takes a byte."""
        sizes = np.zeros(count, np.int64)
        for (name, _), piece in zip(self._fields, pieces, strict=True):
            if name in self._containers:
                sizes += piece.sizes
        for row in np.flatnonzero(sizes > limits.containers).tolist():
            parts = (next(iter(x)) for p in pieces for x in p.part(row, row + 1).columns())
            try:
                check_readable(b"".join(parts))
            except EncodeError as error:
                raise EncodeError(f"sample {first + row}: {self._type}: {error}") from None


class _Columns:
    """Columns as runs.

    Raises:
        EncodeError: Columns that no samples can have.
        NoDataUrlsError: There are no samples.
    """

    def __init__(self, columns: Mapping[str, Values], codec: SampleCodec[Any]) -> None:
        columns = given_columns(columns, codec)
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} has {length:,}" for name, length in lengths.items())
            raise EncodeError(f"The columns differ in their number of values: {told}.")
        if not lengths or not min(lengths.values()):
            raise NoDataUrlsError("There is nothing to write: not one sample.")
        self.count = next(iter(lengths.values()))
        self._columns: list[Values] = []

        def pack_of_field(field: Field, before: bytes) -> Pack:
            column = columns.get(field.name)
            if column is None:
                column = _Repeated(codec.missing(field.name), self.count)
            self._columns.append(column)
            return pack_of(field, column, before)

        self._packer = RunPacker(codec, pack_of_field)
        self._rows = FIRST_ROWS

    def runs(self, start: int, end: int | None) -> Iterator[Run]:
        """Some of the samples, in order."""
        last = self.count if end is None else end
        while start < last:
            stop = min(last, start + min(self._rows, most_rows(start)))
            run = self._packer.run(start, [column[start:stop] for column in self._columns])
            yield run
            start, self._rows = stop, rows_after(run)


@dataclass(frozen=True, slots=True)
class _Repeated(Sequence[Any]):
    """A column of a default."""

    value: Any
    size: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, rows: Any) -> Any:
        return [self.value] * len(range(self.size)[rows])
