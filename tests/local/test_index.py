"""LocalIndex beyond the protocol: revisions, CIDs, what is recorded and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atdata
from atdata.errors import (
    DatasetNameError,
    DatasetNotFoundError,
    IntegrityError,
    NotFoundError,
    OptionError,
    RefError,
    ShardNotFoundError,
    UrlError,
)
from atdata.local import DiskDataStore, Index, LocalDatasetEntry, LocalIndex
from atdata.local.backends.base import PAGE_ROWS
from atdata.local.entry import to_row
from atdata.local.search_terms import entry_terms
from tests.local.conftest import Digit, MakeDigits


def test_index_is_another_name_of_local_index() -> None:
    """``Index`` and ``LocalIndex`` are one object."""
    assert Index is LocalIndex


def test_revisions_are_kept_and_found_by_their_cids(index: LocalIndex, digits: MakeDigits) -> None:
    """Other content adds a revision; history has all, oldest first, each reachable by its CID."""
    entries = [index.insert_dataset(digits(label), name="digits") for label in range(3)]
    assert index.history("digits") == entries
    assert [entry.revision for entry in entries] == [1, 2, 3]
    assert index.get_dataset("digits") == entries[-1]
    for entry in entries:
        assert index.get_entry(entry.cid) == entry
        assert index.get_dataset(entry.cid) == entry
    assert len({entry.cid for entry in entries}) == 3
    assert [entry.name for entry in index.list_datasets()] == ["digits"]


def test_a_licence_is_checked(index: LocalIndex, digits: MakeDigits) -> None:
    """A licence that SPDX does not have is refused with what may be meant; others are kept in
    SPDX's own capitals."""
    with pytest.raises(OptionError, match=r"'Apache 2' is not an SPDX.*'Apache-2\.0'"):
        index.insert_dataset(digits(1), name="digits", license="Apache 2")
    assert list(index.list_datasets()) == []
    assert index.insert_dataset(digits(1), name="digits", license="mit").license == "MIT"


def test_what_was_there_before_counts_as_other_content(
    index: LocalIndex, digits: MakeDigits
) -> None:
    """Going back to an older content is a new revision: the newest is what was inserted last."""
    first, second = digits(1), digits(2)
    index.insert_dataset(first, name="digits")
    index.insert_dataset(second, name="digits")
    again = index.insert_dataset(first, name="digits")
    assert again.revision == 3
    assert index.get_dataset("digits") == again
    assert index.get_entry(again.cid) == again


def test_what_is_said_makes_a_revision_and_what_is_not_said_stays(
    index: LocalIndex, digits: MakeDigits
) -> None:
    """Of the same content, another tag is a revision, silence is none, and "" takes back."""
    dataset = digits()
    said: dict[str, Any] = {"description": "D", "license": "MIT", "metadata": {"nan": float("nan")}}
    first = index.insert_dataset(dataset, name="digits", **said)
    assert index.insert_dataset(dataset, name="digits").revision == 1
    assert index.insert_dataset(dataset, name="digits", **said).revision == 1
    tagged = index.insert_dataset(dataset, name="digits", tags=["new"])
    assert (tagged.revision, tagged.tags, tagged.description) == (2, ("new",), "D")
    assert tagged.cid == first.cid
    assert index.get_entry(first.cid).revision == 2
    silent = index.insert_dataset(dataset, name="digits", description="", license="", metadata={})
    assert (silent.description, silent.license, silent.metadata) == (None, None, {})
    other = index.insert_dataset(digits(9), name="digits")
    assert (other.revision, other.description, other.tags) == (4, None, ("new",))
    cleared = index.insert_dataset(digits(8), name="digits", tags=[])
    assert cleared.tags == ()


def test_two_versions_of_a_class_do_not_take_turns(
    index: LocalIndex, digits: MakeDigits, tmp_path: Path
) -> None:
    """Programs with two versions of a class insert the same bytes: each has one revision."""

    def version(kind: Any) -> type[Any]:
        members = {"__annotations__": {"label": kind}, "__module__": __name__}
        made: type[Any] = type("Kept", (), members)
        return atdata.packable(made)

    old, new = version(int), version(int | None)
    atdata.write_samples([old(1), old(2)], tmp_path / "kept.tar")
    for sample_type in (old, new, old, new, old):
        found = atdata.Dataset.of(sample_type, tmp_path / "kept.tar")
        entry = index.insert_dataset(found, name="kept")
        assert list(atdata.Dataset.of(sample_type, entry)) == [sample_type(1), sample_type(2)]
    assert [entry.revision for entry in index.history("kept")] == [1, 2]
    assert len(list(index.list_schemas())) == 2


def test_a_bare_name_is_pointed_to_its_reference(index: LocalIndex, digits: MakeDigits) -> None:
    """load_dataset with a name that lacks its '@local/' says how to write it."""
    index.insert_dataset(digits(), name="photos")
    with pytest.raises(DatasetNotFoundError, match="@local/photos"):
        atdata.load_dataset("photos", index=index)


def test_the_same_content_under_two_names(index: LocalIndex, digits: MakeDigits) -> None:
    """Two names may have one content, and so one CID; deleting one leaves the other."""
    dataset = digits()
    one = index.insert_dataset(dataset, name="one")
    two = index.insert_dataset(dataset, name="two")
    assert one.cid == two.cid
    assert index.get_entry(one.cid) == two
    index.delete_dataset("two")
    assert index.get_entry(one.cid) == one


def test_deleting_forgets_every_revision_and_no_data(index: LocalIndex, digits: MakeDigits) -> None:
    """A deleted name and its CIDs are unknown; the shards stay, and the name can be reused."""
    entries = [index.insert_dataset(digits(label), name="digits") for label in range(2)]
    assert index.delete_dataset("digits") == 2
    for lost in (
        lambda: index.get_dataset("digits"),
        lambda: index.get_entry_by_name("digits"),
        lambda: index.history("digits"),
        lambda: index.get_entry(entries[0].cid),
        lambda: index.delete_dataset("digits"),
    ):
        with pytest.raises(DatasetNotFoundError):
            lost()
    assert all(Path(shard.url).exists() for entry in entries for shard in entry.shards)
    assert index.insert_dataset(digits(0), name="digits").revision == 1


def test_an_entry_knows_its_shards(index: LocalIndex, digits: MakeDigits) -> None:
    """Local shards are recorded with samples, bytes and SHA-256, though the dataset knew none."""
    written = digits(samples=7)
    opened = atdata.Dataset[Digit](written.shard_list)
    entry = index.insert_dataset(opened, name="digits")
    assert [shard.samples for shard in entry.shards] == [3, 3, 1]
    for shard in entry.shards:
        data = Path(shard.url).read_bytes()
        assert shard.bytes == len(data)
        assert shard.sha256 == hashlib.sha256(data).hexdigest()
    assert entry.data_urls == [written.shard_list[0].replace("000000", "{000000..000002}")]
    assert index.get_dataset("digits") == entry
    assert before_now(entry)


def before_now(entry: LocalDatasetEntry) -> bool:
    """Whether the entry was made in the last hour, in UTC."""
    return 0 <= (datetime.now(UTC) - entry.created_at).total_seconds() < 3600


def test_remote_shards_are_recorded_unread(index: LocalIndex) -> None:
    """URLs that are not files are recorded as they are, without asking their server."""
    url = "https://data.invalid/digits-{000000..000006}.tar"
    entry = index.insert_dataset(atdata.Dataset[Digit](url), name="digits")
    assert entry.data_urls == [url]
    assert [shard.url for shard in entry.shards][6] == "https://data.invalid/digits-000006.tar"
    assert {(shard.samples, shard.bytes, shard.sha256) for shard in entry.shards} == {
        (None, None, None)
    }
    assert index.insert_dataset(atdata.Dataset[Digit](url), name="digits") == entry


def test_a_password_is_never_recorded(index: LocalIndex) -> None:
    """A URL with a password in it is refused, and the error does not repeat it."""
    dataset = atdata.Dataset[Digit]("https://me:secret@data.invalid/digits.tar")
    with pytest.raises(UrlError, match=r"data\.invalid") as caught:
        index.insert_dataset(dataset, name="digits")
    assert "secret" not in str(caught.value)
    assert list(index.list_schemas()) == []


def test_relative_paths_are_made_absolute(
    index: LocalIndex, digits: MakeDigits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A dataset named by a relative path is found from every folder."""
    digits(5)
    monkeypatch.chdir(tmp_path)
    index.insert_dataset(atdata.Dataset[Digit]("digits-0-{000000..000002}.tar"), name="digits")
    monkeypatch.chdir("/")
    entry = index.get_dataset("digits")
    assert {sample.label for sample in atdata.Dataset[Digit](entry.data_urls[0])} == {5}


def test_data_that_moved_are_recorded_anew(
    index: LocalIndex, digits: MakeDigits, tmp_path: Path
) -> None:
    """The same content elsewhere is the same entry while its files stand, else a revision."""
    written = digits(1)
    first = index.insert_dataset(written, name="digits")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for shard in written.shard_list:
        shutil.copy(shard, elsewhere)
    copied = atdata.Dataset[Digit](elsewhere)
    assert index.insert_dataset(copied, name="digits") == first
    for shard in written.shard_list:
        Path(shard).unlink()
    moved = index.insert_dataset(copied, name="digits")
    assert (moved.revision, moved.cid) == (2, first.cid)
    assert len(list(atdata.Dataset[Digit](moved.data_urls[0]))) == 7


def test_a_file_that_changed_since_is_noticed(index: LocalIndex, digits: MakeDigits) -> None:
    """A dataset whose file was written over with another size since is not recorded."""
    dataset = digits(samples=3)
    Path(dataset.shard_list[0]).write_bytes(b"\0" * 1024)
    with pytest.raises(IntegrityError, match="changed since"):
        index.insert_dataset(dataset, name="digits")
    Path(dataset.shard_list[0]).unlink()
    with pytest.raises(ShardNotFoundError):
        index.add_entry(dataset, name="digits")
    assert list(index.list_datasets()) == []
    assert list(index.list_schemas()) == []


def test_a_damaged_file_is_noticed_before_anything_is_written(
    index: LocalIndex, tmp_path: Path
) -> None:
    """A file that is no shard is not recorded, and no schema is published for it."""
    path = tmp_path / "damaged.tar"
    path.write_bytes(b"not a tar" * 200)
    with pytest.raises(ValueError, match=r"damaged\.tar"):
        index.insert_dataset(atdata.Dataset[Digit](path), name="digits")
    assert list(index.list_schemas()) == []


def test_samples_that_are_nowhere_stored_are_refused(index: LocalIndex, digits: MakeDigits) -> None:
    """Without a store, a filtered or mapped dataset is refused: its shards hold other samples."""
    dataset = digits()
    for changed in (dataset.filter(lambda sample: True), dataset.map(lambda sample: sample)):
        with pytest.raises(OptionError, match="data store"):
            index.insert_dataset(changed, name="digits")
    with pytest.raises(OptionError, match="maxcount"):
        index.insert_dataset(dataset, name="digits", maxcount=10)
    assert list(index.list_datasets()) == []


def test_a_source_without_urls_needs_a_store(
    place: str, digits: MakeDigits, tmp_path: Path
) -> None:
    """Shards of a source of one's own have no URL: refused without a store, copied with one."""
    files = {f"shard-{n}": Path(url) for n, url in enumerate(digits(4).shard_list)}

    class Custom:
        @property
        def shard_list(self) -> list[str]:
            return list(files)

        def shards(self) -> Any:
            return ((name, path.open("rb")) for name, path in files.items())

        def open_shard(self, shard_id: str) -> Any:
            return files[shard_id].open("rb")

    dataset = atdata.Dataset[Digit](Custom())
    with LocalIndex(place) as index, pytest.raises(UrlError, match=r"shard-0.*Custom"):
        index.insert_dataset(dataset, name="digits")
    store = DiskDataStore(tmp_path / "store")
    with LocalIndex(place, data_store=store) as index:
        entry = index.insert_dataset(dataset, name="digits")
        assert list(atdata.Dataset[Digit](entry.data_urls[0])) == list(digits(4))


def test_datasets_by_reference(index: LocalIndex, digits: MakeDigits) -> None:
    """``@local/name`` means the name; with a version, the newest under that schema version."""
    dataset = digits()
    one = index.publish_schema(Digit, version="1.0.0")
    two = index.publish_schema(Digit, version="2.0.0")
    old = index.insert_dataset(dataset, name="digits", schema_ref=one)
    new = index.insert_dataset(dataset, name="digits", schema_ref=two)
    assert index.get_dataset("@local/digits") == new
    assert index.get_dataset("@local/digits@1.0.0") == old
    assert index.get_dataset("@local/digits@2.0.0") == new
    with pytest.raises(DatasetNotFoundError, match=r"digits@3\.0\.0"):
        index.get_dataset("@local/digits@3.0.0")


@pytest.mark.parametrize("name", ["zed\u200b", "re\u202ec", "odd@1.0.0"])
def test_names_that_references_do_not_reach(
    index: LocalIndex, digits: MakeDigits, name: str
) -> None:
    """No dataset is given one; those that were are listed, found, labelled and deleted."""
    dataset = digits()
    for insert in (index.insert_dataset, index.add_entry):
        with pytest.raises(DatasetNameError):
            insert(dataset, name=name)
    assert list(index.list_schemas()) == []
    entry = index.insert_dataset(dataset, name="plain")
    older = replace(entry, name=name)
    assert index._backend.add_entry(to_row(older), entry_terms(older))
    assert [found.name for found in index.list_datasets()] == sorted(["plain", name])
    assert index.get_dataset(name) == index.get_entry_by_name(name) == older
    assert index.history(name) == [older]
    index.label("plain", "3.0.0", older)
    assert index.get_dataset("@local/plain@3.0.0") == older
    if "@" in name:
        assert index.get_dataset(f"@local/{name}") == older
    assert index.delete_dataset(name) == 1


@pytest.mark.parametrize(
    "ref", ["@local/", "@", "@/digits", "@not a handle/digits", "https://x/digits", "", 3, None]
)
def test_malformed_references(index: LocalIndex, ref: Any) -> None:
    """What can be no name, reference or CID is a RefError."""
    with pytest.raises(RefError):
        index.get_dataset(ref)
    with pytest.raises(RefError):
        index.get_entry(ref)


def test_references_of_the_network_say_where_to_look(index: LocalIndex) -> None:
    """A dataset of the network is not found here, and the error says how to open it."""
    for ref in ("@alice.example.com/digits", "at://did:plc:abc/ac.foundation.dataset.record/x"):
        with pytest.raises(DatasetNotFoundError, match="load_dataset"):
            index.get_dataset(ref)


def test_a_typo_is_answered_with_names_that_are_there(
    index: LocalIndex, digits: MakeDigits
) -> None:
    """An unknown name is answered with those that are like it."""
    dataset = digits()
    for name in ("mnist-train", "mnist-test", "cifar"):
        index.insert_dataset(dataset, name=name)
    with pytest.raises(DatasetNotFoundError, match="Did you mean 'mnist-train'"):
        index.get_dataset("MNIST-tran")
    with pytest.raises(DatasetNotFoundError, match="list_datasets"):
        index.get_dataset("something else")


def test_an_empty_index_says_where_it_is(index: LocalIndex, digits: MakeDigits) -> None:
    """A look-up in a new index asks whether the place is right; one that has datasets does not."""
    entry = LocalDatasetEntry("x", "atdata://local/sampleSchema/Digit@1.0.0", ("/x.tar",))
    lookups = (
        lambda: index.get_dataset("digits"),
        lambda: index.get_dataset("@local/digits@1.0.0"),
        lambda: index.get_entry(entry.cid),
        lambda: index.decode_schema(entry.schema_ref),
    )
    for look_up in lookups:
        with pytest.raises(NotFoundError, match=re.escape(f"{index._backend.address} the right")):
            look_up()
    index.insert_dataset(digits(), name="others")
    with pytest.raises(NotFoundError) as caught:
        index.get_dataset("digits")
    assert "right place" not in str(caught.value)


@pytest.mark.parametrize("version", ["abc", "1.0", "v1.0.0", ""])
def test_what_is_no_version_is_said_to_be_none(
    index: LocalIndex, digits: MakeDigits, version: str
) -> None:
    """A name may have an ``@``; one that is not found for it shows how a version is written."""
    index.insert_dataset(digits(), name="digits")
    with pytest.raises(DatasetNotFoundError) as caught:
        index.get_dataset(f"@local/digits@{version}")
    assert f"{version!r} is not a version" in str(caught.value)
    assert "'@local/digits@1.0.0'" in str(caught.value)
    index.insert_dataset(digits(), name=f"digits@{version}")
    assert index.get_dataset(f"@local/digits@{version}").name == f"digits@{version}"


def test_a_listing_is_in_order_and_in_pages(index: LocalIndex, digits: MakeDigits) -> None:
    """More datasets than fit in a page are listed once each, by name, others written meanwhile."""
    dataset = digits(samples=1)
    names = [f"n{number:04d}" for number in range(2 * PAGE_ROWS + 50)]
    for name in reversed(names):
        index.add_entry(dataset, name=name)
    listed = index.list_datasets()
    seen = [next(listed).name]
    index.add_entry(dataset, name="a first one")
    index.delete_dataset(names[-1])
    seen += [entry.name for entry in listed]
    assert seen == names[:-1]


def test_an_entry_is_kept_as_json(place: str, digits: MakeDigits, tmp_path: Path) -> None:
    """An index opened again, even by another program, has every detail of the entry."""
    with LocalIndex(place) as index:
        entry = index.insert_dataset(
            digits(), name="digits", metadata={"b": b"\0", "f": [0.1, 2**64 - 1]}, tags=["t"]
        )
    with LocalIndex(place) as again:
        found = again.get_dataset("digits")
        assert found == entry
        assert found.created_at == entry.created_at
        assert json.dumps(found.data_urls)


def test_an_entry_of_no_shards_has_no_urls() -> None:
    """An entry that names no shard has an empty list of URLs."""
    entry = LocalDatasetEntry("empty", "atdata://local/sampleSchema/Digit@1.0.0")
    assert entry.data_urls == []
    assert entry.cid.startswith("bafyrei")
    assert isinstance(entry, atdata.IndexEntry)


@pytest.mark.parametrize(
    "nothing", [None, "", {}, np.zeros(3)], ids=["None", "str", "dict", "array"]
)
def test_what_is_no_dataset_is_a_type_error(index: LocalIndex, nothing: Any) -> None:
    """Something else than a Dataset is refused with a hint."""
    with pytest.raises(TypeError, match="Dataset"):
        index.insert_dataset(nothing, name="digits")
