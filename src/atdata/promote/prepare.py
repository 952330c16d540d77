"""Preparing a promotion: everything is looked up, nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import index
from typing import Literal, TypeVar

from atdata._refs import ALT_SCHEMA_COLLECTION, check_name
from atdata._secrets import redacted_repr
from atdata._shardlist import ShardInfo, total
from atdata.atmosphere.manifest import followed, holders
from atdata.atmosphere.publicity import (
    check_store,
    loopback_warning,
    name_warning,
    refuse_private,
    refuse_secrets,
    why_unreadable,
)
from atdata.atmosphere.publish import Draft, Publication, draft_dataset
from atdata.atmosphere.schemas import find_schema, nested_schema, schema_uri_of
from atdata.atproto.client import AtmosphereClient
from atdata.atproto.data_model import check_record, record_size, refuse_secret
from atdata.atproto.lexicon import validate
from atdata.capabilities import (
    SupportsCheck,
    SupportsMaxShardBytes,
    SupportsPlannedCopies,
    SupportsPresentCopies,
)
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
from atdata.indexing.dataset_spec import DatasetSpec
from atdata.indexing.placement import PlacedShards
from atdata.promote.plan import (
    CREATE,
    POINTS_A_DAY,
    POINTS_AN_HOUR,
    UPDATE,
    UPLOADS_A_DAY,
    PromotionPlan,
    SchemaPlan,
)
from atdata.promote.request import Request
from atdata.samples.kinds import Nested
from atdata.schema.alt_record import to_alt_record
from atdata.schema.model import Schema
from atdata.schema.record import to_record
from atdata.sources.capabilities import local_path

T = TypeVar("T")


@redacted_repr
@dataclass(frozen=True)
class Prepared:
    """The plan of a promotion, and what was found out in making it: carrying it out uses that."""

    plan: PromotionPlan
    schema: Schema | None = None
    """The schema, if it must be published."""
    schemas: Mapping[tuple[str, str], str | None] = field(default_factory=dict)
    """URIs of the schemas that were looked for, nested ones too, by name and version; None: the
    account does not have it."""
    publication: Publication | None = None
    """What is to be published, its shards where they are before they are copied."""
    draft: Draft | None = None
    """The record, as it would be written now."""


def prepare(request: Request) -> Prepared:
    """Look up everything that a promotion depends on. Nothing is written.

    Whether others can read the shards is not asked; see `with_readers`.

    Raises:
        AuthenticationError: The client is not logged in.
        AtmosphereError: The server cannot be asked.
        BackendError: The index cannot be asked.
    """
    request.client.check_session()
    refusals = _Refusals()
    refusals.of(lambda: check_name(request.spec.name))
    spec = refusals.of(request.spec.with_checked_details)
    shards = refusals.of(lambda: _checked_shards(request)) or ()
    schema = refusals.of(request.schema)
    plan = PromotionPlan(
        name=request.spec.name,
        account=request.client.handle,
        server=request.client.server,
        shards=len(shards),
        samples=total(shard.samples for shard in shards),
        bytes=total(shard.bytes for shard in shards),
    )
    if shards:
        placed = refusals.of(lambda: _with_place(plan, request))
        plan = _with_copies(placed or plan, request, refusals, takes=placed is not None)
    prepared = Prepared(plan)
    if schema is not None:
        prepared = _with_schema(prepared, request, schema, refusals)
    if not refusals.found and spec is not None:
        prepared = refusals.of(lambda: _with_record(prepared, request, spec)) or prepared
    plan = prepared.plan
    warnings = [*plan.warnings, *_costs(plan)]
    if prepared.schema is not None:
        warnings += filter(None, [name_warning(prepared.schema.name)])
    plan = replace(plan, refusals=tuple(refusals.found), warnings=tuple(warnings))
    return replace(prepared, plan=plan)


@dataclass
class _Refusals:
    """Why a promotion is refused, gathered."""

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
    _asked(store, lambda: check_store(store, request.client))
    refuse_secrets([], endpoint=endpoint)
    _check_writable(store)
    warning = loopback_warning([], endpoint=endpoint)
    return replace(plan, warnings=(warning,) if warning else (), copies_to=f"{store!r}")


def _check_writable(store: object) -> None:
    if isinstance(store, SupportsCheck):
        _asked(store, store.check)


def _asked(store: object, question: Callable[[], T]) -> T:
    """What a store answers. Whatever its own libraries raise is a StoreError, without secrets."""
    try:
        return question()
    except AtdataError:
        raise
    except Exception as error:
        raise StoreError(
            f"{type(store).__name__} failed ({type(error).__name__}: {error}). Nothing was "
            "published."
        ) from error


def _present(request: Request) -> frozenset[str]:
    """The URLs of the shards that have been copied already, where the store can list them."""
    store: object = request.data_store
    shards = request.shards
    if not isinstance(store, SupportsPresentCopies):
        return frozenset()
    return _asked(store, lambda: frozenset(store.present(shards, prefix=request.prefix)))


def _limit(store: SupportsMaxShardBytes) -> int:
    """The largest shard that a store takes, in bytes."""
    limit = _asked(store, lambda: index(store.max_shard_bytes()))
    if limit < 1:
        raise StoreError(
            f"{type(store).__name__}.max_shard_bytes() returned {limit}; expected a positive "
            "number of bytes. Nothing was published."
        )
    return limit


def _with_copies(
    plan: PromotionPlan, request: Request, refusals: _Refusals, *, takes: bool
) -> PromotionPlan:
    """Count what will be copied; ``takes`` is whether the store takes shards at all."""
    store, shards = request.data_store, request.shards
    if store is None:
        return plan
    refusals.of(lambda: _check_files(request))
    present = (refusals.of(lambda: _present(request)) if takes else None) or frozenset()
    missing = [shard for shard in shards if shard.url not in present]
    plan = replace(
        plan,
        shards_to_copy=len(missing),
        bytes_to_copy=total(shard.bytes for shard in missing),
    )
    if not isinstance(store, SupportsMaxShardBytes):
        return plan
    limit = refusals.of(lambda: _limit(store))
    if limit is None:
        return plan
    large = [shard for shard in shards if (shard.bytes or 0) > limit]
    if large and request.oversize == "refuse":
        most = max(large, key=lambda shard: shard.bytes or 0)
        refusals.found.append(
            StoreError(
                f"{len(large)} of {len(shards)} shards are larger than {request.client.server} "
                f"takes: {most.url} has {most.bytes:,} bytes, and blobs have at most {limit:,}. "
                "Pass oversize='split' to write them again as smaller shards, or use another "
                "store. Nothing was published."
            )
        )
    pieces = sum(-(-(shard.bytes or 0) // limit) for shard in large)
    uploads = len(missing) - len(large) + pieces
    return replace(plan, blob_limit=limit, shards_to_split=len(large), uploads=uploads)


def _check_files(request: Request) -> None:
    """Refuse local files that are missing, or have another size than was recorded."""
    for shard in request.shards:
        path = local_path(request.source, shard.url)
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
    prepared: Prepared, request: Request, schema: Schema, refusals: _Refusals
) -> Prepared:
    client, collection, plan = request.client, request.spec.schema_collection, prepared.plan
    uri = schema_uri_of(client.did, schema, collection=collection)

    def planned(state: Literal["found", "new", "conflict"], uri: str, points: int = 0) -> Prepared:
        schema_plan = SchemaPlan(schema.name, schema.version, state, uri)
        points += plan.write_points
        return replace(prepared, plan=replace(plan, schema=schema_plan, write_points=points))

    try:
        existing = find_schema(client, schema, collection=collection)
    except SchemaConflictError as error:
        refusals.found.append(error)
        return planned("conflict", uri)
    if existing is not None:
        return planned("found", existing)
    found: dict[tuple[str, str], str | None] = {(schema.name, schema.version): None}
    written = 1
    if collection == ALT_SCHEMA_COLLECTION:
        refusals.of(lambda: to_alt_record(schema))
    else:
        written += _look_for_nested(client, schema, found)
    refusals.of(lambda: refuse_secret(to_record(schema, lambda inner: inner.name), "schema $"))
    return replace(planned("new", uri, written * CREATE), schema=schema, schemas=found)


def _look_for_nested(
    client: AtmosphereClient, schema: Schema, found: dict[tuple[str, str], str | None]
) -> int:
    """Look for the schemas that a new one nests; how many have to be written."""
    met: set[tuple[str, str]] = set()
    missing = 0

    def look(nested: Nested) -> str:
        nonlocal missing
        inner = nested_schema(nested)
        uri, key = schema_uri_of(client.did, inner), (inner.name, inner.version)
        if key in met:
            return uri
        met.add(key)
        # Where other fields have this version, publishing looks for the next one that is free.
        with suppress(SchemaConflictError):
            found[key] = find_schema(client, inner)
        if found.get(key) is None:
            missing += 1
            to_record(inner, look)
        return uri

    to_record(schema, look)
    return missing


def _with_record(prepared: Prepared, request: Request, spec: DatasetSpec) -> Prepared:
    """The record, which is written last: a new one, an update of the existing one, or none."""
    plan = prepared.plan
    assert plan.schema is not None
    client = request.client
    wanted = Publication(
        spec,
        plan.schema.uri,
        PlacedShards(request.shards, *request.place),
        content=request.content,
        object_place=request.object_place,
    )
    shards = _planned(request)
    draft = draft_dataset(client, wanted.with_shards(shards))
    if plan.shards_to_split and draft.existing is not None:
        split = followed(draft.existing).shards
        if _came_of(split, request.shards, shards, plan.blob_limit or 0):
            # An earlier promotion wrote the pieces, and the record keeps them.
            draft = draft_dataset(client, wanted.with_shards(split))
            plan = replace(plan, shards_to_copy=0, bytes_to_copy=0, shards_to_split=0, uploads=0)
    check_record(draft.record)
    validate(draft.record)
    manifest, place = draft.manifest is not None, None
    if draft.manifest is not None and draft.manifest.object_place is not None:
        place = draft.manifest.reference["manifestObject"]["url"]
    state: Literal["new", "update", "unchanged"] = "new"
    if draft.existing is not None:
        state = "unchanged" if draft.is_same else "update"
    if state == "unchanged":
        plan = replace(plan, shards_to_copy=0, bytes_to_copy=0, uploads=0)
    points = {"new": CREATE, "update": UPDATE, "unchanged": 0}[state]
    if state == "new":
        points += CREATE * len(list(holders(draft.uri, draft.blobs, "")))
    plan = replace(
        plan,
        uri=str(draft.uri),
        record=state,
        record_bytes=record_size(draft.record),
        manifest=manifest,
        manifest_url=place,
        uploads=plan.uploads + (manifest and place is None and state != "unchanged"),
        write_points=plan.write_points + points,
    )
    return replace(prepared, plan=plan, publication=wanted, draft=draft)


def _planned(request: Request) -> tuple[ShardInfo, ...]:
    """The shards as they would be published, where the store knows that before it copies."""
    store: object = request.data_store
    shards = request.shards
    if not isinstance(store, SupportsPlannedCopies):
        return shards
    planned = _asked(store, lambda: tuple(store.planned(shards, prefix=request.prefix)))
    if len(planned) != len(shards):
        raise StoreError(
            f"{type(store).__name__}.planned() returned {len(planned):,} copies of "
            f"{len(shards):,} shards; expected one for each. Nothing was published."
        )
    return planned


def _came_of(
    published: Sequence[ShardInfo],
    before: Sequence[ShardInfo],
    planned: Sequence[ShardInfo],
    limit: int,
) -> bool:
    """Whether published shards are those planned, with each above the limit in pieces.

    Names and hashes of pieces are unknown before they are written, so they are recognised by their
    numbers of samples, which add up to those of the shard before.
    """
    at = 0
    for shard, copy in zip(before, planned, strict=True):
        if (shard.bytes or 0) <= limit:
            if at == len(published) or str(published[at].url) != copy.url:
                return False
            at += 1
            continue
        left = shard.samples
        while left and at < len(published) and published[at].samples:
            left -= published[at].samples or 0
            at += 1
        if left != 0:
            return False
    return at == len(published)


def _costs(plan: PromotionPlan) -> list[str]:
    """Warnings where a promotion takes more than servers grant in an hour or a day."""
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


def with_readers(plan: PromotionPlan, request: Request) -> PromotionPlan:
    """The plan, with whether others can read: the first and the last shard are requested without
    credentials."""
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
