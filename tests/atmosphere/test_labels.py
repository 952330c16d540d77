"""Labels: versions of a name that lead to one dataset."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from atdata._refs import (
    ALT_LABEL_COLLECTION,
)
from atdata.atmosphere import (
    AtmosphereClient,
    AtmosphereIndex,
    AtmosphereIndexEntry,
    PDSBlobStore,
)
from atdata.dataset.dataset import Dataset
from atdata.dataset.write import write_samples
from atdata.errors import (
    DatasetNotFoundError,
    IntegrityError,
    LabelExistsError,
    SchemaRefError,
)
from atdata.load import load_dataset
from atdata.testing.network import Network
from tests.atmosphere.conftest import Digit
from tests.atmosphere.publishing import (
    DATASET,
    SCHEMA,
    create,
    dataset_record,
    logged_in,
    schema_record,
    update,
    write_all,
)


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
    """If several callers set a label at once, one succeeds and the others get an error."""
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
        "$type": ALT_LABEL_COLLECTION,
        "name": "rel",
        "version": "1.0.0",
        "datasetUri": first.uri,
        "datasetCid": first.cid,
        "createdAt": "2026-01-01T00:00:00Z",
    }
    theirs = index.client.put_record(ALT_LABEL_COLLECTION, "theirs", record, replaces=None)
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
