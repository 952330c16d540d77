"""Promoting: planning it, and carrying it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from atdata._protocols import AbstractDataStore, AbstractIndex, IndexEntry
from atdata._shardlist import ShardInfo
from atdata._warnings import warn
from atdata.atmosphere.entry import AtmosphereIndexEntry
from atdata.atmosphere.publicity import refuse_private
from atdata.atmosphere.publish import publish_dataset
from atdata.atmosphere.schemas import publish_schema
from atdata.atproto.client import AtmosphereClient
from atdata.capabilities import Progress
from atdata.errors import AtdataWarning
from atdata.indexing.dataset_spec import DatasetSpec, Family
from atdata.promote.copy_shards import copied
from atdata.promote.plan import PromotionPlan
from atdata.promote.prepare import Prepared, prepare, with_readers
from atdata.promote.request import Oversize, Request, name_of


def plan_promotion(
    entry: IndexEntry,
    index: AbstractIndex,
    client: AtmosphereClient,
    *,
    name: str | None = None,
    description: str | None = None,
    tags: Sequence[str] | None = None,
    license: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    data_store: AbstractDataStore | None = None,
    manifest_store: AbstractDataStore | None = None,
    oversize: Oversize = "refuse",
    sources: Sequence[str | AtmosphereIndexEntry] | None = None,
    family: Family = "ac.foundation.dataset",
) -> PromotionPlan:
    """Say what `promote_to_atmosphere` would do with the same arguments. Nothing is written.

    Refusals are in ``refusals``, not raised. The first and the last shard are requested without
    credentials, as anybody would, unless shards are copied.

    Raises:
        AuthenticationError: The client is not logged in.
        AtmosphereError: The server cannot be asked.
        BackendError: The index cannot be asked.
        OptionError: An argument of the wrong kind.
    """
    name = name_of(entry, name)
    given = DatasetSpec(name, description, tags, license, metadata, sources or (), family)
    request = Request(entry, index, client, given, data_store, manifest_store, oversize)
    plan = prepare(request).plan
    return with_readers(plan, request) if data_store is None else plan


def promote_to_atmosphere(
    entry: IndexEntry,
    index: AbstractIndex,
    client: AtmosphereClient,
    *,
    name: str | None = None,
    description: str | None = None,
    tags: Sequence[str] | None = None,
    license: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    data_store: AbstractDataStore | None = None,
    manifest_store: AbstractDataStore | None = None,
    oversize: Oversize = "refuse",
    sources: Sequence[str | AtmosphereIndexEntry] | None = None,
    family: Family = "ac.foundation.dataset",
    progress: Progress | None = None,
) -> str:
    """Publish a dataset of a local index on the AT Protocol network.

    Whatever `plan_promotion` refuses is raised before anything is written. Idempotent: run again
    with nothing changed, it returns the same URI and writes nothing; run again after a failure,
    it resumes. Two processes at once make one schema and one record.

    Args:
        entry: The dataset's entry in the local index.
        index: That index, which has its schema.
        client: Logged in to the account to publish under.
        name: Another name than the entry's.
        description: What the dataset is. This and the following win over what the entry has.
        tags: Words to find it by, at most 30.
        license: SPDX expression, such as ``MIT`` or ``CC-BY-4.0``.
        metadata: Any msgpack map, at most 100,000 bytes packed.
        data_store: Copy the shards there, byte for byte, several at once, and publish their new
            URLs. None: the shards stay where they are, and have to stay readable there.
        manifest_store: Where what is known of many shards goes if the record has no room for it: an
            object in this bucket, pinned by the record. None: a blob of the account; where that
            would be too large and the shards are copied to a bucket, an object next to them.
        oversize: What to do with shards that are larger than the blobs that the server takes:
            ``refuse``, or ``split``, which writes their samples again as smaller shards.
        sources: The datasets that this one was made of, as AT URIs or entries of the network.
            The record names each at its present revision. None keeps those of the record.
        family: Which record types to write: ``science.alt.dataset`` is the newer family, whose
            schemas are JSON Schema, without nested samples, and whose records have no manifests.
        progress: Called with a number of bytes each time that so many more are copied, or found
            copied already. From several threads, one at a time.

    Returns:
        The AT URI of the dataset's record.

    Raises:
        SchemaNotFoundError: The index has no schema of this entry's reference (a KeyError).
        NoDataUrlsError: The entry names no shard (a ValueError).
        PrivateUrlError: Without ``data_store``, a shard that only this machine can read.
        SecretUrlError: Without ``data_store``, a shard whose URL carries a password, a token or a
            signature; or such a URL in description, tags or metadata.
        SchemaConflictError: The account has a schema of this name and version that differs.
        StoreError: A shard is too large, or the store is full or fails.
        AuthenticationError: The client is not logged in.
        IntegrityError: A shard does not have the SHA-256 that the index recorded for it.
    """
    name = name_of(entry, name)
    given = DatasetSpec(name, description, tags, license, metadata, sources or (), family)
    request = Request(entry, index, client, given, data_store, manifest_store, oversize)
    prepared = prepare(request)
    prepared.plan.check()
    for warning in prepared.plan.warnings:
        warn(AtdataWarning(warning))
    return _carry_out(request, prepared, progress)


def _carry_out(request: Request, prepared: Prepared, progress: Progress | None) -> str:
    """Publish the schema, copy the shards, and write the record, which makes it all visible."""
    client, wanted, draft = request.client, prepared.publication, prepared.draft
    assert wanted is not None
    if prepared.schema is not None:
        found = prepared.schemas
        collection = request.spec.schema_collection
        schema_uri = publish_schema(client, prepared.schema, collection=collection, found=found)
        if schema_uri != wanted.schema_uri:
            # Another tool has just published it, under a key of its own.
            wanted, draft = replace(wanted, schema_uri=schema_uri), None
    store = request.data_store
    if store is None:
        return publish_dataset(client, wanted, draft=draft).uri

    def copy() -> Sequence[ShardInfo]:
        shards = copied(request, store, progress)
        refuse_private([shard.url for shard in shards], endpoint=request.place[0])
        return shards

    # Copying takes time, in which others may publish: the record is drafted again after it.
    return publish_dataset(client, wanted.with_shards(copy()), resend=copy).uri
