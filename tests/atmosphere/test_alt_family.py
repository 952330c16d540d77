"""Datasets that were published with the newer record family."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from atdata._digest import blob_cid
from atdata._refs import ALT_DATASET_COLLECTION, ALT_LABEL_COLLECTION, ALT_SCHEMA_COLLECTION
from atdata._shardlist import ShardInfo
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.atmosphere.alt_family import alt_shards
from atdata.atproto.data_model import bytes_to_json
from atdata.dataset.dataset import Dataset
from atdata.errors import DatasetNotFoundError, RecordError
from tests.atmosphere.conftest import Digit

SHA = "ab" * 32
SHIM = "https://alt.science/schemas/atdata-ndarray-bytes/1.0.0#/$defs/ndarray"
TIME = "2026-01-01T10:00:00Z"


def schema_record() -> dict[str, Any]:
    return {
        "$type": ALT_SCHEMA_COLLECTION,
        "name": "Digit",
        "version": "1.0.0",
        "schemaType": "jsonSchema",
        "schema": {
            "$type": f"{ALT_SCHEMA_COLLECTION}#jsonSchemaFormat",
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": {"image": {"$ref": SHIM}, "label": {"type": "integer"}},
            "required": ["image", "label"],
        },
        "createdAt": TIME,
    }


def entry_record(storage: dict[str, Any], schema: str = "at://did:plc:x/a.b/c") -> dict[str, Any]:
    return {
        "$type": ALT_DATASET_COLLECTION,
        "name": "newer digits",
        "schemaRef": schema,
        "storage": storage,
        "tags": ["a"],
        "license": "MIT",
        "metadata": bytes_to_json(msgpack.packb({"mean": 0.5})),
        "createdAt": TIME,
    }


def put(client: AtmosphereClient, value: dict[str, Any], rkey: str = "3k2yihcrp6f2c") -> str:
    return str(client.put_record(value["$type"], rkey, value, replaces=None).uri)


def test_http(index: AtmosphereIndex) -> None:
    """Shards over http come with their hash where it is one that we can check."""
    none = {"algorithm": "none", "digest": ""}
    storage = {
        "$type": "science.alt.dataset.storageHttp",
        "shards": [
            {
                "url": "https://data.example/a.tar",
                "checksum": {"algorithm": "sha256", "digest": SHA},
            },
            {"url": "https://data.example/b.tar", "checksum": none},
        ],
    }
    uri = put(index.client, entry_record(storage))
    entry = index.get_dataset(uri)
    assert list(entry.shards) == [
        ShardInfo("https://data.example/a.tar", sha256=SHA),
        ShardInfo("https://data.example/b.tar"),
    ]
    assert (entry.tags, entry.license, entry.metadata) == (("a",), "MIT", {"mean": 0.5})
    assert [e.uri for e in index.list_datasets()] == [uri]
    assert index.get_dataset("newer digits") == entry


def test_s3(index: AtmosphereIndex) -> None:
    """Keys in a bucket become s3:// URLs, with the server that the record names."""
    checksum = {"algorithm": "sha256", "digest": SHA}
    storage = {
        "$type": "science.alt.dataset.storageS3",
        "bucket": "digits",
        "endpoint": "https://s3.example",
        "region": "eu-1",
        "shards": [{"key": f"x/{n}.tar", "checksum": checksum} for n in range(3)],
    }
    entry = index.get_dataset(put(index.client, entry_record(storage)))
    assert entry.data_urls == ["s3://digits/x/{0..2}.tar"]
    assert (entry.endpoint, entry.region) == ("https://s3.example", "eu-1")


def test_blobs_are_read(client: AtmosphereClient, digits: Dataset[Digit]) -> None:
    """A dataset of blobs is read sample by sample, through its JSON Schema."""
    store = PDSBlobStore(client)
    shards = store.write_shards(digits, prefix="x").shards
    blobs = [
        {
            "blob": {
                "$type": "blob",
                "ref": {"$link": shard.url.rpartition("/")[2]},
                "mimeType": "application/x-tar",
                "size": shard.bytes,
            }
        }
        for shard in shards
    ]
    schema = put(client, schema_record())
    storage = {"$type": "science.alt.dataset.storageBlobs", "blobs": blobs}
    uri = put(client, entry_record(storage, schema))
    index = AtmosphereIndex(AtmosphereClient())
    entry = index.get_dataset(uri)
    sample_type: Any = index.decode_schema(entry.schema_ref)
    samples = list(Dataset.of(sample_type, entry))
    assert [sample.label for sample in samples] == list(range(20))
    assert samples[3].image.tolist() == [[3] * 4] * 4


def test_schemas_are_told_in_our_terms(index: AtmosphereIndex) -> None:
    """get_schema and list_schemas give name, version and fields, whatever the family."""
    ours = index.publish_schema(Digit)
    uri = put(index.client, schema_record())
    put(index.client, {"$type": ALT_SCHEMA_COLLECTION, "name": "broken"}, "broken")
    record = index.get_schema(uri)
    assert (record["name"], record["version"], record.ref) == ("Digit", "1.0.0", uri)
    assert sorted(field["name"] for field in record["fields"]) == ["image", "label"]
    assert [r.ref for r in index.list_schemas()] == [ours, uri]


def test_labels(index: AtmosphereIndex) -> None:
    """A label leads to the dataset that it names, by version or to the newest."""
    client = index.client
    storage = {
        "$type": "science.alt.dataset.storageHttp",
        "shards": [{"url": "https://data.example/a.tar"}],
    }
    uris = [put(client, entry_record(storage), f"entry{n}") for n in range(2)]
    for n, uri in enumerate(uris):
        label = {
            "$type": ALT_LABEL_COLLECTION,
            "name": "mnist",
            "version": f"1.0.{n}",
            "datasetUri": uri,
            "createdAt": f"2026-01-0{n + 1}T10:00:00Z",
        }
        put(client, label, f"label{n}")
    assert index.get_dataset("mnist").uri == uris[1]
    for n, uri in enumerate(uris):
        assert index.get_dataset(f"@{client.did}/mnist@1.0.{n}").uri == uri
    with pytest.raises(DatasetNotFoundError):
        index.get_dataset(f"@{client.did}/mnist@7.0.0")


@pytest.mark.parametrize(
    ("storage", "path"),
    [
        ({"$type": "science.alt.dataset.storageTape"}, r"\$\.storage\.\$type"),
        ({"$type": "science.alt.dataset.storageHttp"}, r"\$\.storage\.shards"),
        ({"$type": "science.alt.dataset.storageHttp", "shards": [{}]}, r"shards\[0\]\.url"),
        ({"$type": "science.alt.dataset.storageS3", "shards": []}, r"\$\.storage\.bucket"),
        (
            {"$type": "science.alt.dataset.storageS3", "bucket": "b", "shards": [{}]},
            r"shards\[0\]\.key",
        ),
        (
            {
                "$type": "science.alt.dataset.storageHttp",
                "shards": [{"url": "https://x.example", "checksum": 1}],
            },
            r"shards\[0\]\.checksum",
        ),
        ({"$type": "science.alt.dataset.storageBlobs", "blobs": [{}]}, r"blobs\[0\]\.ref"),
        ({"$type": "science.alt.dataset.storageExternal"}, r"\$\.storage\.urls"),
    ],
)
def test_nonsense_is_named(index: AtmosphereIndex, storage: dict[str, Any], path: str) -> None:
    """A storage that makes no sense is a RecordError with its path."""
    with pytest.raises(RecordError, match=path):
        index.get_dataset(put(index.client, entry_record(storage)))


def test_older_ones_of_the_family(index: AtmosphereIndex) -> None:
    """URLs with braces are written out, and blob references without a wrapping are read."""
    external = {
        "$type": "science.alt.dataset.storageExternal",
        "urls": ["https://data.example/{0..2}.tar"],
    }
    assert len(index.get_dataset(put(index.client, entry_record(external))).shards) == 3
    did = index.client.did
    reference = {"$type": "blob", "ref": {"$link": blob_cid(SHA)}, "size": 7}
    storage = {"$type": "science.alt.dataset.storageBlobs", "blobs": [reference]}
    assert alt_shards(did, storage) == (
        ShardInfo(f"at://{did}/blob/{blob_cid(SHA)}", None, 7, SHA),
    )
