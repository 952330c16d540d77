"""The split of a shard: the recorded one, or the one in its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from atdata._shardlist import ShardInfo

SPLITS: Final = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
}
"""Words in file and folder names → name of the split that they mean."""
DEFAULT: Final = "train"
"""The split of shards of which nothing says one."""

_TOKENS: Final = re.compile(r"[A-Za-z0-9]+")
_RUNS: Final = re.compile(r"[a-z]+|[0-9]+")
_AUTHORITY: Final = re.compile(r"https?://[^/]*/?", re.IGNORECASE)
_RECORD_KEY: Final = re.compile(r"(?=.*[0-9])[2-7a-j][2-7a-z]{12}")
"""A record key made of the time: https://atproto.com/specs/tid"""
_BASE64: Final = re.compile(r"[A-Za-z0-9_-]{22}|[A-Za-z0-9_-]{27}|[A-Za-z0-9_-]{43}")
"""16, 20 or 32 bytes."""
_MOST_RUNS: Final = 3
"""Runs of letters and of digits in a word of a person's that has a split in it: ``coco2017val``."""
_LONG: Final = 8


def splits_of(shards: Sequence[ShardInfo]) -> list[str | None]:
    """For each shard its split; None where nothing says one.

    Where any split is recorded, what is recorded counts. Else a shard's file name says it, or a
    folder that not all shards share; what was derived from bytes, time or chance (CIDs, hashes,
    keys, UUIDs) says nothing, whatever letters it has.
    """
    if any(shard.split is not None for shard in shards):
        return [shard.split for shard in shards]
    paths = [_path(shard.url) for shard in shards]
    named = [path for path in paths if path]
    shared = 0
    while named and all(
        len(path) > shared + 1 and path[shared] == named[0][shared] for path in named
    ):
        shared += 1
    return [_split_of(path, shared) for path in paths]


def with_splits(shards: Sequence[ShardInfo]) -> tuple[ShardInfo, ...]:
    """The shards, each with its split, so that it keeps it under whatever name it gets."""
    found = splits_of(shards)
    return tuple(
        shard if shard.split == split else replace(shard, split=split)
        for shard, split in zip(shards, found, strict=True)
    )


def keep_splits(
    placed: Sequence[ShardInfo], before: Sequence[ShardInfo], *, copies: bool = False
) -> tuple[ShardInfo, ...]:
    """What a store has placed, with its splits; a store of others may say nothing of them.

    Args:
        placed: The shards as the store placed them.
        before: The shards that it read.
        copies: Whether they are copies of those, in their order.
    """
    splits = splits_of(before)
    if any(shard.split is not None for shard in placed) or not any(splits):
        return tuple(placed)
    if not copies and len(set(splits)) == 1:
        splits = splits[:1] * len(placed)
    elif not copies or len(splits) != len(placed):
        return tuple(placed)
    return tuple(replace(one, split=split) for one, split in zip(placed, splits, strict=True))


def same_splits(one: Sequence[ShardInfo], other: Sequence[ShardInfo]) -> bool:
    """Whether as many shards are of the same splits, recorded or by their names."""
    return _effective(one) == _effective(other)


def _effective(shards: Sequence[ShardInfo]) -> list[str]:
    return [split or DEFAULT for split in splits_of(shards)]


def _path(url: str) -> list[str]:
    if url.lower().startswith("at://"):
        return []  # an account and the hash of a blob
    host = _AUTHORITY.match(url)
    path = url[host.end() if host else 0 :].partition("?")[0].partition("#")[0].split("/")
    # Other pages of a server have names too, such as a profile's, which is a host's: x.test.
    return path if host is None or path[-1].lower().endswith(".tar") else []


def _split_of(path: Sequence[str], shared: int) -> str | None:
    for part in reversed(path[shared:]):
        if (split := _said(part)) is not None:
            return split
    # A folder that all shards share says something only if the split is all that it says.
    parent = path[-2].lower() if len(path) > 1 else ""
    return parent if parent in SPLITS.values() else None


def _said(part: str) -> str | None:
    """The split that a name says."""
    tokens = _TOKENS.findall(part)
    noise = [token for token in tokens if len(token) >= _LONG and len(_runs(token)) > _MOST_RUNS]
    if noise and _BASE64.fullmatch(part.partition(".")[0]):
        return None
    for token in tokens:
        runs = _runs(token)
        if len(runs) > _MOST_RUNS or _RECORD_KEY.fullmatch(token):
            continue
        for at, run in enumerate(runs):
            # Digits on both sides are those of an identifier.
            if run in SPLITS and not 0 < at < len(runs) - 1:
                return SPLITS[run]
    return None


def _runs(token: str) -> list[str]:
    return _RUNS.findall(token.lower())
