"""Making the plan of a promotion: everything is looked at, nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from atdata._protocols import AbstractDataStore, AbstractIndex, IndexEntry
from atdata._refs import NEWER_SCHEMA_COLLECTION, check_name
from atdata._shardlist import ShardInfo
from atdata.atmosphere.blobs import PDSBlobStore
from atdata.atmosphere.manifest import followed, holders
from atdata.atmosphere.publicity import (
    check_store,
    loopback_warning,
    name_warning,
    refuse_private,
    refuse_secrets,
    why_unreadable,
)
from atdata.atmosphere.publish import Draft, draft_dataset
from atdata.atmosphere.records import check_details
from atdata.atmosphere.schemas import find_schema, schema_uri_of
from atdata.atproto.client import AtmosphereClient
from atdata.atproto.data_model import check_record, record_size, refuse_secret
from atdata.atproto.lexicon import validate
from atdata.dataset.dataset import Dataset
from atdata.errors import (
    AtdataError,
    AtmosphereError,
    BackendError,
    IntegrityError,
    NoDataUrlsError,
    SchemaConflictError,
    ShardNotFoundError,
    StoreError,
)
from atdata.promote.plan import (
    CREATE,
    POINTS_A_DAY,
    POINTS_AN_HOUR,
    UPDATE,
    UPLOADS_A_DAY,
    PromotionPlan,
    SchemaPlan,
)
from atdata.promote.request import Family, Oversize, Request, Source
from atdata.samples.dict_sample import DictSample
from atdata.samples.kinds import Nested
from atdata.schema.alt_record import to_alt_record
from atdata.schema.model import Schema
from atdata.schema.record import to_record
from atdata.sources.capabilities import local_path

T = TypeVar("T")


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
    sources: Sequence[Source] | None = None,
    family: Family = "ac.foundation.dataset",
) -> PromotionPlan:
    """Say what `promote_to_atmosphere` would do with the same arguments. Nothing is written.

    What stands against it is in ``refusals``, not raised. The first and the last shard are
    asked for as anybody would, unless they are copied.

    Raises:
        AuthenticationError: The client is not logged in.
        AtmosphereError: The server cannot be asked.
        BackendError: The index cannot be asked.
        OptionError: An option that is not one.
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
    return _with_readers(plan, request) if request.data_store is None else plan


def plan_of(request: Request) -> PromotionPlan:
    """The plan, without asking whether others can read what stays where it is."""
    client = request.client
    client.check_session()
    refusals = _Refusals()
    refusals.of(lambda: check_name(request.name))
    details = refusals.of(lambda: check_details(**request.said))
    shards = refusals.of(lambda: _checked_shards(request)) or ()
    schema = refusals.of(request.schema)
    plan = PromotionPlan(
        name=request.name,
        account=client.handle,
        server=client.server,
        shards=len(shards),
        samples=_total([shard.samples for shard in shards]),
        bytes=_total([shard.bytes for shard in shards]),
    )
    if shards:
        plan = refusals.of(lambda: _with_place(plan, request)) or plan
        plan = _with_copies(plan, request, refusals)
    if schema is not None:
        plan = _with_schema(plan, request, schema, refusals)
    if not refusals.found and details is not None:
        plan = refusals.of(lambda: _with_record(plan, request, details)) or plan
    warnings = [*plan.warnings, *_dear(plan)]
    if plan.schema is not None and plan.schema.state == "new" and schema is not None:
        warnings += filter(None, [name_warning(schema.name)])
    return replace(plan, refusals=tuple(refusals.found), warnings=tuple(warnings))


@dataclass
class _Refusals:
    """What stands against a promotion, gathered."""

    found: list[AtdataError] = field(default_factory=list)

    def of(self, step: Callable[[], T]) -> T | None:
        """What a step gives; None, and its error kept, where it refuses."""
        try:
            return step()
        except (BackendError, AtmosphereError):
            raise  # not a reason, but a server that cannot be asked
        except AtdataError as error:
            self.found.append(error)
        return None


def _checked_shards(request: Request) -> tuple[ShardInfo, ...]:
    shards = request.shards
    if not shards:
        raise NoDataUrlsError(
            f"The entry {request.entry.name!r} has no data URLs, so there is nothing to promote. "
            "Insert the dataset again with index.insert_dataset(dataset, name=…)."
        )
    return shards


def _with_place(plan: PromotionPlan, request: Request) -> PromotionPlan:
    """Refuse what others could not read."""
    endpoint, _ = request.place
    store, urls = request.data_store, [shard.url for shard in request.shards]
    _check_writable(request.manifest_store)
    if store is None:
        refuse_private(urls, endpoint=endpoint)
        warning = loopback_warning(urls, endpoint=endpoint)
        return replace(plan, warnings=(warning,)) if warning else plan
    check_store(store, request.client)
    refuse_secrets([], endpoint=endpoint)
    _check_writable(store)
    warning = loopback_warning([], endpoint=endpoint)
    return replace(plan, warnings=(warning,) if warning else (), copies_to=f"{store!r}")


def _check_writable(store: object) -> None:
    # The protocol does not ask for this member: our stores have it, to fail early.
    check = getattr(store, "check", None)
    if callable(check):
        check()


def _with_copies(plan: PromotionPlan, request: Request, refusals: _Refusals) -> PromotionPlan:
    store, shards = request.data_store, request.shards
    if store is None:
        return plan
    refusals.of(lambda: _check_files(request))
    present = getattr(store, "present", None)
    there = set(present(shards, prefix=request.prefix)) if callable(present) else set()
    missing = [shard for shard in shards if shard.url not in there]
    plan = replace(
        plan,
        shards_to_copy=len(missing),
        bytes_to_copy=_total([shard.bytes for shard in missing]),
    )
    if not isinstance(store, PDSBlobStore):
        return plan
    limit = request.client.blob_limit
    large = [shard for shard in shards if (shard.bytes or 0) > limit]
    if large and request.oversize == "refuse":
        most = max(large, key=lambda shard: shard.bytes or 0)
        refusals.found.append(
            StoreError(
                f"{len(large)} of {len(shards)} shards are larger than {request.client.server} "
                f"takes: {most.url} has {most.bytes:,} bytes, and blobs have at most {limit:,}. "
                "Pass oversize='split' to write them anew as smaller shards, or use another "
                "store. Nothing was published."
            )
        )
    pieces = sum(-(-(shard.bytes or 0) // limit) for shard in large)
    uploads = len(missing) - len(large) + pieces
    return replace(plan, blob_limit=limit, shards_to_split=len(large), uploads=uploads)


def _check_files(request: Request) -> None:
    """Refuse files of this machine that are not as they were recorded, by their size."""
    source = Dataset.of(DictSample, request.entry).source
    for shard in request.shards:
        path = local_path(source, shard.url)
        if path is None:
            continue
        if not path.is_file():
            raise ShardNotFoundError(f"{path}: there is no such file. Nothing was published.")
        if shard.bytes not in (None, path.stat().st_size):
            raise IntegrityError(
                f"expected {shard.bytes:,} bytes, as when it was recorded, found "
                f"{path.stat().st_size:,}. Insert the dataset again. Nothing was published",
                shard=str(path),
            )


def _with_schema(
    plan: PromotionPlan, request: Request, schema: Schema, refusals: _Refusals
) -> PromotionPlan:
    client, collection = request.client, request.schema_collection
    uri = schema_uri_of(client.did, schema, collection=collection)
    try:
        found = find_schema(client, schema, collection=collection)
    except SchemaConflictError as error:
        refusals.found.append(error)
        return replace(plan, schema=SchemaPlan(schema.name, schema.version, "conflict", uri))
    if found is not None:
        return replace(plan, schema=SchemaPlan(schema.name, schema.version, "found", found))
    if collection == NEWER_SCHEMA_COLLECTION:
        refusals.of(lambda: to_alt_record(schema))
    refusals.of(lambda: refuse_secret(to_record(schema, lambda inner: inner.name), "schema $"))
    new = 1 if collection == NEWER_SCHEMA_COLLECTION else _new_schemas(client, schema)
    return replace(
        plan,
        schema=SchemaPlan(schema.name, schema.version, "new", uri),
        write_points=plan.write_points + new * CREATE,
    )


def _new_schemas(client: AtmosphereClient, schema: Schema) -> int:
    """How many records a schema that is not there makes, with those that it nests."""
    missing: set[tuple[str, str]] = set()

    def look(schema: Schema) -> None:
        missing.add((schema.name, schema.version))
        to_record(schema, look_within)

    def look_within(nested: Nested) -> str:
        inner = Schema(nested.name, nested.version or "1.0.0", nested.fields)
        try:
            found = find_schema(client, inner)
        except SchemaConflictError:
            found = None  # the next version is published
        if found is None:
            look(inner)
        return schema_uri_of(client.did, inner)

    look(schema)
    return len(missing)


def _with_record(
    plan: PromotionPlan, request: Request, details: Mapping[str, Any]
) -> PromotionPlan:
    """What is written last: as new, in place of what is there, or not at all."""
    assert plan.schema is not None
    client, schema_uri = request.client, plan.schema.uri
    endpoint, region = request.place
    planned = getattr(request.data_store, "planned", None)
    shards = request.shards
    if callable(planned):
        shards = tuple(planned(shards, prefix=request.prefix))

    def draft_of(shards: Sequence[ShardInfo]) -> Draft:
        return draft_dataset(
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
            **details,
        )

    draft = draft_of(shards)
    if plan.shards_to_split and draft.there is not None:
        split = followed(draft.there).shards
        if _came_of(split, request.shards, shards, client.blob_limit):
            # An earlier promotion wrote the pieces, and the record keeps them.
            draft = draft_of(split)
            plan = replace(plan, shards_to_copy=0, bytes_to_copy=0, shards_to_split=0, uploads=0)
    check_record(draft.record)
    validate(draft.record)
    manifest, place = draft.manifest is not None, None
    if draft.manifest is not None and draft.manifest.shelf is not None:
        place = draft.manifest.reference["manifestObject"]["url"]
    state: Literal["new", "update", "unchanged"] = "new"
    if draft.there is not None:
        state = "unchanged" if draft.is_same else "update"
    if state == "unchanged":
        plan = replace(plan, shards_to_copy=0, bytes_to_copy=0, uploads=0)
    points = {"new": CREATE, "update": UPDATE, "unchanged": 0}[state]
    if state == "new":
        points += CREATE * len(list(holders(draft.uri, draft.blobs, "")))
    return replace(
        plan,
        uri=str(draft.uri),
        record=state,
        record_bytes=record_size(draft.record),
        manifest=manifest,
        manifest_url=place,
        uploads=plan.uploads + (manifest and place is None and state != "unchanged"),
        write_points=plan.write_points + points,
    )


def _came_of(
    there: Sequence[ShardInfo],
    before: Sequence[ShardInfo],
    planned: Sequence[ShardInfo],
    limit: int,
) -> bool:
    """Whether published shards are those planned, each that is too large in pieces.

    Pieces have no names or hashes that are known before they are written: their samples are those
    of the shard.
    """
    at = 0
    for shard, copy in zip(before, planned, strict=True):
        if (shard.bytes or 0) <= limit:
            if at == len(there) or str(there[at].url) != copy.url:
                return False
            at += 1
            continue
        left = shard.samples
        while left and at < len(there) and there[at].samples:
            left -= there[at].samples or 0
            at += 1
        if left != 0:
            return False
    return at == len(there)


def _dear(plan: PromotionPlan) -> list[str]:
    """What to say where it costs more than servers grant."""
    found = []
    if plan.write_points > POINTS_AN_HOUR:
        found.append(
            f"{plan.write_points:,} write points: large hosts grant {POINTS_AN_HOUR:,} an hour and "
            f"{POINTS_A_DAY:,} a day, so that this takes "
            f"{-(-plan.write_points // POINTS_AN_HOUR)} hours."
        )
    if plan.uploads > UPLOADS_A_DAY:
        found.append(
            f"{plan.uploads:,} uploads: the largest host takes {UPLOADS_A_DAY:,} a day, so that "
            f"this takes {-(-plan.uploads // UPLOADS_A_DAY)} days there. Fewer, larger shards "
            "cost less."
        )
    return found


def _with_readers(plan: PromotionPlan, request: Request) -> PromotionPlan:
    """Ask for the first and the last shard as anybody would."""
    if plan.refusals or not request.shards:
        return plan
    endpoint, region = request.place
    urls = [str(shard.url) for shard in request.shards]
    ends = [url for url in dict.fromkeys((urls[0], urls[-1])) if not url.startswith("at://")]
    refused = {url: why_unreadable(url, endpoint=endpoint, region=region) for url in ends}
    unreadable = tuple(why for why in refused.values() if why is not None)
    warnings = plan.warnings
    if unreadable:
        warnings = (*warnings, "Others will find the record, but cannot read its shards.")
    return replace(
        plan,
        readable=tuple(url for url, why in refused.items() if why is None),
        unreadable=unreadable,
        warnings=warnings,
    )


def _total(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
