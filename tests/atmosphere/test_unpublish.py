"""Unpublishing datasets and schemas."""

from __future__ import annotations

import pytest

from atdata._refs import (
    ALT_LABEL_COLLECTION,
    DATASET_COLLECTION,
    LENS_COLLECTION,
    SHARD_BLOBS_COLLECTION,
)
from atdata._shardlist import ShardInfo
from atdata.atmosphere import (
    AtmosphereIndex,
    PDSBlobStore,
)
from atdata.dataset.dataset import Dataset
from atdata.errors import (
    DatasetNotFoundError,
    RefError,
    SchemaInUseError,
    SchemaNotFoundError,
)
from atdata.lenses.lens import Lens
from tests.atmosphere.conftest import Digit
from tests.atmosphere.publishing import (
    publish_dataset,
)
from tests.atmosphere.test_lenses import CODE, Label, put, see


def test_a_dataset_is_taken_back(index: AtmosphereIndex, digits: Dataset[Digit]) -> None:
    """Its record, its labels and the blobs that only it has are gone, and it says which."""
    client = index.client
    store = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    one = store.insert_dataset(digits, name="one")
    two = store.insert_dataset(digits, name="two")
    label = index.label("one", "1.0.0", one)
    gone = index.unpublish(one.uri)
    assert (gone.uri, gone.blobs, gone.labels) == (one.uri, (), (label,))
    assert list(client.list_records(client.did, ALT_LABEL_COLLECTION)) == []
    with pytest.raises(DatasetNotFoundError):
        index.get_dataset(one.uri)
    by_name = index.unpublish(f"@{client.handle}/two")
    assert by_name.uri == two.uri
    assert sorted(by_name.blobs) == sorted(str(s.url) for s in two.shards)
    with pytest.raises(DatasetNotFoundError):
        index.unpublish("two")
    with pytest.raises(DatasetNotFoundError):
        index.unpublish(two.uri)


def test_records_that_keep_blobs_go_too(index: AtmosphereIndex, digits: Dataset[Digit]) -> None:
    """Unpublishing a dataset with a manifest leaves nothing."""
    client = index.client
    blobs = PDSBlobStore(client).write_shards(digits, prefix="x").shards
    entry = publish_dataset(
        client,
        name="many",
        schema_uri=index.publish_schema(Digit),
        shards=list(blobs) * 100,
    )
    assert len(list(client.list_records(client.did, SHARD_BLOBS_COLLECTION))) == 2
    found = index.get_dataset(entry.uri)
    assert len(found.shards) == 700
    gone = index.unpublish(entry.uri)
    assert len(gone.blobs) == len(blobs) + 1
    for collection in (DATASET_COLLECTION, SHARD_BLOBS_COLLECTION):
        assert list(client.list_records(client.did, collection)) == []


def test_a_schema_in_use_stays(index: AtmosphereIndex) -> None:
    """A schema that a dataset or a lens refers to is refused; without them it goes."""
    schema = index.publish_schema(Digit)
    shards = [ShardInfo("https://data.example/a.tar")]
    entry = publish_dataset(index.client, name="a", schema_uri=schema, shards=shards)
    with pytest.raises(SchemaInUseError, match=entry.uri):
        index.unpublish(schema)
    index.unpublish(entry.uri)
    lens = index.publish_lens(Lens(Digit, Label, see, put), getter=CODE, putter=CODE)
    with pytest.raises(SchemaInUseError, match=LENS_COLLECTION):
        index.unpublish(schema)
    index.unpublish(lens.uri)
    index.unpublish(schema)
    with pytest.raises(SchemaNotFoundError):
        index.unpublish(schema)


def test_only_ones_own_is_taken_back(index: AtmosphereIndex) -> None:
    """Another account's records, and what is not ours to know, are refused."""
    with pytest.raises(RefError, match="not a record of"):
        index.unpublish(f"at://did:plc:other/{DATASET_COLLECTION}/x")
    with pytest.raises(RefError, match="not a dataset"):
        index.unpublish(f"at://{index.client.did}/app.bsky.feed.post/x")
