"""LocalDatasetEntry: one revision of a dataset, and its stored document."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgpack

from atdata._digest import record_cid
from atdata._secrets import redacted_repr
from atdata._shardlist import LocatedUrl, ShardInfo, expand_braces, located
from atdata.errors import BackendError, OptionError, UrlError
from atdata.local.backends.base import EntryRow


@redacted_repr
@dataclass(frozen=True, init=False)
class LocalDatasetEntry:
    """A dataset in a local index: where its shards are, what they hold, and how it is described.

    Properties do no I/O. Two entries are equal if they say the same of the same revision, whenever
    they were recorded. You can make one and pass it to `LocalIndex.add_entry`::

        LocalDatasetEntry(name="digits", schema_ref=ref, data_urls=["https://…/{000..006}.tar"])

    Args:
        name: As the field, and so are the others.
        schema_ref: See there.
        shards: Shards, or their URLs.
        data_urls: URLs instead, with braces or without.

    Raises:
        OptionError: Both shards and URLs were given, or something other than a list.
        UrlError: Braces that do not match.
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
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)
    """When this revision was recorded, in UTC."""
    revision: int = 1
    """1, 2, … of this name."""
    cid: str = ""
    """Says the content: schema ref, and SHA-256 of each shard where known, else its URL. Of a
    copy, that of the record."""
    title: str | None = None
    """Of a copy of a network record: ``@{handle}/{name}``, as it is called there."""

    def __init__(
        self,
        name: str,
        schema_ref: str,
        shards: Iterable[ShardInfo | str] = (),
        metadata: dict[str, Any] | None = None,
        description: str | None = None,
        tags: Iterable[str] = (),
        license: str | None = None,
        endpoint: str | None = None,
        region: str | None = None,
        stranger: bool = False,
        created_at: datetime | None = None,
        revision: int = 1,
        cid: str = "",
        title: str | None = None,
        *,
        data_urls: Iterable[str] | None = None,
    ) -> None:
        for what, given in (("shards", shards), ("data_urls", data_urls), ("tags", tags)):
            if isinstance(given, str):
                raise OptionError(f"{what}: expected a list, found a str. Write [{given!r}].")
        known = tuple(_expanded(shards))
        if data_urls is not None:
            if known:
                raise OptionError("Give an entry either shards= or data_urls=, not both.")
            urls = list(data_urls)
            known = tuple(_expanded(urls))
            # URLs of another entry say where they are, and that they came from the network.
            marks = [url for url in urls if isinstance(url, LocatedUrl)]
            endpoint = endpoint or next((url.endpoint for url in marks if url.endpoint), None)
            region = region or next((url.region for url in marks if url.region), None)
            stranger = stranger or any(url.stranger for url in marks)
        if stranger:
            # Each of them is from the network too.
            place = LocatedUrl("", endpoint=endpoint, region=region, stranger=True)
            known = tuple(shard.at(place.at(shard.url)) for shard in known)
        values = {
            "name": name,
            "schema_ref": schema_ref,
            "shards": known,
            "metadata": metadata,
            "description": description,
            "tags": tuple(tags),
            "license": license,
            "endpoint": endpoint,
            "region": region,
            "stranger": stranger,
            "created_at": created_at or datetime.now(UTC),
            "revision": revision,
            "cid": cid or content_cid(schema_ref, known),
            "title": title,
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @property
    def data_urls(self) -> list[str]:
        """One URL that stands for all shards, in brace notation; empty where there are none."""
        return located(self.shards, self.endpoint, self.region, stranger=self.stranger)


def _expanded(given: Iterable[ShardInfo | str]) -> Iterator[ShardInfo]:
    for shard in given:
        if isinstance(shard, ShardInfo):
            yield shard
        elif isinstance(shard, LocatedUrl) and shard.shards:
            yield from shard.shards
        elif isinstance(shard, str):
            yield from map(ShardInfo, expand_braces(shard))
        else:
            raise OptionError(f"A shard is a URL or a ShardInfo, not {type(shard).__name__}.")


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
    optional = {
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
    document.update((key, value) for key, value in optional.items() if value is not None)
    text = json.dumps(document, separators=(",", ":"))
    return EntryRow(entry.name, entry.revision, entry.cid, text)


def from_row(row: EntryRow) -> LocalDatasetEntry:
    """The opposite of `to_row`; unknown keys are ignored.

    Raises:
        BackendError: The document is damaged.
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
