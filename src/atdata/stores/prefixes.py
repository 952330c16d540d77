"""Prefixes and numbered names of shards in a store."""

from __future__ import annotations

import unicodedata
from typing import Final

from atdata.errors import OptionError, ShardExistsError

STEM: Final = "data"
"""Shards are named ``data-000000.tar``, ``data-000001.tar``, …"""
_MAX_PREFIX_CHARACTERS: Final = 700


class OwnPrefix(str):
    """A prefix that no other writer can name, since chance is part of it.

    Below any other prefix a shard that has its name stays, whatever fails later: a writer of the
    same samples may have found it, and an index may name it.
    """


def shard_name(number: int) -> str:
    """The name of a shard, counted from 0."""
    return f"{STEM}-{number:06d}.tar"


def check_prefix(prefix: str) -> str:
    """Validate a prefix, and return it without slashes at its ends.

    Raises:
        OptionError: Not a str, absolute, with ``..``, with control characters, or too long.
    """
    if not isinstance(prefix, str):
        raise OptionError(f"prefix: expected a str, found {type(prefix).__name__}.")
    hint = "Write a path within the store, such as 'datasets/mnist/v1'."
    if prefix.startswith("/") or "://" in prefix:
        raise OptionError(f"prefix={prefix!r} is absolute. {hint}")
    parts = [part for part in prefix.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise OptionError(f"prefix={prefix!r} leads elsewhere with '.' or '..'. {hint}")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in prefix):
        raise OptionError(f"prefix={prefix!r} has control characters. {hint}")
    if len(prefix) > _MAX_PREFIX_CHARACTERS:
        raise OptionError(
            f"prefix={prefix[:40]!r}… has {len(prefix)} characters, at most "
            f"{_MAX_PREFIX_CHARACTERS}."
        )
    return "/".join(parts)


def name_taken(url: str) -> ShardExistsError:
    """The error for a name that a shard with other bytes has."""
    return ShardExistsError(
        f"{url} exists already, with other bytes, and nothing is overwritten. Choose another "
        "prefix, or remove it if it is not needed."
    )
