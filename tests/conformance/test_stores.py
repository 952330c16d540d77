"""The suite for data stores, over every one that atdata has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atdata._refs import parse_blob_ref
from atdata._registry import STORES
from atdata._shardlist import shards_of
from atdata.atmosphere import PDSBlobStore
from atdata.stores.disk import DiskDataStore
from atdata.stores.s3 import S3DataStore
from atdata.testing.network import Network
from atdata.testing.stores import StoreSuite
from tests.conformance.blobs import log_in, reference
from tests.services.s3 import S3Server


class TestDisk(StoreSuite):
    """A folder."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> DiskDataStore:
        return DiskDataStore(tmp_path / "store [1] {a,b}")


class TestS3(StoreSuite):
    """A bucket."""

    @pytest.fixture
    def store(self, s3_server: S3Server, s3_bucket: str) -> S3DataStore:
        return S3DataStore(s3_server.credentials(), bucket=s3_bucket)


class TestBlobs(StoreSuite):
    """Blobs of an account. They can be read when a record references them."""

    named_by_content = True

    @pytest.fixture
    def store(
        self, network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> PDSBlobStore:
        return Referenced(log_in(network, monkeypatch, tmp_path))


class Referenced(PDSBlobStore):
    """The store, with the step that publishing a dataset adds: a record for each blob."""

    def write_shards(self, ds: Any, **options: Any) -> Any:
        return self.referenced(super().write_shards(ds, **options))

    def copy_shards(self, *arguments: Any, **options: Any) -> Any:
        return self.referenced(super().copy_shards(*arguments, **options))

    def referenced(self, urls: Any) -> Any:
        for shard in shards_of(urls):
            assert shard.bytes is not None
            reference(self.client, parse_blob_ref(shard.url).cid, shard.bytes, shard.mime)
        return urls


def test_every_registered_store_is_held_to_the_suite() -> None:
    """No store is registered here that this file does not test."""
    tested = {DiskDataStore, S3DataStore, PDSBlobStore}
    assert tested == {STORES.load(name) for name in STORES.ours}
