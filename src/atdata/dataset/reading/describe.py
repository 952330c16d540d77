"""Describing one shard by reading it to its end."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from atdata._digest import sha256_of
from atdata._shardlist import ShardInfo
from atdata.dataset.reading.shard import Shard
from atdata.shards.reader import count_samples
from atdata.shards.tar.unread import Unread


def describe(shard: Shard, unread: Unread) -> ShardInfo:
    """What is recorded of a shard; of a local file also samples, bytes and SHA-256, as found.

    Args:
        shard: The shard.
        unread: Records members that are not samples.

    Raises:
        ShardError: The shard is damaged.
        SourceError: Its file cannot be read.
    """
    recorded, path = shard.recorded, shard.located()
    if path is None or None not in (recorded.samples, recorded.bytes, recorded.sha256):
        return recorded
    with closing(shard.open_unchecked()) as stream:
        sha256, size = sha256_of(stream)
    samples = count_samples(path, shard=shard.name, unread=unread)
    return replace(recorded, samples=samples, bytes=size, sha256=sha256)
