"""MirrorStore, where a mirror keeps its copies, and MirrorCounts, what it has done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

from atdata._protocols import IndexEntry


class MirrorStore(Protocol):
    """Where a mirror keeps its copies: ``LocalIndex(…).mirrored``, on any backend.

    Each call is atomic and idempotent.
    """

    def put_dataset(self, uri: str, entry: IndexEntry, *, cid: str, owner: str) -> None:
        """Keep a dataset, replacing an earlier one with this URI.

        Args:
            uri: AT URI of its record.
            entry: What the record says.
            cid: Of the record.
            owner: Handle of the account, or its DID where no handle leads to it.
        """

    def put_schema(self, uri: str, record: Mapping[str, Any]) -> None:
        """Keep a schema."""

    def remove(self, uri: str) -> None:
        """Forget a dataset or schema."""

    def uris(self, did: str = "") -> list[str]:
        """AT URIs of all datasets and schemas, or of those of one account."""

    def rename(self, did: str, owner: str) -> None:
        """Change the owner's name in all datasets of an account."""

    def accounts(self) -> list[str]:
        """DIDs of all known accounts."""

    def account(self, did: str) -> dict[str, Any] | None:
        """What `set_account` last recorded of an account; None: unknown."""

    def set_account(self, did: str, known: Mapping[str, Any] | None) -> None:
        """Record an account; None: forget it."""

    def cursor(self, server: str) -> int | None:
        """The number of the last event that was applied from a server's firehose."""

    def set_cursor(self, server: str, seq: int | None) -> None:
        """Record the number of the last event that was applied; None: forget it."""


@dataclass
class MirrorCounts:
    """What a mirror has done since it was created."""

    events: int = 0
    put: int = 0
    """Records kept, including those that were kept already."""
    removed: int = 0
    broken: int = 0
    """Malformed records, which are skipped."""
    refused: int = 0
    """Commits that the account had not signed; it was listed instead."""
    listed: int = 0
    """Accounts that were listed by their server."""
    dropped: int = 0
    """Accounts that were deleted or deactivated."""

    def __str__(self) -> str:
        return ", ".join(f"{getattr(self, field.name)} {field.name}" for field in fields(self))
