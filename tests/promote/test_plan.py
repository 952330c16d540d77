"""A plan says what a promotion would do, and writes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata._refs import DATASET_COLLECTION, SCHEMA_COLLECTION
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.errors import (
    AuthenticationError,
    DatasetNotFoundError,
    IntegrityError,
    NoDataUrlsError,
    OptionError,
    PrivateUrlError,
    SchemaConflictError,
    SchemaNotFoundError,
    StoreError,
)
from atdata.local import DiskDataStore, LocalDatasetEntry, LocalIndex, S3DataStore
from atdata.promote import PromotionPlan, plan_promotion, promote_to_atmosphere
from atdata.testing.network import Account, Network
from tests.promote.conftest import Feature, features
from tests.services.proxy import FaultProxy

pytestmark = pytest.mark.filterwarnings("ignore:.*is on this machine")


def counts(client: AtmosphereClient) -> tuple[int, ...]:
    collections = (SCHEMA_COLLECTION, DATASET_COLLECTION)
    return tuple(len(list(client.list_records(client.did, c))) for c in collections)


@pytest.mark.parametrize("kind", ["s3", "blobs"])
def test_a_plan_says_what_happens(
    kind: str,
    client: AtmosphereClient,
    local: LocalIndex,
    entry: LocalDatasetEntry,
    store: S3DataStore,
    at_home: Network,
    account: Account,
    proxy_to: Callable[[str], FaultProxy],
) -> None:
    """Schema, shards, bytes, uploads, points and the record are those of the promotion."""
    proxy = proxy_to(at_home.servers[0].url)
    through = AtmosphereClient(proxy.url)
    through.login(account.handle, account.password)
    target = store if kind == "s3" else PDSBlobStore(through)
    plan = plan_promotion(entry, local, through, data_store=target)
    assert not [r for r in proxy.requests if r.method == "POST" and "createSession" not in r.path]
    assert plan.ok
    assert plan.schema is not None
    assert (plan.schema.state, plan.record) == ("new", "new")
    assert (plan.shards, plan.samples) == (7, 20)
    assert (plan.shards_to_copy, plan.bytes_to_copy) == (7, plan.bytes)
    assert plan.write_points == 6
    assert plan.uploads == (0 if kind == "s3" else 7)
    uri = promote_to_atmosphere(entry, local, through, data_store=target)
    assert (plan.uri, plan.schema.uri) == (uri, AtmosphereIndex(client).get_dataset(uri).schema_ref)
    after = plan_promotion(entry, local, through, data_store=target)
    assert after.schema is not None
    assert (after.schema.state, after.record, after.shards_to_copy) == ("found", "unchanged", 0)
    assert (after.uri, after.write_points, after.uploads) == (uri, 0, 0)
    assert after.record_bytes is not None
    assert json.loads(json.dumps(after.to_dict()))["ok"] is True
    assert "unchanged" in str(after)
    changed = plan_promotion(entry, local, through, data_store=target, description="Other")
    assert (changed.record, changed.write_points) == ("update", 2)


def test_every_refusal_is_named_before_anything_is_written(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry, tmp_path: Path
) -> None:
    """A plan has every reason at once; promoting raises the first and writes nothing."""
    plan = plan_promotion(entry, local, client, name="a\nb", tags=[""], license="MIT License")
    assert [type(error).__name__ for error in plan.refusals] == [
        "DatasetNameError",
        "OptionError",
        "PrivateUrlError",
    ]
    assert not plan.ok
    cases = [
        (PrivateUrlError, {}),
        (PrivateUrlError, {"data_store": DiskDataStore(tmp_path / "x")}),
        (DatasetNotFoundError, {"data_store": PDSBlobStore(client), "sources": [_nowhere(client)]}),
        (OptionError, {"data_store": PDSBlobStore(client), "license": "Mit-ish"}),
    ]
    for expected, arguments in cases:
        plan = plan_promotion(entry, local, client, **arguments)  # type: ignore[arg-type]
        assert isinstance(plan.refusals[0], expected)
        with pytest.raises(expected):
            promote_to_atmosphere(entry, local, client, **arguments)  # type: ignore[arg-type]
    empty = plan_promotion(entry, LocalIndex(tmp_path / "empty.db"), client)
    assert {type(error) for error in empty.refusals} == {SchemaNotFoundError, PrivateUrlError}
    assert counts(client) == (0, 0)


def _nowhere(client: AtmosphereClient) -> str:
    return f"at://{client.did}/{DATASET_COLLECTION}/nowhere"


def test_a_conflict_is_planned(
    client: AtmosphereClient,
    published: AtmosphereIndex,
    local: LocalIndex,
    entry: LocalDatasetEntry,
) -> None:
    """A schema of the name and version with other fields is a refusal that shows them."""
    schema = local.schema_of_ref(entry.schema_ref)
    published.publish_schema(atdata.Schema(schema.name, schema.version, schema.fields[:1]))
    plan = plan_promotion(entry, local, client, data_store=PDSBlobStore(client))
    assert plan.schema is not None
    assert plan.schema.state == "conflict"
    assert isinstance(plan.refusals[0], SchemaConflictError)
    assert "label" in str(plan)


def test_files_that_changed_are_refused(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """A file that is gone or has another size is known before the schema is published."""
    shard = Path(entry.shards[4].url)
    shard.write_bytes(shard.read_bytes() + bytes(512))
    with pytest.raises(IntegrityError, match=shard.name):
        promote_to_atmosphere(entry, local, client, data_store=PDSBlobStore(client))
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=shard.name):
        promote_to_atmosphere(entry, local, client, data_store=PDSBlobStore(client))
    assert counts(client) == (0, 0)


def _raise(error: Exception) -> Any:
    raise error


_BROKEN: dict[str, Callable[..., Any]] = {
    "refuses": lambda *_, **__: _raise(StoreError("no, at https://me:hunter22x@host/")),
    "fails": lambda *_, **__: _raise(OSError("no, at https://me:hunter22x@host/")),
    "answers nonsense": lambda *_, **__: None,
}


@pytest.mark.parametrize("how", _BROKEN)
@pytest.mark.parametrize(
    "question", ["check", "check_public", "present", "max_shard_bytes", "planned"]
)
def test_whatever_a_store_is_asked_it_may_refuse(
    client: AtmosphereClient,
    local: LocalIndex,
    entry: LocalDatasetEntry,
    tmp_path: Path,
    question: str,
    how: str,
) -> None:
    """A store that fails to answer is a refusal without secrets, not an error of the plan."""
    methods: dict[str, Any] = {"check_public": lambda *_: None, question: _BROKEN[how]}
    store = type("Other", (DiskDataStore,), methods)(tmp_path / "other")
    plan = plan_promotion(entry, local, client, data_store=store)
    if how == "answers nonsense" and question.startswith("check"):
        assert plan.ok
        return
    assert [type(error) for error in plan.refusals] == [StoreError]
    assert "hunter22x" not in f"{plan}{plan.to_dict()}"
    with pytest.raises(StoreError):
        promote_to_atmosphere(entry, local, client, data_store=store)
    assert counts(client) == (0, 0)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_no_shard_fits_is_refused(
    client: AtmosphereClient,
    local: LocalIndex,
    entry: LocalDatasetEntry,
    tmp_path: Path,
    limit: int,
) -> None:
    """A store that says it takes no bytes at all."""
    methods = {"check_public": lambda *_: None, "max_shard_bytes": lambda _: limit}
    store = type("Other", (DiskDataStore,), methods)(tmp_path / "other")
    plan = plan_promotion(entry, local, client, data_store=store, oversize="split")
    assert [str(limit) in str(error) for error in plan.refusals] == [True]


def test_a_bucket_that_cannot_be_reached_is_a_refusal(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """A plan is made without the server, and says that it does not answer."""
    keys = {"AWS_ENDPOINT": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "AKIAQQQQQQQQQQQQQQQQ"}
    keys["AWS_SECRET_ACCESS_KEY"] = "abcdefghijkl"
    plan = plan_promotion(entry, local, client, data_store=S3DataStore(keys, bucket="absent"))
    assert [type(error) for error in plan.refusals] == [StoreError]
    assert "cannot be reached" in str(plan)


def test_large_shards_are_refused_by_the_servers_own_limit(
    client: AtmosphereClient, local: LocalIndex, tmp_path: Path
) -> None:
    """A shard over the limit that the server tells is refused before the schema is published."""
    samples = [Feature(value.features.repeat(2**15), value.label) for value in features(8)]
    dataset = atdata.write_samples(samples, tmp_path / "large.tar")
    entry = local.insert_dataset(dataset, name="large")
    assert sum(shard.bytes or 0 for shard in entry.shards) > client.blob_limit
    plan = plan_promotion(entry, local, client, data_store=PDSBlobStore(client))
    assert plan.blob_limit == client.blob_limit
    with pytest.raises(StoreError, match="oversize='split'"):
        promote_to_atmosphere(entry, local, client, data_store=PDSBlobStore(client))
    assert counts(client) == (0, 0)


def test_who_can_read_is_asked(
    client: AtmosphereClient, store: S3DataStore, tmp_path: Path
) -> None:
    """A bucket that gives nothing without keys is a warning: others would find an empty shell."""
    index = LocalIndex(tmp_path / "i.db", data_store=store)
    dataset = atdata.write_samples(features(20), tmp_path / "f.tar", maxcount=6)
    entry = index.insert_dataset(dataset, name="vectors", prefix="here")
    plan = plan_promotion(entry, index, client)
    assert plan.ok
    assert len(plan.unreadable) == 2
    assert plan.readable == ()
    assert any("cannot read" in warning for warning in plan.warnings)


def test_the_name_of_a_class_of_a_notebook_is_a_warning(
    client: AtmosphereClient, local: LocalIndex, tmp_path: Path
) -> None:
    """A schema that would be published as `__main__.…`; not one that is there already."""
    body = {"__annotations__": {"x": int}, "__module__": "__main__"}
    sample_type: Any = atdata.packable(type("Notebook", (), body))
    dataset = atdata.write_samples([sample_type(1)], tmp_path / "n.tar")
    entry = local.insert_dataset(dataset, name="numbers")
    store = PDSBlobStore(client)
    plan = plan_promotion(entry, local, client, data_store=store)
    assert any("__main__.Notebook" in warning for warning in plan.warnings)
    with pytest.warns(atdata.errors.AtdataWarning, match=r"__main__\.Notebook"):
        promote_to_atmosphere(entry, local, client, data_store=store)
    assert plan_promotion(entry, local, client, data_store=store).warnings == ()


def test_without_login_there_is_no_plan(
    local: LocalIndex, entry: LocalDatasetEntry, at_home: Network
) -> None:
    """A client without a login is an error that says to log in."""
    with pytest.raises(AuthenticationError, match="login"):
        plan_promotion(entry, local, AtmosphereClient())


def test_an_entry_without_shards(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry
) -> None:
    """No shard, no promotion; the plan still says the rest."""

    class Bare:
        name, schema_ref, data_urls, metadata = "x", entry.schema_ref, list[str](), None

    plan = plan_promotion(Bare(), local, client)
    assert [type(error) for error in plan.refusals] == [NoDataUrlsError]
    assert plan.schema is not None


def test_one_of_each_is_said_as_one() -> None:
    """A plan that people read counts one shard, sample, byte and upload in the singular."""
    one = PromotionPlan("x", "a.test", "https://b.test", 1, 1, 1, uploads=1, write_points=1)
    assert "data: 1 shard, 1 byte, 1 sample\n" in str(one)
    assert "cost: 1 write point, 1 upload" in str(one)
    two = PromotionPlan("x", "a.test", "https://b.test", 2, 2, 2, uploads=0, write_points=2_000)
    assert "data: 2 shards, 2 bytes, 2 samples\n" in str(two)
    assert "cost: 2,000 write points, 0 uploads" in str(two)
