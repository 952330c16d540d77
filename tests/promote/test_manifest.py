"""Datasets of more shards than a record has room for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata import load_dataset
from atdata._refs import DATASET_COLLECTION, SHARD_BLOBS_COLLECTION, parse_at_uri
from atdata._shardlist import ShardInfo
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.atmosphere.manifest import Manifest, ObjectPlace
from atdata.atmosphere.record_keys import dataset_rkey
from atdata.errors import (
    IntegrityError,
    OptionError,
    RecordError,
    ShardNotFoundError,
    UnsafeUrlError,
    UrlError,
)
from atdata.local import DiskDataStore, LocalDatasetEntry, LocalIndex, S3DataStore
from atdata.promote import plan_promotion, promote_to_atmosphere
from atdata.testing.network import Account, Network
from tests.atmosphere.publishing import publish_dataset
from tests.promote.conftest import LONG, Feature, features
from tests.promote.test_promote import Bare
from tests.services.proxy import FaultProxy
from tests.services.s3 import S3Server

pytestmark = pytest.mark.filterwarnings("ignore:.*is on this machine")


@pytest.fixture
def many(tmp_path: Path) -> tuple[LocalIndex, LocalDatasetEntry]:
    """Seven hundred shards of one sample."""
    index = LocalIndex(tmp_path / "many.db")
    dataset = atdata.write_samples(features(700), tmp_path / "many.tar", maxcount=1)
    return index, index.insert_dataset(dataset, name="many")


def test_more_blobs_than_a_record_can_name(
    client: AtmosphereClient,
    published: AtmosphereIndex,
    many: tuple[LocalIndex, LocalDatasetEntry],
) -> None:
    """They are planned, referenced by additional records, and all found on opening."""
    local, entry = many
    blobs = PDSBlobStore(client)
    plan = plan_promotion(entry, local, client, data_store=blobs)
    assert (plan.ok, plan.manifest, plan.uploads) == (True, True, 701)
    assert plan.record_bytes is not None
    assert plan.record_bytes < 2_000
    uri = promote_to_atmosphere(entry, local, client, data_store=blobs)
    assert uri == plan.uri
    kept = list(client.list_records(client.did, SHARD_BLOBS_COLLECTION))
    assert len(kept) == 2
    assert plan.write_points == 3 + 3 + 2 * 3
    found = published.get_dataset(uri)
    assert [s.sha256 for s in found.shards] == [s.sha256 for s in entry.shards]
    assert (found.samples, found.bytes) == (700, sum(s.bytes or 0 for s in entry.shards))
    assert [e.shards for e in published.list_datasets()] == [found.shards]
    sample = load_dataset(uri, split="train", sample_type=Feature).shard_list
    assert len(sample) == 700
    again = promote_to_atmosphere(entry, local, client, data_store=blobs)
    assert again == uri
    assert plan_promotion(entry, local, client, data_store=blobs).record == "unchanged"


@pytest.mark.parametrize(
    "url_of",
    [lambda n: f"https://data.example/{n:06d}.tar", lambda n: f"https://data.example/{n * n}.tar"],
    ids=["numbered", "unnumbered"],
)
def test_what_is_known_of_many_urls_is_kept(
    client: AtmosphereClient, published: AtmosphereIndex, url_of: Callable[[int], str]
) -> None:
    """Hashes and sizes of thousands of shards elsewhere are there when the dataset is opened."""
    shards = [ShardInfo(url_of(n), 3, 1024 + n, f"{n:064x}") for n in range(4_000)]
    said = {
        "name": "far",
        "schema_uri": published.publish_schema(Feature),
        "shards": shards,
    }
    first = publish_dataset(client, **said)  # type: ignore[arg-type]
    found = published.get_dataset(first.uri)
    assert list(found.shards) == shards
    assert publish_dataset(client, **said).cid == first.cid  # type: ignore[arg-type]
    assert parse_at_uri(first.uri).rkey.startswith(dataset_rkey("far", "", "")[:8])


def test_a_manifest_that_says_something_else_is_refused(
    client: AtmosphereClient, published: AtmosphereIndex
) -> None:
    """A malformed manifest is an error with the path, never a wrong shard."""
    schema = published.publish_schema(Feature)
    url = "https://data.example/a.tar"
    said = [
        (b"{", r"JSON"),
        (b"[]", r"\$"),
        (b'{"sha256":[null],"samples":[1],"bytes":[1]}', r"\$\.sha256\[0\]"),
        (b'{"sha256":["x"],"samples":[1],"bytes":[1],"urls":["a"]}', r"\$\.sha256\[0\]"),
        (b'{"sha256":[null],"samples":[-1],"bytes":[1],"urls":["a"]}', r"\$\.samples\[0\]"),
        (b'{"sha256":[],"samples":[1],"bytes":[1],"urls":["a"]}', "one item a shard"),
        (b'{"sha256":[null],"samples":[1],"bytes":[1],"urls":["https://b.example/"]}', "other"),
    ]
    for number, (data, path) in enumerate(said):
        manifest = Manifest(data).sent(client)
        record = {
            "$type": DATASET_COLLECTION,
            "name": f"bad {number}",
            "schemaRef": schema,
            "storage": {
                "$type": "ac.foundation.dataset.storageExternal",
                "urls": [url],
                "manifest": manifest.blob(),
            },
            "createdAt": "2026-01-01T10:00:00Z",
        }
        made = client.put_record(DATASET_COLLECTION, f"bad{number}", record, replaces=None)
        with pytest.raises(ValueError, match=path):
            published.get_dataset(str(made.uri))


def place(client: AtmosphereClient, uri: str) -> dict[str, Any]:
    """What a record says of its manifest, which is an object."""
    found: dict[str, Any] = client.get_record(uri).value["storage"]["manifestObject"]
    return found


def test_an_object_beside_the_copies(
    client: AtmosphereClient,
    published: AtmosphereIndex,
    local: LocalIndex,
    entry: LocalDatasetEntry,
    store: S3DataStore,
    s3_server: S3Server,
) -> None:
    """On request, the manifest is an object next to the shards, pinned by the record."""
    options: dict[str, Any] = {"data_store": store, "manifest_store": store, "metadata": LONG}
    plan = plan_promotion(entry, local, client, **options)
    uri = promote_to_atmosphere(entry, local, client, **options)
    said = place(client, uri)
    assert (plan.ok, plan.manifest, plan.manifest_url, plan.uploads) == (True, True, said["url"], 0)
    assert said["url"] in str(plan)
    found = published.get_dataset(uri)
    assert [s.sha256 for s in found.shards] == [s.sha256 for s in entry.shards]
    assert [s.samples for s in found.shards] == [s.samples for s in entry.shards]
    folder = found.shards[0].url.rpartition("/")[0]
    assert said["url"].rpartition("/")[0] == folder
    key = said["url"].removeprefix(f"s3://{store.bucket}/")
    head = s3_server.client().head_object(Bucket=store.bucket, Key=key)
    assert (head["ContentType"], head["ContentLength"]) == ("application/json", said["size"])
    assert [s.label for s in load_dataset(uri, split="train")] == [s.label for s in features(20)]
    assert promote_to_atmosphere(entry, local, client, **options) == uri
    assert plan_promotion(entry, local, client, **options).record == "unchanged"


def test_a_manifest_too_large_for_a_blob(
    account: Account,
    at_home: Network,
    proxy_to: Callable[[str], FaultProxy],
    local: LocalIndex,
    entry: LocalDatasetEntry,
    store: S3DataStore,
) -> None:
    """A manifest too large for a blob goes next to copies in a bucket, or is refused."""
    proxy = proxy_to(at_home.servers[0].url)
    proxy.answer(200, times=None, match="describeServer", body=b'{"blobUploadLimit": 300}')
    client = AtmosphereClient(proxy.url)
    client.login(account.handle, account.password)
    options: dict[str, Any] = {"metadata": LONG}
    uri = promote_to_atmosphere(entry, local, client, data_store=store, **options)
    assert place(client, uri)["size"] > 300
    urls = [f"https://data.example/{n}.tar" for n in range(60)]
    inserted = AtmosphereIndex(client, data_store=store).insert_dataset(
        atdata.Dataset.of(Feature, entry), name="inserted", **options
    )
    folder = inserted.shards[0].url.rpartition("/")[0]
    assert place(client, inserted.uri)["url"].rpartition("/")[0] == folder
    elsewhere = Bare("far", entry.schema_ref, urls)
    with pytest.raises(RecordError, match="manifest_store="):
        promote_to_atmosphere(elsewhere, local, client, **options)
    uri = promote_to_atmosphere(elsewhere, local, client, manifest_store=store, **options)
    said = place(client, uri)
    assert (said["endpoint"], said["url"].startswith(f"s3://{store.bucket}/far/")) == (
        store.endpoint,
        True,
    )
    assert len(AtmosphereIndex(client).get_dataset(uri).shards) == 60


def test_a_manifest_object_that_is_another(
    client: AtmosphereClient,
    published: AtmosphereIndex,
    store: S3DataStore,
    s3_server: S3Server,
) -> None:
    """Replaced or deleted after publishing, it is an error, never another dataset."""
    shards = [
        ShardInfo(f"https://data.example/{n * n}.tar", 3, 9, f"{n:064x}") for n in range(20_000)
    ]
    schema = published.publish_schema(Feature)
    object_place = ObjectPlace(store, "far", always=True)
    made = publish_dataset(
        client, name="far", schema_uri=schema, shards=shards, object_place=object_place
    )
    assert client.get_record(made.uri).value["storage"]["$type"].endswith("storageObject")
    assert list(published.get_dataset(made.uri).shards) == shards
    where = {"Bucket": store.bucket, "Key": place(client, made.uri)["url"].split("/", 3)[3]}
    s3 = s3_server.client()
    body = s3.get_object(**where)["Body"].read()
    s3.put_object(**where, Body=body.replace(b"[3,3,", b"[4,3,"))
    with pytest.raises(IntegrityError, match="pins"):
        published.get_dataset(made.uri)
    s3.delete_object(**where)
    with pytest.raises(ShardNotFoundError):
        published.get_dataset(made.uri)
    assert [found.name for found in published.list_datasets()] == ["far"]
    assert published.delete_dataset("far") == 1


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "/etc/passwd", "http://127.0.0.1:1/x", "http://[::1]/x", "pipe:id"],
)
def test_a_strangers_manifest_is_opened_with_care(
    url: str,
    client: AtmosphereClient,
    published: AtmosphereIndex,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No file of this machine, no command and no private address is opened for one."""
    kind = "ac.foundation.dataset.storageObject"
    pinned = {"url": url, "cid": Manifest(b"{}").cid}
    record = {
        "$type": DATASET_COLLECTION,
        "name": "bad",
        "schemaRef": published.publish_schema(Feature),
        "storage": {"$type": kind, "manifestObject": pinned},
        "createdAt": "2026-01-01T10:00:00Z",
    }
    made = client.put_record(DATASET_COLLECTION, "bad", record, replaces=None)
    monkeypatch.delenv("ATDATA_ALLOW_PRIVATE")
    with pytest.raises((UnsafeUrlError, UrlError)):
        published.get_dataset(str(made.uri))


def test_what_keeps_no_manifests_is_refused(
    client: AtmosphereClient, local: LocalIndex, entry: LocalDatasetEntry, tmp_path: Path
) -> None:
    """A store that others cannot read, and the newer family, which has none: nothing is written."""
    with pytest.raises(OptionError, match="manifest_store"):
        plan_promotion(entry, local, client, manifest_store=DiskDataStore(tmp_path / "x"))
    options: dict[str, Any] = {"metadata": LONG, "family": "science.alt.dataset"}
    with pytest.raises(RecordError, match="newer family"):
        promote_to_atmosphere(entry, local, client, data_store=PDSBlobStore(client), **options)
    assert list(client.list_records(client.did, SHARD_BLOBS_COLLECTION)) == []
