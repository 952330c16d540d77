"""Carrying out a promotion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from atdata._protocols import AbstractDataStore, AbstractIndex, IndexEntry
from atdata._shardlist import ShardInfo
from atdata._warnings import warn
from atdata.atmosphere.publicity import refuse_private
from atdata.atmosphere.publish import publish_dataset
from atdata.atmosphere.records import check_details
from atdata.atmosphere.schemas import publish_schema
from atdata.atproto.client import AtmosphereClient
from atdata.capabilities import Progress
from atdata.errors import AtdataWarning
from atdata.promote.copy_shards import copied
from atdata.promote.make_plan import plan_of
from atdata.promote.request import Family, Oversize, Request, Source


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
    sources: Sequence[Source] | None = None,
    family: Family = "ac.foundation.dataset",
    progress: Progress | None = None,
) -> str:
    """Publish a dataset of a local index on the AT Protocol network.

    Everything that `plan_promotion` finds against it is raised before anything is written. Done
    again with nothing changed, it returns the same URI and writes nothing; after a failure it
    goes on where it stopped. Two processes at once make one schema and one record.

    Args:
        entry: What the local index says of the dataset.
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
            would be too large and the shards are copied to a bucket, an object beside them.
        oversize: What to do with shards that are larger than the blobs that the server takes:
            ``refuse``, or ``split``, which writes their samples anew as smaller shards.
        sources: The datasets that this one was made of, as AT URIs or entries of the network.
            The record names each at its present revision. None leaves what is there.
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
    request = Request.of(
        entry,
        index,
        client,
        name=name,
        description=description,
        tags=tags,
        license=license,
        metadata=metadata,
        data_store=data_store,
        manifest_store=manifest_store,
        oversize=oversize,
        sources=sources,
        family=family,
    )
    plan = plan_of(request)
    plan.check()
    for warning in plan.warnings:
        warn(AtdataWarning(warning))
    assert plan.schema is not None
    schema_uri = plan.schema.uri
    if plan.schema.state == "new":
        schema_uri = publish_schema(
            client, request.schema(), collection=request.schema_collection, is_new=True
        )

    def place() -> Sequence[ShardInfo]:
        if data_store is None:
            return request.shards
        shards = copied(request, data_store, progress)
        refuse_private([shard.url for shard in shards], endpoint=request.place[0])
        return shards

    shards = place()
    endpoint, region = request.place
    published = publish_dataset(
        client,
        name=request.name,
        schema_uri=schema_uri,
        shards=shards,
        endpoint=endpoint,
        region=region,
        content=request.content,
        sources=request.sources,
        collection=request.dataset_collection,
        shelf=request.shelf,
        resend=None if data_store is None else place,
        **check_details(**request.said),
    )
    return published.uri
