"""What is read and what is done to it: source, steps, rows, batches.

Everything that reads comes through here. Rows come in runs, each row with the number of
stored samples that are behind the reader once it is taken; steps are applied to a run at a
time; cutting into batches comes last. So batching never changes what is read, steps compose
in every order, and a state says where to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from atdata._arrays import Integers
from atdata._protocols import DataSource
from atdata._secrets import redacted_repr
from atdata._shardlist import ShardInfo
from atdata.dataset.reading.prefetch import OpenedAhead
from atdata.dataset.reading.results import checked_results, type_of_results
from atdata.dataset.reading.rows import Rows, SampleRows, SharedRows, ViewedRows, joined
from atdata.dataset.reading.tables import ShardTables
from atdata.dataset.reading.verify import Verify, check_file, of_stream
from atdata.dataset.reading.whole import whole_shard
from atdata.errors import OptionError
from atdata.lenses.lens import Lens
from atdata.samples.batch import SampleBatch
from atdata.samples.codec import SampleCodec, codec_of, fields_of
from atdata.samples.pickling import check_function, check_type
from atdata.shards.reader import Block, read_blocks
from atdata.shards.table_reader import read_by_table
from atdata.shards.tar.keys import Keys
from atdata.shards.tar.table import SampleTable
from atdata.shards.tar.window import MappedFile
from atdata.sources.capabilities import local_path
from atdata.sources.verified import verified


@redacted_repr
@dataclass(frozen=True, slots=True)
class Filter:
    """Keep the samples for which a function is true."""

    predicate: Callable[[Any], bool]

    def apply(self, rows: Rows) -> tuple[Rows, Integers]:
        samples = rows.samples()
        kept = [i for i, sample in enumerate(samples) if self.predicate(sample)]
        if len(kept) < len(samples):
            keys = rows.keys
            rows = SampleRows([keys[i] for i in kept], [samples[i] for i in kept])
        return rows, np.array(kept, np.int64)


@redacted_repr
@dataclass(frozen=True, slots=True)
class Map:
    """Replace each sample by what a function makes of it."""

    function: Callable[[Any], Any]
    declared: type | None
    """What it returns; None: nothing says so, and what it gives is taken as it is."""

    def apply(self, rows: Rows) -> Rows:
        made = [self.function(sample) for sample in rows.samples()]
        if self.declared is not None:
            made = checked_results(self.function, made, self.declared, rows.keys)
        return SampleRows(rows.keys, made)


@redacted_repr
@dataclass(frozen=True, slots=True)
class View:
    """See each sample through a lens."""

    lens: Lens[Any, Any]

    def apply(self, rows: Rows) -> Rows:
        if self.lens.renames is not None:
            return ViewedRows(rows, self.lens, dict(self.lens.renames))
        return SampleRows(rows.keys, [self.lens.get(sample) for sample in rows.samples()])


Step: TypeAlias = Filter | Map | View

Run: TypeAlias = tuple[Rows, Integers]
"""Rows, and for each how many stored samples have been taken once it is; shape (n,)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is read and what is done to it, without an order yet."""

    source: DataSource
    stored_type: type
    """What the shards hold."""
    steps: tuple[Step, ...] = ()
    known: Mapping[str, ShardInfo] = field(default_factory=dict, compare=False, repr=False)
    """What is recorded of shards, by identifier: they are held against it."""
    verify: Verify | None = None

    def with_step(self, step: Step) -> Plan:
        """The same plan with one step more."""
        return replace(self, steps=(*self.steps, step))

    def check_sendable(self) -> None:
        """Refuse what another process would not find.

        Raises:
            NotSendableError: A class or a function of a step; says what to do.
        """
        check_type(self.stored_type)
        for step in self.steps:
            if isinstance(step, Filter):
                check_function(step.predicate, "the function of filter()")
            elif isinstance(step, Map):
                check_function(step.function, "the function of map()")

    @property
    def is_plain(self) -> bool:
        """Whether samples come out as they are stored."""
        return not self.steps

    @property
    def is_filtered(self) -> bool:
        """Whether some samples may be left out."""
        return any(isinstance(step, Filter) for step in self.steps)

    def blocks_of(self, number: int, tables: ShardTables) -> Iterator[Block[Any]]:
        """The rows of one shard, before any step. Every header is looked at.

        Args:
            number: Which.
            tables: Told of members that are not read, and which version of the shard is.
        """
        shard = tables.shards[number]
        codec: SampleCodec[Any] = codec_of(self.stored_type)
        whole = partial(self._whole, shard)
        read = partial(read_blocks, shard=shard, codec=codec, unread=tables.unread, whole=whole)
        place = local_path(self.source, shard)
        if place is not None:
            check_file(place, self.known.get(shard), self.verify)
            yield from self._opened(number, place, tables, read(place))
            return
        with closing(self._stream_of(shard)) as stream:
            yield from _counted(number, tables, read(stream))

    def _stream_of(self, shard: str) -> IO[bytes]:
        return verified(
            self.source.open_shard(shard), of_stream(self.known.get(shard), self.verify)
        )

    def _whole(self, shard: str) -> MappedFile:
        return whole_shard(self.source, shard, self._stream_of)

    def runs(
        self, size: int | None = None, *, tables: ShardTables, copy: bool = True
    ) -> Iterator[Run]:
        """Every row in the order it is stored in, in runs that end where batches of ``size`` do.

        Args:
            size: Samples of a batch.
            tables: Where local shards' tables are found, and what members are not read.
            copy: As for `Block`.
        """
        before = 0
        shards = self.source.shard_list
        with (
            closing(OpenedAhead(self._stream_of)) as remote,
            tables.unread.reading() as unread,
        ):
            for number, shard in enumerate(shards):
                first = -before % size if size else None
                options = {"rows": size, "first": first, "copy": copy, "unread": unread}
                behind = shards[number + 1] if number + 1 < len(shards) else None
                place = local_path(self.source, shard)
                if place is None:
                    streamed = self._streamed(shard, options, remote, behind)
                    blocks = _counted(number, tables, streamed)
                else:
                    check_file(place, self.known.get(shard), self.verify)
                    table = tables.trusted(number, place)
                    mapped = self._mapped(shard, place, table, options)
                    blocks = self._opened(number, place, tables, mapped)
                for block in blocks:
                    rows, kept = self.stepped(block)
                    yield rows, before + kept + 1
                    before += len(block)

    def _opened(
        self, number: int, place: Path, tables: ShardTables, blocks: Iterator[Block[Any]]
    ) -> Iterator[Block[Any]]:
        """The rows of a local shard, unless it was replaced before it was open."""
        tables.versions.look(number, place)
        for done, block in enumerate(_counted(number, tables, blocks)):
            if not done:
                local_path(self.source, tables.shards[number])
                tables.versions.look(number, place)
            yield block

    def _mapped(
        self, shard: str, place: Path, table: SampleTable | None, options: dict[str, Any]
    ) -> Iterator[Block[Any]]:
        """The rows of a local shard: by its table, where it is to be trusted, or by a scan."""
        codec: SampleCodec[Any] = codec_of(self.stored_type)
        if table is None:
            return read_blocks(place, shard=shard, codec=codec, **options)
        return read_by_table(place, table, shard=shard, codec=codec, **options)

    def _streamed(
        self, shard: str, options: dict[str, Any], remote: OpenedAhead, behind: str | None
    ) -> Iterator[Block[Any]]:
        """The rows of a shard on a server, as they come; ``behind`` is the shard read next."""
        codec: SampleCodec[Any] = codec_of(self.stored_type)
        with closing(remote.open(shard)) as window:
            whole = partial(self._whole, shard)
            for block in read_blocks(window, shard=shard, codec=codec, whole=whole, **options):
                if window.final and behind and local_path(self.source, behind) is None:
                    remote.prepare(behind)
                yield block

    def rows_of(self, number: int, tables: ShardTables) -> Iterator[Rows]:
        """The rows of one shard, every step applied; arguments as for `blocks_of`."""
        for block in self.blocks_of(number, tables):
            rows, _ = self.stepped(block)
            if len(rows):
                yield rows

    @property
    def is_declared(self) -> bool:
        """Whether something says of which type the samples are that come out."""
        for step in reversed(self.steps):
            if not isinstance(step, Filter):
                return isinstance(step, View) or step.declared is not None
        return True

    def stepped(self, rows: Rows) -> tuple[Rows, Integers]:
        """Rows with every step applied, and which of them are left."""
        left = np.arange(len(rows), dtype=np.int64)
        for step in self.steps:
            if isinstance(step, Filter):
                rows, kept = step.apply(rows)
                left = left[kept]
            else:
                rows = step.apply(rows)
        return rows, left


def _counted(
    number: int, tables: ShardTables, blocks: Iterator[Block[Any]]
) -> Iterator[Block[Any]]:
    """The rows of a shard, which has to have as many as it had before."""
    tables.versions.check(number)
    count = 0
    for block in blocks:
        count += len(block)
        yield block
    tables.versions.counted(number, count)


def samples_of(runs: Iterator[Run]) -> Iterator[tuple[Any, int]]:
    """Every sample, each with what has been taken once it is."""
    for rows, taken in runs:
        samples = rows.each() if isinstance(rows, Block) else rows.samples()
        yield from zip(samples, taken.tolist(), strict=True)


def batches_of(
    runs: Iterator[Run],
    sample_type: type,
    size: int,
    *,
    declared: bool = True,
    drop_last: bool = False,
) -> Iterator[tuple[SampleBatch[Any], int]]:
    """Every row, ``size`` at a time; the last batch may be smaller, or is dropped.

    ``sample_type`` and ``declared`` are as for `batch_of`.
    """
    waiting: list[Rows] = []
    have = behind = 0
    for run, taken in runs:
        rows, count = SharedRows(run), len(run)
        at = 0
        while have + count - at >= size:
            need = size - have
            waiting.append(rows if need == count else rows.take(slice(at, at + need)))
            at += need
            yield batch_of(sample_type, waiting, declared=declared), int(taken[at - 1])
            have, waiting = 0, []
        if at < count:
            waiting.append(rows.take(slice(at, count)) if at else rows)
            have += count - at
            behind = int(taken[-1])
        # What is read next takes the place of these rows, where nobody needs them any more.
        del run, rows
    if have and not drop_last:
        yield batch_of(sample_type, waiting, declared=declared), behind


def check_batch_size(value: object) -> None:
    """Let a batch size pass that is one.

    Raises:
        OptionError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise OptionError(f"batch_size is {value!r}; it must be an int of 1 or more.")


def batch_of(
    sample_type: type, parts: Sequence[Rows], *, declared: bool = True
) -> SampleBatch[Any]:
    """Rows as one batch, column by column where they have columns.

    Args:
        sample_type: Type of the samples.
        parts: The rows.
        declared: Whether that is known to be their type; else it is what they turn out to be of.

    Raises:
        SampleTypeError: They turn out to have no fields, or to be of several types.
    """
    keys = Keys.joined([part.keys for part in parts])
    fields = fields_of(sample_type)
    # Samples without a type may each have other fields, so that columns are the batch's.
    known = [columns for part in parts if fields and (columns := part.columns())]
    if known and len(known) == len(parts):
        return SampleBatch(sample_type, keys, joined(known, fields))
    samples = [sample for part in parts for sample in part.samples()]
    made = type_of_results(samples, sample_type, declared=declared)
    return SampleBatch(made, keys, samples=samples)
