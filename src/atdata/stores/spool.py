"""A dataset's samples as finished shards: what every store begins with."""

from __future__ import annotations

from collections.abc import Iterable

from atdata._shardlist import ShardUrls
from atdata.shards.writer import PackedSample, ShardSink, write_shards


def write_packed(
    samples: Iterable[PackedSample],
    sink: ShardSink,
    *,
    stem: str,
    maxcount: int | None = None,
    maxsize: int | None = None,
) -> ShardUrls:
    """Write samples to shards and give each to the sink when it is finished.

    Stores outside this room come through here: they know nothing of tar.
    Arguments, result and errors are those of `atdata.shards.writer.write_shards`.
    """
    return write_shards(samples, sink, stem=stem, maxcount=maxcount, maxsize=maxsize)
