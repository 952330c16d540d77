"""The suite for indexes, run over the network: shards as blobs, and shards in a bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.stores.s3 import S3DataStore
from atdata.testing.indexes import IndexSuite
from atdata.testing.network import Network
from tests.services.s3 import S3Server


@pytest.fixture
def client(network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AtmosphereClient:
    """Logged in to a new account on a real server."""
    monkeypatch.setenv("ATDATA_PLC_URL", network.plc_url)
    monkeypatch.setenv("ATDATA_PDS_URL", network.servers[0].url)
    monkeypatch.setenv("ATDATA_DATA_DIR", str(tmp_path / "data"))
    account = network.create_account()
    client = AtmosphereClient()
    client.login(account.handle, account.password)
    return client


class TestBlobs(IndexSuite):
    """AtmosphereIndex with its shards as blobs of the account."""

    @pytest.fixture
    def index(self, client: AtmosphereClient) -> AtmosphereIndex:
        return AtmosphereIndex(client, data_store=PDSBlobStore(client))


@pytest.mark.filterwarnings("ignore:.*only this machine can read")
class TestS3(IndexSuite):
    """AtmosphereIndex with its shards in a bucket."""

    @pytest.fixture
    def index(
        self, client: AtmosphereClient, s3_server: S3Server, s3_bucket: str
    ) -> AtmosphereIndex:
        store = S3DataStore(s3_server.credentials(), bucket=s3_bucket)
        return AtmosphereIndex(client, data_store=store)
