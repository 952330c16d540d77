"""What can be said of shards by looking at them."""

from __future__ import annotations

import typing
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

from atdata._digest import sha256_of
from atdata._protocols import DataSource
from atdata._shardlist import ShardInfo
from atdata.samples.codec import is_sample_type
from atdata.shards.reader import count_samples
from atdata.shards.tar.unread import Unread
from atdata.sources.capabilities import local_path


def describe(source: DataSource, shard: ShardInfo, unread: Unread) -> ShardInfo:
    """The same with all that reading tells, if the shard is a local file; else unchanged.

    Args:
        source: Where it is.
        shard: What is known of it.
        unread: Told of members that are no samples.

    Raises:
        ShardError: The shard is damaged.
        SourceError: It is no file.
    """
    place = local_path(source, shard.url)
    if place is None or None not in (shard.samples, shard.bytes, shard.sha256):
        return shard
    with closing(source.open_shard(shard.url)) as stream:
        sha256, size = sha256_of(stream)
    samples = count_samples(place, shard=shard.url, unread=unread)
    return replace(shard, samples=samples, bytes=size, sha256=sha256)


def returned_type(function: Callable[..., Any]) -> type | None:
    """The sample type that a function's return annotation names, if it does."""
    try:
        hint = typing.get_type_hints(function).get("return")
    except (NameError, TypeError):
        return None
    return hint if is_sample_type(hint) else None
