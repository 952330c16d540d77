"""One dataset of the network, as its record describes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from atdata._secrets import redacted_repr
from atdata._shardlist import ShardInfo, located, total


@redacted_repr
@dataclass(frozen=True)
class StrongRef:
    """A record at one of its revisions."""

    uri: str
    cid: str


@redacted_repr
@dataclass(frozen=True)
class AtmosphereIndexEntry:
    """A dataset record. Reading its properties does no I/O."""

    name: str
    schema_ref: str
    """AT URI of its schema."""
    shards: tuple[ShardInfo, ...] = field(repr=False)
    """Every shard, in order, each with bytes, samples and SHA-256 where known."""
    uri: str
    """AT URI of the record."""
    cid: str
    """CID of the record: this very revision of it."""
    created_at: datetime
    """When its data were first published here, in UTC, by the publisher's clock."""
    updated_at: datetime
    """When the record was last changed; as `created_at` where it never was."""
    metadata: dict[str, Any] | None = field(default=None, repr=False)
    description: str | None = None
    tags: tuple[str, ...] = ()
    license: str | None = None
    endpoint: str | None = None
    """Server of ``s3://`` URLs; None: Amazon's."""
    region: str | None = None
    sources: tuple[StrongRef, ...] = ()
    """The datasets that this one was made of, each as it was then."""
    manifest: ShardInfo | None = field(default=None, repr=False)
    """Where what the record had no room for is, pinned by its hash; an index has followed it."""

    @property
    def data_urls(self) -> list[str]:
        """One URL that stands for every shard, in brace notation."""
        return located(self.shards, self.endpoint, self.region, stranger=True)

    @property
    def samples(self) -> int | None:
        """Number of samples, where it is known of every shard."""
        return total(shard.samples for shard in self.shards)

    @property
    def bytes(self) -> int | None:
        """Size of all shards, where it is known of every one."""
        return total(shard.bytes for shard in self.shards)


def age(entry: AtmosphereIndexEntry) -> tuple[float, str]:
    """Sort key among entries of one name, oldest first; the CID breaks ties."""
    return entry.updated_at.timestamp(), entry.cid
