"""LocalDatasetEntry: one revision of one dataset, and the document that it is kept as."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgpack

from atdata._digest import record_cid
from atdata._secrets import redacted_repr
from atdata._shardlist import LocatedUrl, ShardInfo, fold_urls
from atdata.errors import BackendError, UrlError
from atdata.local.backends.base import EntryRow


@redacted_repr
@dataclass(frozen=True)
class LocalDatasetEntry:
    """A dataset in a local index: where its shards are, what they hold, and what was said of it.

    Properties do no I/O.
    """

    name: str
    """What it is found by; of a copy of a network record, the AT URI."""
    schema_ref: str
    """``atdata://local/sampleSchema/{Class}@{version}``; of a copy, the AT URI."""
    shards: tuple[ShardInfo, ...] = ()
    """Every shard, in order, with samples, bytes and SHA-256 where known."""
    metadata: dict[str, Any] | None = field(default=None, hash=False)
    description: str | None = None
    tags: tuple[str, ...] = ()
    license: str | None = None
    """SPDX identifier, for example ``MIT``."""
    endpoint: str | None = None
    """Where ``s3://`` shards are kept, if not at AWS itself."""
    region: str | None = None
    stranger: bool = False
    """Whether the URLs came from the network; they are opened with the same care as there."""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When this revision was recorded, in UTC."""
    revision: int = 1
    """1, 2, … of this name."""
    cid: str = ""
    """Says the content: schema ref, and SHA-256 of each shard where known, else its URL. Of a
    copy, that of the record."""
    title: str | None = None
    """Of a copy of a network record: ``@{handle}/{name}``, as it is called there."""

    def __post_init__(self) -> None:
        if not self.cid:
            object.__setattr__(self, "cid", content_cid(self.schema_ref, self.shards))
        if self.stranger:
            # One by one they are a stranger's too.
            place = LocatedUrl("", endpoint=self.endpoint, region=self.region, stranger=True)
            marked = tuple(shard.at(place.at(shard.url)) for shard in self.shards)
            object.__setattr__(self, "shards", marked)

    @property
    def data_urls(self) -> list[str]:
        """One URL that stands for all shards, in brace notation; empty where there are none."""
        if not self.shards:
            return []
        folded = fold_urls([shard.url for shard in self.shards])
        place = {"endpoint": self.endpoint, "region": self.region}
        return [LocatedUrl(folded, **place, stranger=self.stranger, shards=self.shards)]


def content_cid(schema_ref: str, shards: Sequence[ShardInfo]) -> str:
    """The CID of a dataset's content: its schema ref, and each shard's SHA-256 or else its URL.

    Raises:
        UrlError: A URL that is no valid Unicode.
    """
    for shard in shards:
        try:
            shard.url.encode()
        except UnicodeEncodeError:
            raise UrlError(
                f"{shard.url!r}: the name of the file is no valid Unicode. Rename it."
            ) from None
    content: list[Any] = [
        {"sha256": bytes.fromhex(shard.sha256)} if shard.sha256 else {"url": shard.url}
        for shard in shards
    ]
    return record_cid({"schema": schema_ref, "shards": content})


def to_row(entry: LocalDatasetEntry) -> EntryRow:
    """The entry as a backend keeps it."""
    document: dict[str, Any] = {
        "schema": entry.schema_ref,
        "shards": [shard.to_dict() for shard in entry.shards],
        "createdAt": entry.created_at.isoformat(),
    }
    said = {
        "description": entry.description,
        "tags": list(entry.tags) or None,
        "license": entry.license,
        "endpoint": entry.endpoint,
        "region": entry.region,
        "stranger": entry.stranger or None,
        "title": entry.title,
        # JSON has neither bytes nor NaN.
        "metadata": None if entry.metadata is None else _pack(entry.metadata),
    }
    document.update((key, value) for key, value in said.items() if value is not None)
    text = json.dumps(document, separators=(",", ":"))
    return EntryRow(entry.name, entry.revision, entry.cid, text)


def from_row(row: EntryRow) -> LocalDatasetEntry:
    """The opposite of `to_row`; keys that it does not know are passed over.

    Raises:
        BackendError: The document makes no sense.
    """
    try:
        data = json.loads(row.document)
        metadata = data.get("metadata")
        return LocalDatasetEntry(
            name=row.name,
            schema_ref=data["schema"],
            shards=tuple(ShardInfo.from_dict(shard) for shard in data["shards"]),
            metadata=None if metadata is None else _unpack(metadata),
            description=data.get("description"),
            tags=tuple(data.get("tags", ())),
            license=data.get("license"),
            endpoint=data.get("endpoint"),
            region=data.get("region"),
            stranger=data.get("stranger", False),
            title=data.get("title"),
            created_at=datetime.fromisoformat(data["createdAt"]),
            revision=row.revision,
            cid=row.cid,
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BackendError(
            f"The index is damaged: revision {row.revision} of {row.name!r} cannot be read "
            f"({type(error).__name__}). Remove it with delete_dataset({row.name!r}), or restore "
            "the index from a copy."
        ) from error


def _pack(metadata: dict[str, Any]) -> str:
    packed: bytes = msgpack.packb(metadata, use_bin_type=True)
    return b64encode(packed).decode("ascii")


def _unpack(text: str) -> dict[str, Any]:
    metadata: dict[str, Any] = msgpack.unpackb(b64decode(text), raw=False)
    return metadata
