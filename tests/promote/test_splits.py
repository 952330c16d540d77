"""Shards keep their split on the way to the network, whatever they are called there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata import Dataset, load_dataset, write_samples
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.local import LocalDatasetEntry, LocalIndex, S3DataStore
from atdata.promote import plan_promotion, promote_to_atmosphere
from tests.promote.conftest import LONG, Feature, features

pytestmark = pytest.mark.filterwarnings("ignore:.*is on this machine")


@pytest.fixture
def sorted_entry(tmp_path: Path) -> LocalDatasetEntry:
    """Twelve samples in six shards of three splits, on this machine, with names that say them."""
    for number, split in enumerate(("train", "test", "val")):
        part = features(12)[4 * number :][:4]
        write_samples(part, tmp_path / split / "part.tar", maxcount=2)
    paths = sorted(str(path) for path in tmp_path.glob("*/part-*.tar"))
    dataset = Dataset.of(Feature, paths)
    return LocalIndex(tmp_path / "named.db").insert_dataset(dataset, name="sorted", metadata=LONG)


SPLITS = {"train": [0, 1, 2, 3], "test": [4, 5, 6, 7], "validation": [8, 9, 0, 1]}


def labels(where: Any) -> dict[str, list[int]]:
    return {name: [s.label for s in one] for name, one in load_dataset(where, Feature).items()}


@pytest.mark.parametrize("way", ["blobs", "s3", "manifest", "split", "newer"])
def test_splits_survive_promotion(
    way: str,
    client: AtmosphereClient,
    local: LocalIndex,
    store: S3DataStore,
    sorted_entry: LocalDatasetEntry,
    tmp_path: Path,
) -> None:
    """The record says each shard's split, and its dataset is loaded by it: from blobs, a bucket, a
    manifest, rewritten shards, and a record of the newer family."""
    local.publish_schema(Feature)
    options: dict[str, Any] = {"data_store": PDSBlobStore(client)}
    metadata: Any = {}
    if way == "s3":
        options["data_store"] = store
    elif way == "manifest":
        metadata = {"why": "x" * 74_500}
    elif way == "split":
        options["oversize"] = "split"
        client._limits[client.server] = 3_000
    elif way == "newer":
        options["family"] = "science.alt.dataset"
    entry = replace(sorted_entry, metadata=metadata)
    plan = plan_promotion(entry, local, client, **options)
    uri = promote_to_atmosphere(entry, local, client, **options)
    assert plan.manifest == (way == "manifest")
    found = AtmosphereIndex(client).get_dataset(uri)
    assert {shard.split for shard in found.shards} == {*SPLITS}
    assert labels(uri) == SPLITS
    assert promote_to_atmosphere(entry, local, client, **options) == uri


def test_an_entry_without_splits_goes_by_names(sorted_entry: LocalDatasetEntry) -> None:
    """Entries of older versions say no split: then names do."""
    old = json.loads(json.dumps([shard.to_dict() for shard in sorted_entry.shards]))
    for shard in old:
        del shard["split"]
    shards = tuple(atdata.ShardInfo.from_dict(shard) for shard in old)
    assert labels(replace(sorted_entry, shards=shards).data_urls[0]) == SPLITS
