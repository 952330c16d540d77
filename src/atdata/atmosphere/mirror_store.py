"""What a mirror asks of the place where it keeps things, and what it counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

from atdata._protocols import IndexEntry


class MirrorStore(Protocol):
    """Where a mirror keeps what it knows: ``LocalIndex(…).mirrored``, on any backend.

    Each call is atomic, and the same call again changes nothing.
    """

    def put_dataset(self, uri: str, entry: IndexEntry, *, cid: str, owner: str) -> None:
        """Keep a dataset in the place of what was kept under this URI."""

    def put_schema(self, uri: str, record: Mapping[str, Any]) -> None:
        """Keep a schema's record."""

    def remove(self, uri: str) -> None:
        """Forget a dataset or schema."""

    def uris(self, did: str = "") -> list[str]:
        """AT URIs of all datasets and schemas, or of those of one account."""

    def rename(self, did: str, owner: str) -> None:
        """Call the owner of an account's datasets so."""

    def accounts(self) -> list[str]:
        """DIDs of all accounts that something is known of."""

    def account(self, did: str) -> dict[str, Any] | None:
        """What was last said of an account."""

    def set_account(self, did: str, known: Mapping[str, Any] | None) -> None:
        """Keep what is known of an account; None: nothing."""

    def cursor(self, server: str) -> int | None:
        """The number of the last event of a server's firehose that was applied."""

    def set_cursor(self, server: str, seq: int | None) -> None:
        """Keep that number."""


@dataclass
class MirrorCounts:
    """What a mirror has done since it was made."""

    events: int = 0
    put: int = 0
    """Records kept, or found to be kept already."""
    removed: int = 0
    broken: int = 0
    """Records that make no sense, which are passed over."""
    refused: int = 0
    """Commits that were not what the account has signed; its server was asked instead."""
    listed: int = 0
    """Accounts whose server was asked for all their records."""
    dropped: int = 0
    """Accounts that are gone."""

    def __str__(self) -> str:
        return ", ".join(f"{getattr(self, field.name)} {field.name}" for field in fields(self))
