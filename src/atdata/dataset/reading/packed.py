"""Samples as stored, key and msgpack bytes, to copy them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from atdata.dataset.reading.epoch import DatasetEpoch, Epoch, read_epoch
from atdata.dataset.reading.in_order import read_shard
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.ranks import Share, left_of, positions_in, share_of
from atdata.dataset.reading.rows import Rows
from atdata.dataset.reading.steps import Steps
from atdata.errors import SampleTypeError
from atdata.samples.codec import SampleCodec, codec_of
from atdata.samples.pickling import defined_again
from atdata.shards.writer import PackedSample


def packed(
    shards: PositionedShards,
    steps: Steps,
    sample_type: type,
    splits: Sequence[str | None],
    share: Share,
) -> Iterator[PackedSample]:
    """The samples of one rank, in the order that they are stored in.

    Args:
        shards: What is read.
        steps: What is done to it.
        sample_type: Type of the samples that come out.
        splits: Split of each shard.
        share: The rank. If it is the only one, shards are read one by one, without tables.

    Raises:
        SampleTypeError: A sample is of another type.
    """
    if share.world_size > 1:
        yield from _packed_share(shards, steps, sample_type, splits, share)
        return
    with shards.unread.reading():
        for number, split in enumerate(splits):
            for rows in read_shard(shards, number, steps):
                for key, payload in packed_rows(rows, steps, sample_type):
                    yield PackedSample(key, payload, number, split)


def _packed_share(
    shards: PositionedShards,
    steps: Steps,
    sample_type: type,
    splits: Sequence[str | None],
    share: Share,
) -> Iterator[PackedSample]:
    epoch = DatasetEpoch(shards, steps, None)
    ranges = share_of(left_of(len(epoch), []), share)
    last = shard = -1
    for rows, taken in read_epoch(epoch, ranges, size=None):
        positions = positions_in(ranges, taken - 1)
        numbers = shards.numbers_of(positions).tolist()
        found = zip(packed_rows(rows, steps, sample_type), positions.tolist(), numbers, strict=True)
        for (key, payload), position, number in found:
            if position > last:
                last, shard = position, number
                yield PackedSample(key, payload, number, splits[number])
            else:
                # The sample that makes all parts equally long: a key is unique in its shard.
                yield PackedSample(f"{key}-again", payload, shard, splits[shard])


def packed_by_position(epoch: Epoch, sample_type: type, share: Share) -> Iterator[PackedSample]:
    """Samples of one rank that are not those of shards; the key of each is its position.

    Those of one key in several datasets, or chosen twice, would otherwise meet in one shard.
    """
    ranges = share_of(left_of(len(epoch), []), share)
    last = -1
    for rows, taken in read_epoch(epoch, ranges, size=None):
        positions = positions_in(ranges, taken - 1).tolist()
        found = packed_rows(rows, Steps(sample_type), sample_type)
        for (_, payload), position in zip(found, positions, strict=True):
            # As in `_packed_share`: one may come twice.
            again = "" if position > last else "-again"
            last = max(last, position)
            yield PackedSample(f"{position:09d}{again}", payload)


def packed_rows(rows: Rows, steps: Steps, sample_type: type) -> Iterator[tuple[str, bytes]]:
    """Key and bytes of each sample; of stored ones, once they are checked, the bytes they have."""
    stored = rows.payloads() if steps.is_plain else None
    if stored is not None:
        rows.samples()
        yield from zip(rows.keys, map(bytes, stored), strict=True)
        return
    codec: SampleCodec[Any] = codec_of(sample_type)
    for key, sample in checked_samples(rows, sample_type):
        yield key, codec.pack(sample)


def checked_samples(rows: Rows, sample_type: type) -> Iterator[tuple[str, Any]]:
    """Key of each sample, and the sample.

    Raises:
        SampleTypeError: One is of another type.
    """
    for key, sample in zip(rows.keys, rows.samples(), strict=True):
        if not isinstance(sample, sample_type):
            hint = "Pass map(…, sample_type=…)."
            again = defined_again(sample_type, type(sample))
            raise SampleTypeError(
                f"Sample {key!r}: expected {sample_type.__name__}, found "
                f"{type(sample).__name__}. {again or hint}"
            )
        yield key, sample
