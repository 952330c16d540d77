"""Our objects as records, and records as entries again."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata._digest import blob_cid
from atdata._refs import DATASET_COLLECTION, AtUri, is_rkey
from atdata._shardlist import ShardInfo
from atdata.atmosphere.manifest import Manifest
from atdata.atmosphere.parsing import read_entry
from atdata.atmosphere.record_keys import dataset_rkey, schema_rkey
from atdata.atmosphere.records import (
    content_of,
    dataset_record,
)
from atdata.atproto.data_model import check_record
from atdata.atproto.reader import Record
from atdata.errors import RecordError
from atdata.indexing.dataset_spec import DatasetSpec
from atdata.indexing.placement import PlacedShards

DID = "did:plc:" + "a" * 24
SCHEMA = f"at://{DID}/ac.foundation.dataset.sampleSchema/m.Digit:1.0.0"
SHA = "ab" * 32
TIME = "2026-11-21T10:00:00.000000Z"


def shard(number: int, url: str = "https://data.example/a-{:06d}.tar") -> ShardInfo:
    return ShardInfo(url.format(number), 10, 1024, f"{number:064x}")


def blob(number: int) -> ShardInfo:
    sha256 = f"{number:064x}"
    return ShardInfo(f"at://{DID}/blob/{blob_cid(sha256)}", 10, 1024, sha256)


def record_of(shards: list[ShardInfo], **said: Any) -> dict[str, Any]:
    place = said.pop("endpoint", None), said.pop("region", None)
    rest = {key: said.pop(key) for key in ("manifest",) if key in said}
    spec = DatasetSpec(said.pop("name", "digits"), **said).checked()
    placed = PlacedShards(tuple(shards), *place)
    return dataset_record(
        DID, spec, schema_uri=SCHEMA, placed=placed, sources=(), created_at=TIME, **rest
    )


def entry_of(value: dict[str, Any]) -> Any:
    return read_entry(Record(AtUri(DID, DATASET_COLLECTION, "digits-1"), "bafy", value))


class TestKeys:
    @given(st.text(max_size=600), st.text(max_size=600))
    def test_schema_keys(self, one: str, other: str) -> None:
        """A schema's key is legal whatever its name, and two names never share one."""
        assert is_rkey(schema_rkey(one, "1.0.0"))
        assert (schema_rkey(one, "1.0.0") == schema_rkey(other, "1.0.0")) == (one == other)
        assert schema_rkey(one, "1.0.0") != schema_rkey(one, "1.0.1")

    def test_schema_keys_are_readable(self) -> None:
        """An ordinary name is its own key."""
        assert schema_rkey("mymodule.ImageSample", "1.0.0") == "~mymodule.ImageSample:1.0.0"

    @given(st.text(max_size=300))
    def test_dataset_keys(self, name: str) -> None:
        """A dataset's key is legal whatever its name, and changes with what is published."""
        key = dataset_rkey(name, SCHEMA, "content")
        assert is_rkey(key)
        assert key == dataset_rkey(name, SCHEMA, "content")
        assert key != dataset_rkey(name + "x", SCHEMA, "content")
        assert key != dataset_rkey(name, SCHEMA, "other")
        assert key != dataset_rkey(name, SCHEMA + "1", "content")

    def test_content_is_the_hash_where_known(self) -> None:
        """The same bytes elsewhere are the same content; other URLs without hashes are not."""
        here, there = [shard(1)], [shard(1, "s3://bucket/{}.tar")]
        assert content_of(here) == content_of(there)
        assert content_of([ShardInfo("a")]) != content_of([ShardInfo("b")])


class TestRoundTrip:
    def test_external(self) -> None:
        """URLs, hashes, counts, endpoint and what was said come back."""
        shards = [shard(n, "s3://bucket/x/a-{:06d}.tar") for n in range(7)]
        said = {
            "endpoint": "https://s3.example",
            "region": "eu-1",
            "description": "What.",
            "tags": ["a", "b"],
            "license": "MIT",
            "metadata": {"mean": 0.5, "raw": b"\x00"},
        }
        record = record_of(shards, **said)
        check_record(record)
        assert record["storage"]["urls"] == ["s3://bucket/x/a-{000000..000006}.tar"]
        assert record["size"] == {"shards": 7, "samples": 70, "bytes": 7168}
        entry = entry_of(record)
        assert list(entry.shards) == shards
        assert entry.data_urls == ["s3://bucket/x/a-{000000..000006}.tar"]
        assert (entry.name, entry.schema_ref) == ("digits", SCHEMA)
        assert (entry.samples, entry.bytes) == (70, 7168)
        assert {**said, "tags": ("a", "b")} == {key: getattr(entry, key) for key in said}

    def test_urls_know_that_a_stranger_wrote_them(self) -> None:
        """An entry's URL carries its endpoint and that it came from the network."""
        entry = entry_of(record_of([shard(1, "s3://b/{}.tar")], endpoint="https://s3.example"))
        (url,) = entry.data_urls
        assert url.stranger
        assert url.endpoint == "https://s3.example"

    def test_blobs(self) -> None:
        """Shards that are blobs of the account are referenced, so that the server keeps them."""
        shards = [blob(n) for n in range(3)]
        record = record_of(shards)
        check_record(record)
        assert [b["ref"]["$link"] for b in record["storage"]["blobs"]] == [
            s.url.rpartition("/")[2] for s in shards
        ]
        assert {b["mimeType"] for b in record["storage"]["blobs"]} == {"application/x-tar"}
        assert list(entry_of(record).shards) == shards

    def test_blobs_of_someone_else_are_urls(self) -> None:
        """Another account's blobs are named by URL: only its own records can keep them."""
        url = f"at://did:plc:{'b' * 24}/blob/{blob_cid(SHA)}"
        record = record_of([ShardInfo(url, 1, 512, SHA)])
        assert record["storage"]["$type"].endswith("storageExternal")
        assert list(entry_of(record).shards) == [ShardInfo(url, 1, 512, SHA)]

    def test_thousands_of_shards(self) -> None:
        """With a manifest a record of very many shards fits, and names every one that it can."""
        for shards in ([shard(n) for n in range(20_000)], [blob(n) for n in range(500)]):
            manifest = Manifest.of(DID, shards)
            record = record_of(shards, manifest=manifest.reference)
            check_record(record)
            entry = entry_of(record)
            assert entry.manifest == manifest.shard(DID)
            named = [s.url for s in entry.shards]
            assert named == ([] if shards[0].url.startswith("at://") else [s.url for s in shards])

    def test_braces_that_are_meant(self) -> None:
        """A URL with braces in its name comes back as one URL."""
        odd = [ShardInfo("https://data.example/{a,b}.tar"), ShardInfo("https://data.example/c.tar")]
        assert list(entry_of(record_of(odd)).shards) == odd


GOOD = record_of([shard(n) for n in range(3)], metadata={"a": 1}, tags=["x"])
BLOBS = record_of([blob(1)])


class TestStrangers:
    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("$.$type", "com.example.other"),
            ("$.$type", None),
            ("$.name", None),
            ("$.name", ""),
            ("$.name", "a\nb"),
            ("$.schemaRef", None),
            ("$.schemaRef", 7),
            ("$.schemaRef", "https://schema.example"),
            ("$.storage", None),
            ("$.storage", []),
            ("$.storage.$type", "unknown"),
            ("$.storage.$type", None),
            ("$.storage.urls", None),
            ("$.storage.urls", "https://data.example"),
            ("$.storage.urls", [1]),
            ("$.storage.urls", ["https://data.example/{a"]),
            ("$.storage.urls", ["https://data.example/{0..999999999}.tar"]),
            ("$.storage.urls", ["https://data.example/{0..150000}.tar"]),
            ("$.storage.endpoint", 1),
            ("$.storage.shards", {}),
            ("$.storage.shards", ["x"]),
            ("$.storage.shards", [{"url": 1}]),
            ("$.storage.shards", [{}]),
            ("$.storage.shards", [{"url": "x", "bytes": -1}]),
            ("$.storage.shards", [{"url": "x", "samples": True}]),
            ("$.storage.shards", [{"url": "x", "sha256": "zz"}]),
            ("$.createdAt", None),
            ("$.createdAt", "yesterday"),
            ("$.createdAt", 5),
            ("$.updatedAt", "tomorrow"),
            ("$.description", 1),
            ("$.tags", "x"),
            ("$.tags", [1]),
            ("$.license", []),
            ("$.metadata", {"a": 1}),
        ],
    )
    def test_what_is_wrong_is_named(self, path: str, value: object) -> None:
        """A record that is not a dataset's is a RecordError with URI and path."""
        record = copy.deepcopy(GOOD)
        inner: Any = record
        *steps, last = path.removeprefix("$.").split(".")
        for step in steps:
            inner = inner[step]
        inner[last] = value
        with pytest.raises(RecordError) as caught:
            entry_of(record)
        assert path in str(caught.value)
        assert f"at://{DID}/{DATASET_COLLECTION}/digits-1" in str(caught.value)

    @pytest.mark.parametrize(
        "value",
        [
            None,
            {},
            {"ref": {}},
            {"ref": {"$link": "x"}},
            {"ref": {"$link": "bafyreiddazbkk2wbfucq6j4tdywxb3x7j7prb3osqpanje7hbl7hybc5ea"}},
            {"ref": {"$link": blob_cid(SHA)}, "size": "large"},
        ],
    )
    def test_blobs_that_are_none(self, value: object) -> None:
        """A blob reference that makes no sense is named."""
        record = copy.deepcopy(BLOBS)
        record["storage"]["blobs"] = [value]
        with pytest.raises(RecordError, match=r"\$\.storage\.blobs\[0\]"):
            entry_of(record)

    def test_a_blob_is_what_its_reference_says(self) -> None:
        """What the list of details says of a blob's hash and size does not count."""
        record = copy.deepcopy(BLOBS)
        record["storage"]["shards"][0].update(bytes=5, sha256=SHA)
        assert list(entry_of(record).shards) == [blob(1)]

    def test_fields_of_the_future(self) -> None:
        """Unknown fields are ignored."""
        record = {**GOOD, "madeBy": {"tool": "other"}}
        assert entry_of(record) == entry_of(GOOD)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from([*GOOD, *GOOD["storage"], "url"]), inner)
            ),
            max_leaves=12,
        )
    )
    def test_any_garbage_is_a_record_error(self, storage: Any) -> None:
        """Whatever a stranger writes as storage, reading it ends in a RecordError or an entry."""
        try:
            entry_of({**GOOD, "storage": storage})
        except RecordError:
            return


@pytest.mark.parametrize(
    "bad",
    [
        {"description": 1},
        {"license": b"MIT"},
        {"tags": "one"},
        {"tags": 5},
        {"tags": [""]},
        {"tags": [1]},
        {"tags": [str(n) for n in range(31)]},
        {"metadata": {"a": object()}},
        {"metadata": {"a": 2**70}},
        {"metadata": [1]},
        {"metadata": {"a": "x" * 100_001}},
    ],
)
def test_details_are_checked(bad: dict[str, Any]) -> None:
    """A dataset's description has types and limits."""
    with pytest.raises(ValueError):
        record_of([shard(0)], **bad)
