"""Labels, lenses and taking back."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from atdata._refs import (
    DATASET_COLLECTION,
    LENS_COLLECTION,
    NEWER_LABEL_COLLECTION,
    SHARD_BLOBS_COLLECTION,
)
from atdata._shardlist import ShardInfo
from atdata.atmosphere import (
    AtmosphereClient,
    AtmosphereIndex,
    AtmosphereIndexEntry,
    PDSBlobStore,
)
from atdata.atmosphere.lenses import Code
from atdata.dataset.dataset import Dataset
from atdata.dataset.write import write_samples
from atdata.errors import (
    DatasetNotFoundError,
    IntegrityError,
    LabelExistsError,
    OptionError,
    RefError,
    SchemaInUseError,
    SchemaNotFoundError,
    SchemaRefError,
)
from atdata.lenses.lens import Lens
from atdata.load import load_dataset
from atdata.samples.packable import packable
from atdata.testing.network import Network
from tests.atmosphere.conftest import Digit
from tests.atmosphere.publishing import (
    DATASET,
    SCHEMA,
    create,
    dataset_record,
    logged_in,
    publish_dataset,
    schema_record,
    update,
    write_all,
)


@packable
class Label:
    """What a digit is."""

    label: int


def see(source: Digit) -> Label:
    """Only the label."""
    return Label(source.label)


def put(view: Label, source: Digit) -> Digit:
    return dataclasses.replace(source, label=view.label)


CODE = Code("https://git.example/lenses", "0" * 40, "lenses/digits.py:see", branch="main")


def test_a_label_leads_to_one_dataset(
    index: AtmosphereIndex, digits: Dataset[Digit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """load_dataset("@handle/name@1.2.0") opens what was labelled, whatever came later."""
    monkeypatch.setenv("ATDATA_ALLOW_PRIVATE", "1")
    store = AtmosphereIndex(index.client, data_store=PDSBlobStore(index.client))
    first = store.insert_dataset(digits, name="digits")
    assert index.label("digits", "1.2.0", first) == index.label("digits", "1.2.0", first.uri)
    later = store.insert_dataset(
        write_samples(list(digits)[:3], tmp_path / "later.tar"), name="digits"
    )
    index.label("digits", "1.2.1", later)
    index.label("digits", "1.2.10", first)
    handle = index.client.handle
    assert len(load_dataset(f"@{handle}/digits@1.2.0", split="train")) == 20
    assert len(load_dataset(f"@{handle}/digits@1.2.1", split="train")) == 3
    assert len(load_dataset(f"@{handle}/digits@1.2.10", split="train")) == 20
    assert index.get_dataset("digits").uri == later.uri
    with pytest.raises(LabelExistsError, match="move=True"):
        index.label("digits", "1.2.0", later)
    index.label("digits", "1.2.0", later, move=True)
    assert len(load_dataset(f"@{handle}/digits@1.2.0", split="train")) == 3
    with pytest.raises(SchemaRefError):
        index.label("digits", "one", later)
    with pytest.raises(
        DatasetNotFoundError, match=r"labels: 1\.2\.0, 1\.2\.1, 1\.2\.10\. .*1\.0\.0"
    ):
        index.get_dataset(f"@{handle}/digits@9.9.9")
    missing = dataclasses.replace(first, uri=f"{first.uri}0")
    with pytest.raises(DatasetNotFoundError):
        index.label("digits", "3.0.0", missing)


def test_one_of_several_threads_gets_a_label(
    index: AtmosphereIndex, digits: Dataset[Digit], tmp_path: Path
) -> None:
    """Of callers that set a label of the network at once one gets it, the others are told."""
    store = AtmosphereIndex(index.client, data_store=PDSBlobStore(index.client))
    other = write_samples(list(digits)[:3], tmp_path / "other.tar")
    entries = [store.insert_dataset(digits, name="a"), store.insert_dataset(other, name="b")]

    def take(entry: AtmosphereIndexEntry) -> bool:
        try:
            index.label("rel", "1.0.0", entry)
        except LabelExistsError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        got = list(pool.map(take, entries))
    assert sorted(got) == [False, True]
    owner = index.get_dataset(f"@{index.client.handle}/rel@1.0.0")
    assert owner.uri == entries[got.index(True)].uri


def test_a_label_of_another_tool_is_not_taken_over(
    index: AtmosphereIndex, digits: Dataset[Digit], tmp_path: Path
) -> None:
    """A label whose record key another tool chose counts as one that exists."""
    store = AtmosphereIndex(index.client, data_store=PDSBlobStore(index.client))
    first = store.insert_dataset(digits, name="a")
    other = write_samples(list(digits)[:3], tmp_path / "other.tar")
    second = store.insert_dataset(other, name="b")
    record = {
        "$type": NEWER_LABEL_COLLECTION,
        "name": "rel",
        "version": "1.0.0",
        "datasetUri": first.uri,
        "datasetCid": first.cid,
        "createdAt": "2026-01-01T00:00:00Z",
    }
    theirs = index.client.put_record(NEWER_LABEL_COLLECTION, "theirs", record, replaces=None)
    assert index.label("rel", "1.0.0", first) == str(theirs.uri)
    with pytest.raises(LabelExistsError):
        index.label("rel", "1.0.0", second)
    assert index.get_dataset(f"@{index.client.handle}/rel@1.0.0").uri == first.uri


def test_what_was_labelled_is_not_replaced(
    index: AtmosphereIndex, client: AtmosphereClient, at_home: Network
) -> None:
    """Who labels another account's dataset does not lead to what that account puts there later."""
    other = logged_in(at_home.create_account(server=1))
    write_all(
        other,
        [
            create(SCHEMA, "mine.A:1.0.0", schema_record("A")),
            create(DATASET, "cats", dataset_record(other.did, "cats")),
        ],
    )
    uri = f"at://{other.did}/{DATASET}/cats"
    index.label("animals", "1.0.0", uri)
    own = AtmosphereIndex(other)
    own.label("animals", "1.0.0", uri)
    for name in (f"@{client.did}/animals@1.0.0", f"@{other.did}/animals@1.0.0"):
        assert index.get_dataset(name).uri == uri
    write_all(other, [update(DATASET, "cats", dataset_record(other.did, "dogs"))])
    for name in (f"@{client.did}/animals@1.0.0", f"@{client.did}/animals"):
        with pytest.raises(IntegrityError, match="was changed after"):
            index.get_dataset(name)
    assert index.get_dataset(uri).name == "dogs"
    assert index.get_dataset(f"@{other.did}/animals@1.0.0").name == "dogs"


def test_a_dataset_is_taken_back(index: AtmosphereIndex, digits: Dataset[Digit]) -> None:
    """Its record, its labels and the blobs that only it has are gone, and it says which."""
    client = index.client
    store = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    one = store.insert_dataset(digits, name="one")
    two = store.insert_dataset(digits, name="two")
    label = index.label("one", "1.0.0", one)
    gone = index.unpublish(one.uri)
    assert (gone.uri, gone.blobs, gone.labels) == (one.uri, (), (label,))
    assert list(client.list_records(client.did, NEWER_LABEL_COLLECTION)) == []
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
    """Of a dataset with a manifest nothing is left behind."""
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
    with pytest.raises(RefError, match="no dataset"):
        index.unpublish(f"at://{index.client.did}/app.bsky.feed.post/x")


def test_lenses_are_found_by_their_schemas(index: AtmosphereIndex) -> None:
    """A lens is published with both schemas, once, and found by the pair; its code is named."""
    lens = Lens(Digit, Label, see, put)
    made = index.publish_lens(lens, getter=CODE, putter=CODE)
    again = index.publish_lens(lens, getter=CODE, putter=CODE)
    assert again.cid == made.cid
    source, target = index.publish_schema(Digit), index.publish_schema(Label)
    assert (made.source_schema, made.target_schema) == (source, target)
    assert (made.name, made.description) == ("see", "Only the label.")
    did = index.client.did
    for found in (
        index.list_lenses(),
        index.list_lenses(did, source=source),
        index.list_lenses(did, source=source, target=target),
    ):
        assert list(found) == [made]
    assert list(index.list_lenses(source=target, target=source)) == []
    assert str(made.getter) == f"https://git.example/lenses at {'0' * 40}: lenses/digits.py:see"
    moved = index.publish_lens(lens, getter=dataclasses.replace(CODE, commit="1" * 40), putter=CODE)
    assert moved.uri == made.uri
    assert [entry.getter.commit for entry in index.list_lenses()] == ["1" * 40]
    with pytest.raises(OptionError):
        index.publish_lens(lens, getter=Code("", "", ""), putter=CODE)
