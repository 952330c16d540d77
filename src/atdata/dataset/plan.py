"""The one way samples go: source, steps, order, batches. Everything that reads comes through here.

A plan reads blocks of consecutive samples, applies its steps to each block, mixes the rows
where an order asks for it, and cuts them into batches last. So batching never changes what is
read, and steps compose in every order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np

from atdata._protocols import DataSource
from atdata.dataset.describe import local_path
from atdata.dataset.order import ShuffleOrder
from atdata.dataset.rows import Rows, SampleRows, ViewedRows
from atdata.lenses.lens import Lens
from atdata.samples.batch import Column, SampleBatch
from atdata.samples.codec import SampleCodec, codec_of
from atdata.shards.reader import Block, read_blocks

_LONG_BATCH: Final = 64
"""Rows from which on a batch is worth a block of its own."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Keep the samples for which a function is true."""

    predicate: Callable[[Any], bool]

    def apply(self, rows: Rows) -> Rows:
        samples = rows.samples()
        kept = [i for i, sample in enumerate(samples) if self.predicate(sample)]
        if len(kept) == len(samples):
            return rows
        keys = rows.keys
        return SampleRows([keys[i] for i in kept], [samples[i] for i in kept])


@dataclass(frozen=True, slots=True)
class Map:
    """Replace each sample by what a function makes of it."""

    function: Callable[[Any], Any]

    def apply(self, rows: Rows) -> Rows:
        return SampleRows(rows.keys, [self.function(sample) for sample in rows.samples()])


@dataclass(frozen=True, slots=True)
class View:
    """See each sample through a lens."""

    lens: Lens[Any, Any]

    def apply(self, rows: Rows) -> Rows:
        if self.lens.renames is not None:
            return ViewedRows(rows, self.lens, dict(self.lens.renames))
        return SampleRows(rows.keys, [self.lens.get(sample) for sample in rows.samples()])


Step: TypeAlias = Filter | Map | View


@dataclass(frozen=True, slots=True)
class Plan:
    """What is read and what is done to it, without an order yet."""

    source: DataSource
    stored_type: type
    """What the shards hold."""
    steps: tuple[Step, ...] = ()

    def with_step(self, step: Step) -> Plan:
        """The same plan with one step more."""
        return replace(self, steps=(*self.steps, step))

    def blocks_of(self, shard: str, rows: int | None = None) -> Iterator[Block[Any]]:
        """The rows of one shard, before any step; ``rows`` in a block, None: as is fastest."""
        codec: SampleCodec[Any] = codec_of(self.stored_type)
        place = local_path(self.source, shard)
        if place is not None:
            yield from read_blocks(place, shard=shard, codec=codec, rows=rows)
            return
        with closing(self.source.open_shard(shard)) as stream:
            yield from read_blocks(stream, shard=shard, codec=codec, rows=rows)

    def rows(self, order: ShuffleOrder | None = None, size: int | None = None) -> Iterator[Rows]:
        """Every row, in the order asked for; read ``size`` at a time where nothing is mixed."""
        if order is None:
            for shard in self.source.shard_list:
                yield from self.rows_of(shard, size)
        else:
            streams = [partial(self.rows_of, shard) for shard in self.source.shard_list]
            yield from order.mix(streams)

    def samples(self, order: ShuffleOrder | None = None) -> Iterator[Any]:
        """Every sample, one by one."""
        for rows in self.rows(order):
            yield from rows.samples()

    def batches(
        self, sample_type: type, size: int, order: ShuffleOrder | None = None
    ) -> Iterator[SampleBatch[Any]]:
        """Every sample, ``size`` at a time; the last batch may be smaller."""
        waiting: list[Rows] = []
        have = 0
        # Blocks as long as batches need not be put together, which costs another copy.
        for rows in self.rows(order, size if size >= _LONG_BATCH else None):
            at = 0
            while have + len(rows) - at >= size:
                need = size - have
                waiting.append(rows if need == len(rows) else rows.take(slice(at, at + need)))
                yield _batch(sample_type, waiting)
                at, have, waiting = at + need, 0, []
            if at < len(rows):
                waiting.append(rows.take(slice(at, len(rows))) if at else rows)
                have += len(rows) - at
        if have:
            yield _batch(sample_type, waiting)

    def _stepped(self, blocks: Iterator[Rows]) -> Iterator[Rows]:
        for rows in blocks:
            for step in self.steps:
                rows = step.apply(rows)
            if len(rows):
                yield rows

    def rows_of(self, shard: str, size: int | None = None) -> Iterator[Rows]:
        """The rows of one shard, every step applied; ``size`` as in `rows`."""
        return self._stepped(self.blocks_of(shard, size))


def _batch(sample_type: type, parts: Sequence[Rows]) -> SampleBatch[Any]:
    keys = [key for part in parts for key in part.keys]
    columns = [part.columns() for part in parts]
    known = [column for column in columns if column is not None]
    if len(known) == len(columns) and known and known[0]:
        return SampleBatch(sample_type, keys, _joined(known))
    return SampleBatch(
        sample_type, keys, samples=[sample for part in parts for sample in part.samples()]
    )


def _joined(parts: Sequence[dict[str, Column]]) -> dict[str, Column]:
    if len(parts) == 1:
        return parts[0]
    return {name: _join([part[name] for part in parts]) for name in parts[0]}


def _join(parts: Sequence[Column]) -> Column:
    first = parts[0]
    if isinstance(first, np.ndarray) and all(
        isinstance(part, np.ndarray)
        and part.dtype == first.dtype
        and part.shape[1:] == first.shape[1:]
        for part in parts
    ):
        return np.concatenate(parts, dtype=first.dtype)  # without it, in native byte order
    values: list[Any] = []
    for part in parts:
        # A column of numbers beside a list: Python's own numbers, as in a list.
        scalars = isinstance(part, np.ndarray) and part.ndim == 1
        values += part.tolist() if scalars and isinstance(part, np.ndarray) else list(part)
    return values
