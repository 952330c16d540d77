"""AtmosphereIndex beyond what every index does."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atdata import load_dataset
from atdata._protocols import AbstractIndex, IndexEntry
from atdata._refs import DATASET_COLLECTION, parse_at_uri
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.dataset.dataset import Dataset
from atdata.errors import (
    AtdataError,
    AuthenticationError,
    DatasetNameError,
    DatasetNotFoundError,
    IdentityError,
    OptionError,
    PrivateUrlError,
    RecordError,
    RefError,
    SessionExpiredError,
)
from atdata.stores.disk import DiskDataStore
from atdata.testing.network import Account, Network
from tests.atmosphere.conftest import Digit
from tests.atmosphere.raw import write_raw
from tests.atmosphere.tokens import access_token


@pytest.fixture
def reader(at_home: Network) -> AtmosphereIndex:
    """The network without a login."""
    return AtmosphereIndex(AtmosphereClient())


class TestReading:
    def test_as_a_stranger(
        self, client: AtmosphereClient, reader: AtmosphereIndex, digits: Dataset[Digit]
    ) -> None:
        """Opened by AT URI without a login, a dataset yields the same samples, in order."""
        index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
        entry = index.insert_dataset(digits, name="digits")
        found = reader.get_dataset(entry.uri)
        assert found == entry
        sample_type: Any = reader.decode_schema(found.schema_ref)
        samples = list(Dataset.of(sample_type, found))
        assert [sample.label for sample in samples] == list(range(20))
        again = load_dataset(entry.uri, split="train")
        assert [sample.label for sample in again] == list(range(20))

    def test_by_name_in_any_account(
        self, index: AtmosphereIndex, reader: AtmosphereIndex, public_digits: Dataset[Digit]
    ) -> None:
        """By handle or DID and name, with the schema's version or without."""
        first = index.insert_dataset(public_digits, name="my digits")
        for owner in (index.client.handle, index.client.did):
            assert reader.get_dataset(f"@{owner}/my digits").uri == first.uri
            assert reader.get_dataset(f"@{owner}/my digits@1.0.0").uri == first.uri
            with pytest.raises(DatasetNotFoundError):
                reader.get_dataset(f"@{owner}/my digits@2.0.0")
        by_handle = first.uri.replace(index.client.did, index.client.handle)
        assert reader.get_dataset(by_handle).uri == first.uri
        assert [e.uri for e in reader.list_datasets(index.client.handle)] == [first.uri]

    @pytest.mark.parametrize("name", ["digits@9.9.9", "zed\u200b", "re\u202ec"])
    def test_names_that_references_do_not_reach(
        self,
        index: AtmosphereIndex,
        reader: AtmosphereIndex,
        public_digits: Dataset[Digit],
        name: str,
    ) -> None:
        """None is published any more; those that were are listed and found."""
        with pytest.raises(DatasetNameError):
            index.insert_dataset(public_digits, name=name)
        assert list(index.list_schemas()) == []
        entry = index.insert_dataset(public_digits, name="digits")
        record = dict(index.client.get_record(parse_at_uri(entry.uri)).value)
        older = write_raw(index.client, DATASET_COLLECTION, "older", {**record, "name": name})
        assert {e.name for e in reader.list_datasets(index.client.did)} == {"digits", name}
        assert index.get_dataset(name).uri == str(older.uri)
        assert [e.uri for e in index.history(name)] == [str(older.uri)]
        if "@" in name:
            assert reader.get_dataset(f"@{index.client.did}/{name}").uri == str(older.uri)

    @pytest.mark.parametrize(
        ("ref", "error"),
        [
            ("at://did:plc:x/ac.foundation.dataset.sampleSchema/x", RefError),
            ("at://did:plc:x", RefError),
            ("@local/digits", RefError),
            ("@nobody", RefError),
            ("@nobody.pds1.test/digits", IdentityError),
            (7, RefError),
        ],
    )
    def test_bad_refs(self, reader: AtmosphereIndex, ref: Any, error: type[Exception]) -> None:
        """What cannot be a dataset here is refused, each in its way."""
        with pytest.raises(error):
            reader.get_dataset(ref)

    def test_missing(self, index: AtmosphereIndex) -> None:
        """A dataset that is not there is a KeyError, by URI and by name."""
        uri = f"at://{index.client.did}/{DATASET_COLLECTION}/nothing"
        for ref in (uri, "nothing", f"@{index.client.did}/nothing"):
            with pytest.raises(DatasetNotFoundError, match="nothing"):
                index.get_dataset(ref)

    def test_without_a_login_there_is_no_own_account(self, reader: AtmosphereIndex) -> None:
        """What is about one's own account says to log in."""
        for call in (
            lambda: reader.get_dataset("digits"),
            lambda: list(reader.list_datasets()),
            lambda: list(reader.list_schemas()),
            lambda: reader.publish_schema(Digit),
        ):
            with pytest.raises(AuthenticationError, match=r"client\.login"):
                call()

    def test_nonsense_beside_it(
        self, index: AtmosphereIndex, public_digits: Dataset[Digit]
    ) -> None:
        """A malformed record is skipped in listings, and an error when it is opened."""
        entry = index.insert_dataset(public_digits, name="digits")
        value = {"$type": DATASET_COLLECTION}
        broken = write_raw(index.client, DATASET_COLLECTION, "broken", value)
        assert [e.uri for e in index.list_datasets()] == [entry.uri]
        with pytest.raises(RecordError, match=r"broken.*\$\.name"):
            index.get_dataset(str(broken.uri))

    def test_pages(self, index: AtmosphereIndex, public_digits: Dataset[Digit]) -> None:
        """More datasets than a page of the server holds are all listed."""
        entry = index.insert_dataset(public_digits, name="000")
        value = dict(index.client.get_record(entry.uri).value)
        for number in range(1, 105):
            value["name"] = f"{number:03d}"
            index.client.put_record(DATASET_COLLECTION, f"k{number}", value, replaces=None)
        assert [e.name for e in index.list_datasets()] == [f"{n:03d}" for n in range(105)]

    def test_protocols(self, index: AtmosphereIndex, public_digits: Dataset[Digit]) -> None:
        """Index and entry are what the protocols say."""
        entry = index.insert_dataset(public_digits, name="digits")
        assert isinstance(index, AbstractIndex)
        assert isinstance(entry, IndexEntry)
        assert index.client.handle in repr(index)


class TestInserting:
    def test_urls_are_kept(self, index: AtmosphereIndex, public_digits: Dataset[Digit]) -> None:
        """Without a store the URLs are recorded as they are, folded into one."""
        entry = index.insert_dataset(public_digits, name="digits")
        assert entry.data_urls == ["https://data.example/digits-{000000..000006}.tar"]
        assert len(entry.shards) == 7

    def test_private_urls(self, index: AtmosphereIndex, digits: Dataset[Digit]) -> None:
        """Files of this machine are refused before anything is published."""
        with pytest.raises(PrivateUrlError, match="data_store="):
            index.insert_dataset(digits, name="digits")
        assert list(index.list_datasets()) == []
        assert list(index.list_schemas()) == []

    def test_a_store_that_others_cannot_read(
        self, client: AtmosphereClient, digits: Dataset[Digit], tmp_path: Path
    ) -> None:
        """A folder as the index's store is refused before anything is written to it."""
        index = AtmosphereIndex(client, data_store=DiskDataStore(tmp_path / "store"))
        with pytest.raises(PrivateUrlError, match="folder"):
            index.insert_dataset(digits, name="digits")
        assert not (tmp_path / "store").exists()

    def test_blobs_of_another_account(
        self, client: AtmosphereClient, at_home: Network, digits: Dataset[Digit]
    ) -> None:
        """Blobs of another account, which no record of its own would keep, are refused."""
        other = at_home.create_account()
        stranger = AtmosphereClient()
        stranger.login(other.handle, other.password)
        index = AtmosphereIndex(client, data_store=PDSBlobStore(stranger))
        with pytest.raises(OptionError, match="same client"):
            index.insert_dataset(digits, name="digits")
        assert list(index.list_schemas()) == []

    def test_loopback_is_a_warning(self, index: AtmosphereIndex) -> None:
        """URLs on this machine's loopback are published with a warning."""
        local = Dataset.of(Digit, "http://localhost:9/digits.tar")
        with pytest.warns(UserWarning, match="only this machine"):
            index.insert_dataset(local, name="digits")

    def test_s3_keeps_its_server(self, index: AtmosphereIndex) -> None:
        """The record of shards in S3 names the server that this process reads them from."""
        from atdata.sources.s3 import S3Source

        bucket = f"bucket-{index.client.did[-8:]}"
        source = S3Source.from_urls(
            [f"s3://{bucket}/a-000000.tar"], endpoint="https://s3.example", region="eu-1"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            entry = index.insert_dataset(Dataset.of(Digit, source), name="digits")
        assert (entry.endpoint, entry.region) == ("https://s3.example", "eu-1")
        assert entry.data_urls == [f"s3://{bucket}/a-000000.tar"]

    def test_what_is_not_as_stored(
        self, index: AtmosphereIndex, public_digits: Dataset[Digit]
    ) -> None:
        """A filtered dataset's shards hold other samples: they are not published as its own."""
        filtered = public_digits.filter(lambda digit: digit.label > 3)
        with pytest.raises(OptionError, match="filtered"):
            index.insert_dataset(filtered, name="some")
        with pytest.raises(OptionError, match="data_store="):
            index.insert_dataset(public_digits, name="some", maxcount=5)

    def test_a_filtered_dataset_through_a_store(
        self, client: AtmosphereClient, digits: Dataset[Digit]
    ) -> None:
        """With a store just the samples that stay are written."""
        index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
        entry = index.insert_dataset(digits.filter(lambda d: d.label % 2 == 0), name="even")
        assert [d.label for d in Dataset.of(Digit, entry)] == list(range(0, 20, 2))

    def test_an_older_content_again(
        self, index: AtmosphereIndex, public_digits: Dataset[Digit]
    ) -> None:
        """Content that was published before becomes what the name means again, under its URI."""
        first = index.insert_dataset(public_digits, name="digits")
        fewer = Dataset.of(Digit, public_digits.shard_list[:2])
        second = index.insert_dataset(fewer, name="digits")
        assert index.get_dataset("digits").uri == second.uri
        third = index.insert_dataset(public_digits, name="digits")
        assert third.uri == first.uri
        assert index.get_dataset("digits").uri == first.uri
        assert [e.uri for e in index.history("digits")] == [second.uri, first.uri]
        assert index.delete_dataset("digits") == 2
        assert list(index.list_datasets()) == []

    def test_an_expired_session_is_found_out_first(
        self, client: AtmosphereClient, at_home: Network, digits: Dataset[Digit]
    ) -> None:
        """With a session that cannot be renewed no shard is sent."""
        handle, did, _, _, server = client.session_string.split(":::")
        expired = access_token(at_home.servers[0], did, expires_in=-5)
        dead = AtmosphereClient()
        dead.login_with_session(":::".join((handle, did, expired, expired, server)))
        index = AtmosphereIndex(dead, data_store=PDSBlobStore(dead))
        with pytest.raises(SessionExpiredError):
            index.insert_dataset(digits, name="digits")

    def test_not_a_client(self, client: AtmosphereClient) -> None:
        """An index needs a client, and a store as its store."""
        for bad in ("alice.test", None):
            with pytest.raises(OptionError, match="AtmosphereClient"):
                AtmosphereIndex(bad)  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="PDSBlobStore"):
            AtmosphereIndex(client, data_store="s3://bucket")  # type: ignore[arg-type]


def test_an_account_on_the_other_server(at_home: Network, tmp_path: Path) -> None:
    """An account of the second server publishes there, and is read through the first."""
    bob: Account = at_home.create_account(server=1)
    client = AtmosphereClient(bob.server_url)
    client.login(bob.handle, bob.password)
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    from atdata.dataset.write import write_samples

    dataset = write_samples(
        [Digit(np.full((2, 2), i, np.uint8), i) for i in range(5)], tmp_path / "x.tar"
    )
    entry = index.insert_dataset(dataset, name="digits")
    found = AtmosphereIndex(AtmosphereClient()).get_dataset(f"@{bob.handle}/digits")
    assert found == entry
    assert list(Dataset.of(Digit, found)) == list(dataset)


def test_bad_input_is_ours(index: AtmosphereIndex, public_digits: Dataset[Digit]) -> None:
    """Whatever is wrong with the arguments, the error is one of atdata's."""
    bad: list[dict[str, Any]] = [
        {"name": ""},
        {"name": "x" * 300},
        {"name": "a", "metadata": {"a": object()}},
        {"name": "a", "schema_ref": "atdata://local/sampleSchema/Digit@1.0.0"},
        {"name": "a", "tags": "one"},
    ]
    for arguments in bad:
        with pytest.raises(AtdataError):
            index.insert_dataset(public_digits, **arguments)
    assert list(index.list_datasets()) == []
