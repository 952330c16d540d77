"""WebDataset's rule of names: a member's name is the key of its sample, a dot, and its field."""

from __future__ import annotations

from typing import Final

from atdata.errors import ShardError
from atdata.shards.tar.header import key_of
from atdata.shards.tar.members import Member

_FLAGS: Final = frozenset(b"\x000127")
"""Type flags of members of samples: the files that WebDataset reads, and links to files."""
RESERVED: Final = frozenset({"__key__", "__url__", "__local_path__", "__bad__"})
"""Fields that WebDataset sets, or that change what it does."""


def split_name(name: bytes) -> tuple[bytes, bytes] | None:
    """A member's name as key and field, the latter as it is written.

    The key is the path up to the first dot of the last component; the rest is the field. None:
    there is no such dot, nothing stands before it, or WebDataset takes the name for metadata.
    """
    folder, slash, last = name.rpartition(b"/")
    stem, dot, field = last.partition(b".")
    if not stem or not dot:
        return None
    if name.startswith(b"__"):
        first = name.partition(b"/")[0]
        if len(first) > 3 and first.endswith(b"__"):
            return None
    return folder + slash + stem, field


def of_sample(member: Member) -> tuple[bytes, bytes] | None:
    """Key and field of a member that is part of a sample; None: it is none.

    Of a link, that holds only if it leads to a file.
    """
    return split_name(member.name) if member.flag in _FLAGS else None


def is_msgpack(member: Member) -> bool:
    """Whether a member would be a sample of the msgpack layout."""
    return member.flag in _FLAGS and key_of(member.name) is not None


def key_text(key: bytes, offset: int) -> str:
    """A key as text.

    Args:
        key: The key.
        offset: Where its member begins, for the error.

    Raises:
        ShardError: It is not UTF-8.
    """
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError:
        raise ShardError(f"the name {key[:80]!r} is not UTF-8", offset=offset) from None


def field_text(field: bytes, offset: int) -> str:
    """A field as text, in lower case; arguments and errors as for `key_text`."""
    name = key_text(field, offset).lower()
    if name in RESERVED:
        raise ShardError(
            f"a member named {name!r}, which WebDataset's readers use for themselves; rename it",
            offset=offset,
        )
    return name
