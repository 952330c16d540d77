"""Publishing a dataset: idempotent, also for concurrent processes.

Record keys come from what is published. A record is created only if there is none, and replaced
only if it is still the one that was read; a process that comes second reads it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from atdata._limits import limits
from atdata._protocols import IndexEntry
from atdata._refs import DATASET_COLLECTION, AtUri, parse_blob_ref
from atdata._secrets import redacted_repr
from atdata._shardlist import ShardInfo
from atdata.atmosphere.blobs import known_blob, place_of
from atdata.atmosphere.entry import AtmosphereIndexEntry, StrongRef, age
from atdata.atmosphere.fields import is_own, own_blobs
from atdata.atmosphere.manifest import Manifest, ObjectPlace, hold
from atdata.atmosphere.parsing import entries_of, read_entry
from atdata.atmosphere.publicity import refuse_secrets
from atdata.atmosphere.record_keys import dataset_rkey
from atdata.atmosphere.records import LARGE, content_of, dataset_record
from atdata.atproto.client import AtmosphereClient
from atdata.atproto.data_model import MAX_RECORD, now, record_size
from atdata.atproto.reader import find_record
from atdata.errors import (
    AtmosphereError,
    DatasetNotFoundError,
    NoDataUrlsError,
    NotFoundError,
    RecordError,
    XrpcError,
)
from atdata.indexing.dataset_spec import DatasetSpec
from atdata.indexing.placement import PlacedShards
from atdata.stores.journal import Journal

_MAX_TRIES: Final = 10


@redacted_repr
@dataclass(frozen=True)
class Publication:
    """A dataset to be published: all that its record is made of."""

    spec: DatasetSpec
    """Checked."""
    schema_uri: str
    """AT URI of its schema."""
    placed: PlacedShards
    """Every shard, readable by others."""
    content: str = ""
    """What identifies the data; "": the hashes of the shards, else their URLs."""
    object_place: ObjectPlace | None = None
    """Where a manifest goes that is no blob."""

    def with_shards(self, shards: Sequence[ShardInfo]) -> Publication:
        """The same data, as these shards."""
        return replace(self, placed=self.placed.with_shards(shards))


@redacted_repr
@dataclass(frozen=True)
class Draft:
    """A dataset's record as it would be written now."""

    uri: AtUri
    record: dict[str, Any]
    shards: tuple[ShardInfo, ...]
    existing: AtmosphereIndexEntry | None
    """The dataset that the account has under this URI."""
    is_same: bool
    """Whether that one says the same and is what its name means, so that nothing has to be
    written."""
    manifest: Manifest | None = None
    """What the record has no room for."""

    @property
    def blobs(self) -> list[dict[str, Any]]:
        """References to the blobs that the record has no room to reference."""
        is_large = self.record["storage"]["$type"] in LARGE.values()
        return own_blobs(self.uri.authority, self.shards) if is_large else []

    @property
    def referenced(self) -> list[ShardInfo]:
        """Every blob of the account that it needs, by its hash."""
        did = self.uri.authority
        own = [
            replace(shard, sha256=parse_blob_ref(shard.url).sha256)
            for shard in self.shards
            if is_own(did, shard)
        ]
        is_blob = self.manifest is not None and self.manifest.object_place is None
        return [*own, self.manifest.shard(did)] if self.manifest and is_blob else own


def draft_dataset(client: AtmosphereClient, wanted: Publication) -> Draft:
    """What `publish_dataset` would write. Reads the account's records; writes nothing.

    Raises:
        RecordError: The record would be too large.
        DatasetNotFoundError: A source does not exist.
    """
    spec, placed = wanted.spec, wanted.placed
    rkey = dataset_rkey(spec.name, wanted.schema_uri, wanted.content or content_of(placed.shards))
    uri = AtUri(client.did, spec.dataset_collection, rkey)
    existing = find_record(client, uri)
    old = None if existing is None else read_entry(existing)
    if old is not None:
        placed = placed.with_shards(_typed(placed.shards, old.shards))
    # A new revision is described as the one before it, unless something else is given.
    before = old
    if old is None and not spec.is_complete:
        before = _newest(client, spec.name)
    time = now()
    record_of = partial(
        dataset_record,
        client.did,
        spec if before is None else spec.over(before),
        schema_uri=wanted.schema_uri,
        placed=placed,
        sources=_strong_refs(client, spec.sources) or (old.sources if old else ()),
        created_at=time,
    )
    record, manifest = record_of(), None
    too_large = record_size({**record, "updatedAt": time}) > MAX_RECORD
    if too_large and uri.collection != DATASET_COLLECTION:
        raise RecordError(
            f"The record of {spec.name!r} would have {record_size(record):,} bytes; at most "
            f"{MAX_RECORD:,} are allowed, and records of the newer family have no manifests for "
            "what they have no room for. Publish with the first family, write fewer, larger "
            "shards, or shorten metadata and description. Nothing was published."
        )
    if too_large:
        manifest = Manifest.of(client.did, placed.shards)
        manifest = manifest.typed(existing.value["storage"] if existing else {})
        manifest = _placed(client, manifest, wanted.object_place)
        record = record_of(manifest=manifest.reference)
    if existing is None or old is None:
        return Draft(uri, record, placed.shards, None, is_same=False, manifest=manifest)
    record["createdAt"] = existing.value["createdAt"]
    same = _same(record, existing.value) and _is_newest(client, old)
    record["updatedAt"] = time
    return Draft(uri, record, placed.shards, old, is_same=same, manifest=manifest)


def _placed(
    client: AtmosphereClient, manifest: Manifest, object_place: ObjectPlace | None
) -> Manifest:
    """The manifest with its place: a blob, unless it is too large or an object is asked for."""
    size, most = len(manifest.data), client.blob_limit
    if object_place is not None and (object_place.always or size > most):
        manifest, most = replace(manifest, object_place=object_place), limits.answer_bytes
    if size > most:
        taker = "readers take" if manifest.object_place else f"a blob at {client.server} has"
        raise RecordError(
            f"What is known of the shards takes {size:,} bytes, more than the {most:,} that "
            f"{taker}. Write "
            "fewer, larger shards, or promote with manifest_store=, which keeps it as an object. "
            "Nothing was published."
        )
    return manifest


def publish_dataset(
    client: AtmosphereClient,
    wanted: Publication,
    *,
    draft: Draft | None = None,
    resend: Callable[[], Sequence[ShardInfo]] | None = None,
) -> AtmosphereIndexEntry:
    """Write a dataset's record, or find it where it is already.

    The same name, schema and content give the same URI. Other URLs, description, tags,
    licence, metadata or sources then change the record in place. Other content is a new record
    next to the old one. Description, tags, licence and metadata that are not given are those of
    the same record, else of the newest one of this name.

    Args:
        client: Logged in.
        wanted: What to publish.
        draft: What `draft_dataset` made of it a moment ago; None: it is made now. If another
            process changes the record in the meantime, a new one is made.
        resend: Called once if the server has lost blobs that it had taken; sends those that it
            does not have and returns the shards.

    Raises:
        NoDataUrlsError: There are no shards.
        SecretUrlError: A shard's URL carries a secret.
        RecordError: The record would be too large, or holds what a record cannot.
        AtmosphereError: The server refuses.
    """
    name, shards = wanted.spec.name, wanted.placed.shards
    if not shards:
        raise NoDataUrlsError(f"The dataset {name!r} names no shard. Nothing was published.")
    refuse_secrets([shard.url for shard in shards], endpoint=wanted.placed.endpoint)
    sized = _with_sizes(client, shards)
    if draft is not None and list(draft.shards) != sized:
        draft = None
    wanted, asked = wanted.with_shards(sized), False
    met: set[str] = set()
    for _ in range(_MAX_TRIES):
        draft = draft or draft_dataset(client, wanted)
        old, record = draft.existing, draft.record
        if old is not None and draft.is_same:
            return replace(old, shards=draft.shards)
        if not asked and _untyped(client, draft.shards):
            wanted, asked = wanted.with_shards(_with_types(client, draft.shards)), True
            draft = None
            continue
        try:
            if draft.manifest is not None:
                sent = draft.manifest.sent(client)
                record = {**record, "storage": {**record["storage"], **sent.reference}}
                hold(client, draft.uri, draft.blobs, record["createdAt"])
            replaces = None if old is None else old.cid
            written = client.put_record(
                draft.uri.collection, draft.uri.rkey, record, replaces=replaces
            )
            return replace(read_entry(written), shards=draft.shards)
        except XrpcError as error:
            if error.code == "InvalidSwap":
                draft = None  # another process was faster: read what it wrote
                continue
            fault = _blob_fault(draft, error)
            if fault is None or fault in met:
                raise
            met.add(fault)
            # What the journal noted of any of them cannot be relied on.
            Journal().doubt(place_of(client), draft.referenced)
            if fault == "type":
                untyped = [replace(shard, mime=None) for shard in draft.shards]
                wanted = wanted.with_shards(_with_types(client, untyped))
            elif fault == "shard" and resend is not None:
                wanted = wanted.with_shards(_with_sizes(client, resend()))
            elif fault == "shard":
                raise AtmosphereError(
                    f"{client.server} no longer has blobs of {name!r} that it had taken: it drops "
                    "those that no record references. Send them again."
                ) from error
            draft = None
    raise AtmosphereError(
        f"{wanted.spec.name!r} is changed by others again and again; try again later."
    )


def _blob_fault(draft: Draft, error: XrpcError) -> str | None:
    """What a server found wrong with the blobs that a record references."""
    if error.code == "InvalidMimeType":
        return "type"
    if error.code != "BlobNotFound":
        return None
    return "manifest" if draft.manifest and draft.manifest.cid in str(error) else "shard"


def _strong_refs(
    client: AtmosphereClient, sources: Iterable[str | IndexEntry]
) -> tuple[StrongRef, ...]:
    """Each source with the CID of its record, asked for where it is not known."""
    return tuple(
        StrongRef(source.uri, source.cid)
        if isinstance(source, AtmosphereIndexEntry)
        else _pinned(client, source)  # type: ignore[arg-type]
        for source in sources
    )


def _pinned(client: AtmosphereClient, uri: str) -> StrongRef:
    try:
        record = client.get_record(uri)
    except NotFoundError as error:
        raise DatasetNotFoundError(
            f"sources: there is no dataset {uri}. Nothing was published."
        ) from error
    read_entry(record)
    return StrongRef(str(record.uri), record.cid)


def _typed(shards: Sequence[ShardInfo], known: Sequence[ShardInfo]) -> list[ShardInfo]:
    """The shards, with the MIME types that a record has for the same blobs."""
    types = {str(shard.url): shard.mime for shard in known}
    return [replace(shard, mime=shard.mime or types.get(str(shard.url))) for shard in shards]


def _untyped(client: AtmosphereClient, shards: Sequence[ShardInfo]) -> bool:
    return any(shard.mime is None and is_own(client.did, shard) for shard in shards)


def _with_sizes(client: AtmosphereClient, shards: Sequence[ShardInfo]) -> list[ShardInfo]:
    """The same, with the size of every blob of this account: its reference must have it."""
    found = [_asked(client, shard) if shard.bytes is None else shard for shard in shards]
    for shard in found:
        if shard.bytes is None and is_own(client.did, shard):
            raise AtmosphereError(
                f"{client.server} has no blob {shard.url}, or no record references it. Publish "
                "the dataset with a data store, which sends its shards. Nothing was published."
            )
    return found


def _with_types(client: AtmosphereClient, shards: Sequence[ShardInfo]) -> list[ShardInfo]:
    """The same, with the type of every blob of this account: its reference must have it."""
    return [_asked(client, shard) if shard.mime is None else shard for shard in shards]


def _asked(client: AtmosphereClient, shard: ShardInfo) -> ShardInfo:
    """A blob of this account with size and type, where its server or the journal knows them."""
    if not is_own(client.did, shard):
        return shard
    known = known_blob(client, parse_blob_ref(shard.url).sha256, size=shard.bytes)
    return shard if known is None else replace(shard, bytes=known.bytes, mime=known.mime)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two records say the same, apart from when."""
    return {**one, "updatedAt": None} == {**other, "updatedAt": None}


def _is_newest(client: AtmosphereClient, entry: AtmosphereIndexEntry) -> bool:
    newest = _newest(client, entry.name)
    return newest is None or newest.uri == entry.uri


def _newest(client: AtmosphereClient, name: str) -> AtmosphereIndexEntry | None:
    return max(entries_of(client, client.did, name), key=age, default=None)
