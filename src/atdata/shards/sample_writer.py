"""Samples one by one → shards: gathered into runs, packed as columns where that is safe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final, TypeVar

from atdata._shardlist import ShardUrls
from atdata.errors import EncodeError, SampleTypeError
from atdata.samples.codec import SampleCodec
from atdata.samples.pickling import defined_again
from atdata.shards.column_writer import RunPacker
from atdata.shards.columns.packers import pack_list, packed_values
from atdata.shards.open_shard import ShardSink
from atdata.shards.runs import FIRST_ROWS, RUN, Run, most_rows, rows_after
from atdata.shards.writer import write_runs

T = TypeVar("T")

_AT_ONCE: Final = 4096
"""Samples that are gathered at once."""


def write_shard_samples(
    samples: Iterable[T],
    codec: SampleCodec[T],
    sink: ShardSink,
    *,
    stem: str,
    maxcount: int | None = None,
    maxsize: int | None = None,
    fsync: bool = True,
) -> ShardUrls:
    """Write samples; their keys are their numbers.

    Shards, names and what is left after an error are as for `atdata.shards.writer.write_shards`.

    Args:
        samples: Samples of the codec's type; read once, in order.
        codec: Their codec.
        sink: Takes each shard when it is finished.
        stem: Start of the shards' names.
        maxcount: Most samples of a shard.
        maxsize: Largest tar, in bytes, padding included.
        fsync: Wait until each shard is on the disk.

    Raises:
        EncodeError: A value does not fit its field; names the sample and the path.
        SampleTypeError: A sample of another type.
        NoDataUrlsError: There are no samples.
        OptionError: A limit below 1, or a sample that alone is larger than ``maxsize``.
        ShardError: A sample over 4 GiB.
        StoreError: The disk, or the sink, cannot take a shard.
    """
    source = _Gathered(samples, codec)
    return write_runs(source, sink, stem=stem, maxcount=maxcount, maxsize=maxsize, fsync=fsync)


class _Gathered:
    """Samples as runs."""

    def __init__(self, samples: Iterable[Any], codec: SampleCodec[Any]) -> None:
        self._samples = samples
        self._codec = codec
        self._getters = [attrgetter(field.name) for field in codec.fields]
        self._packer = RunPacker(codec, pack_list)
        # Whoever makes samples as they are asked for may use an array again for the next one,
        # so each is packed before the next is taken. Those of a list are all there already.
        there = type(samples) in (list, tuple) and self._getters
        self.count = len(samples) if there else None  # type: ignore[arg-type]
        self._rows = FIRST_ROWS

    def runs(self, start: int, end: int | None) -> Iterator[Run]:
        """Some of the samples, in order."""
        if self.count is not None:
            yield from self._of_list(self._samples, start, end or self.count)  # type: ignore[arg-type]
            return
        samples = iter(self._samples)
        while run := self._one_by_one(islice(samples, min(_AT_ONCE, most_rows(start))), start):
            yield run
            start += len(run)

    def _of_list(self, samples: Sequence[Any], start: int, end: int) -> Iterator[Run]:
        while chunk := samples[start : min(end, start + min(self._rows, most_rows(start)))]:
            run = self._as_columns(chunk, start) or self._one_by_one(chunk, start)
            assert run is not None
            yield run
            start += len(run)
            self._rows = min(_AT_ONCE, rows_after(run))

    def _as_columns(self, chunk: Sequence[Any], first: int) -> Run | None:
        """Samples as a run; None: they have to be packed one by one, if they can be at all."""
        if set(map(type, chunk)) != {self._codec.sample_type}:
            return None
        try:
            return self._packer.run(first, [list(map(get, chunk)) for get in self._getters])
        except EncodeError:
            return None

    def _one_by_one(self, samples: Iterable[Any], first: int) -> Run | None:
        """As many samples as make a run, the first one of this number; None: there is none."""
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
            if size >= RUN:
                break
        return Run.of(first, [packed_values(packed)], len(packed)) if packed else None
