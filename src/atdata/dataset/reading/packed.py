"""Samples as stored, key and bytes, to copy them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from atdata._shardlist import Layout
from atdata.dataset.reading.epoch import DatasetEpoch, Epoch, read_epoch
from atdata.dataset.reading.in_order import shard_blocks
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.ranks import Share, left_of, positions_in, share_of
from atdata.dataset.reading.rows import Rows
from atdata.dataset.reading.steps import Steps
from atdata.errors import SampleTypeError
from atdata.samples.codec import SampleCodec, codec_of
from atdata.samples.pickling import defined_again
from atdata.samples.wire import unpack_map
from atdata.shards.columns.decode import Block
from atdata.shards.layouts.codec import MembersCodec
from atdata.shards.members_writer import key_of, pack_members, repacked
from atdata.shards.tar.header import BLOCK
from atdata.shards.writer import PackedSample


def packed(
    shards: PositionedShards,
    steps: Steps,
    sample_type: type,
    splits: Sequence[str | None],
    share: Share,
    layout: Layout | None,
) -> Iterator[PackedSample]:
    """The samples of one rank, in the order that they are stored in.

    Args:
        shards: What is read.
        steps: What is done to it.
        sample_type: Type of the samples that come out.
        splits: Split of each shard.
        share: The rank. If it is the only one, shards are read one by one, without tables.
        layout: In which layout; None: that of their shard.

    Raises:
        SampleTypeError: A sample is of another type.
    """
    if share.world_size > 1:
        yield from _packed_share(shards, steps, sample_type, splits, share, layout)
        return
    with shards.unread.reading():
        for number, split in enumerate(splits):
            for block in shard_blocks(shards, number, steps):
                rows, _ = steps.apply(block)
                into = layout or block.layout
                for sample in _packed_in(into, rows, rows.keys, steps, sample_type):
                    yield sample._replace(shard=number, split=split)


def _packed_share(
    shards: PositionedShards,
    steps: Steps,
    sample_type: type,
    splits: Sequence[str | None],
    share: Share,
    layout: Layout | None,
) -> Iterator[PackedSample]:
    epoch = DatasetEpoch(shards, steps, None)
    ranges = share_of(left_of(len(epoch), []), share)
    last = shard = -1
    for rows, taken in read_epoch(epoch, ranges, size=None):
        positions = positions_in(ranges, taken - 1)
        numbers = shards.numbers_of(positions).tolist()
        into = layout or (shards.tables.peek(numbers[0]).head.layout if numbers else "msgpack")
        keys, places = list(rows.keys), []
        for row, (position, number) in enumerate(zip(positions.tolist(), numbers, strict=True)):
            if position > last:
                last, shard = position, number
            else:
                # The sample that makes all parts equally long: a key is unique in its shard.
                keys[row] += "-again"
            places.append(shard)
        samples = _packed_in(into, rows, keys, steps, sample_type)
        for sample, place in zip(samples, places, strict=True):
            yield sample._replace(shard=place, split=splits[place])


def packed_by_position(
    epoch: Epoch, sample_type: type, share: Share, layout: Layout
) -> Iterator[PackedSample]:
    """Samples of one rank that are not those of shards; the key of each is its position.

    Those of one key in several datasets, or chosen twice, would otherwise meet in one shard.
    """
    ranges = share_of(left_of(len(epoch), []), share)
    last = -1
    for rows, taken in read_epoch(epoch, ranges, size=None):
        positions = positions_in(ranges, taken - 1).tolist()
        keys = []
        for position in positions:
            # As in `_packed_share`: one may come twice.
            again = "" if position > last else "-again"
            last = max(last, position)
            keys.append(f"{position:09d}{again}")
        yield from _packed_in(layout, rows, keys, Steps(sample_type), sample_type)


def _packed_in(
    layout: Layout, rows: Rows, keys: Sequence[str], steps: Steps, sample_type: type
) -> Iterator[PackedSample]:
    """Each sample, once it is checked; of stored ones in this layout, the bytes they have.

    Args:
        layout: The layout.
        rows: The samples.
        keys: The keys that they get.
        steps: What was done to stored samples.
        sample_type: The type of the samples that came out.
    """
    if layout == "msgpack":
        for key, (_, payload) in zip(keys, packed_rows(rows, steps, sample_type), strict=True):
            yield PackedSample(key, payload)
        return
    block = getattr(rows, "block", rows)
    codec: SampleCodec[Any] = codec_of(sample_type)
    if steps.is_plain and isinstance(block, Block) and block.layout == layout:
        stored = MembersCodec(codec)
        each = zip(keys, rows.keys, rows.samples(), block.ranges(), strict=True)
        for key, own, sample, (data, linked) in each:
            if stored.lacks_unrecorded(data, linked):
                yield pack_members(sample, codec, key_of(sample, codec, key))
            elif linked is not None or key != own:
                yield repacked(data, linked, key)
            else:
                yield PackedSample(key, bytes(data[BLOCK:]), head=bytes(data[:BLOCK]))
        return
    for key, (_, sample) in zip(keys, checked_samples(rows, sample_type), strict=True):
        yield pack_members(sample, codec, key_of(sample, codec, key))


def packed_rows(rows: Rows, steps: Steps, sample_type: type) -> Iterator[tuple[str, bytes]]:
    """Key and bytes of each sample; of stored ones, once they are checked, the bytes they have.

    A stored one gets the defaults that it lacks and that the schema of its type does not have.
    """
    stored = rows.payloads() if steps.is_plain else None
    codec: SampleCodec[Any] = codec_of(sample_type)
    if stored is not None:
        needed = frozenset[str]() if codec.untyped else codec.unrecorded
        for key, sample, payload in zip(rows.keys, rows.samples(), stored, strict=True):
            whole = not needed or needed <= unpack_map(payload).keys()
            yield key, bytes(payload) if whole else codec.pack(sample)
        return
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
