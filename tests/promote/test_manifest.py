"""Datasets of more shards than a record has room for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import atdata
from atdata import load_dataset
from atdata._refs import DATASET_COLLECTION, SHARD_BLOBS_COLLECTION, parse_at_uri
from atdata._shardlist import ShardInfo
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.atmosphere.keys import dataset_rkey
from atdata.atmosphere.manifest import Manifest
from atdata.atmosphere.publish import publish_dataset
from atdata.local import LocalDatasetEntry, LocalIndex
from atdata.promote import plan_promotion, promote_to_atmosphere
from tests.promote.conftest import Feature, features

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
    """They are planned, kept by records beside the dataset's, and all found when it is opened."""
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
    """Nonsense in a stranger's manifest is an error with its path, never a wrong shard."""
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
