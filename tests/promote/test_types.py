"""Shards whose first bytes make a server take them for something else than a tar.

A tar begins with the name of its first member, which is the first sample's key: servers look
there for the type of what they are sent, and a record must say what they found.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atdata import Dataset, load_dataset
from atdata._refs import SHARD_BLOBS_COLLECTION
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.local import LocalDatasetEntry, LocalIndex
from atdata.promote import promote_to_atmosphere
from tests.promote.conftest import BEGINNINGS, LONG, Feature
from tests.promote.test_promote import records


def types(client: AtmosphereClient, uri: str) -> list[str]:
    """The MIME types of shards in the record of a dataset and its additional records."""
    storage = client.get_record(uri).value["storage"]
    if "blobs" not in storage:
        kept = records(client, SHARD_BLOBS_COLLECTION)
        return [blob["mimeType"] for record in kept for blob in record.value["blobs"]]
    return [blob.get("blob", blob)["mimeType"] for blob in storage["blobs"]]


@pytest.mark.parametrize(
    "options",
    [{}, {"family": "science.alt.dataset"}, {"metadata": LONG}],
    ids=["blobs", "newer", "manifest"],
)
def test_whatever_the_keys_begin_with(
    options: dict[str, Any],
    client: AtmosphereClient,
    odd: LocalDatasetEntry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Promoted, promoted again, changed from another machine: the types are the server's."""
    index = LocalIndex(tmp_path / "odd.db")
    blobs = PDSBlobStore(client)
    uri = promote_to_atmosphere(odd, index, client, data_store=blobs, **options)
    said = types(client, uri)
    storage = client.get_record(uri).value["storage"]["$type"]
    assert storage.endswith("storageManifest" if "metadata" in options else "storageBlobs")
    assert {"image/bmp", "image/gif", "application/pdf"} < set(said)
    assert [s.label for s in load_dataset(uri, split="train")] == list(range(len(BEGINNINGS)))
    cid = client.get_record(uri).cid
    assert promote_to_atmosphere(odd, index, client, data_store=blobs, **options) == uri
    assert client.get_record(uri).cid == cid
    monkeypatch.setenv("ATDATA_DATA_DIR", str(tmp_path / "another machine"))
    changed = {**options, "description": "Changed"}
    assert promote_to_atmosphere(odd, index, client, data_store=blobs, **changed) == uri
    assert types(client, uri) == said


def test_blobs_that_an_index_names(
    client: AtmosphereClient, published: AtmosphereIndex, odd: LocalDatasetEntry, tmp_path: Path
) -> None:
    """Shards that were sent as blobs before are published as they are, with their types."""
    index = LocalIndex(tmp_path / "sent.db", data_store=PDSBlobStore(client))
    entry = index.insert_dataset(Dataset.of(Feature, odd), name="odd")
    uri = promote_to_atmosphere(entry, index, client)
    assert "image/bmp" in types(client, uri)
    again = promote_to_atmosphere(entry, index, client, name="the same")
    assert types(client, again) == types(client, uri)
    assert len(load_dataset(again, split="train")) == len(BEGINNINGS)
