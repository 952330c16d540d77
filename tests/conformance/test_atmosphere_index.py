"""The suite for indexes, run over the network with shards as blobs of the account."""

from __future__ import annotations

from pathlib import Path

import pytest

from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.testing.indexes import IndexSuite
from atdata.testing.network import Network


class TestAtmosphere(IndexSuite):
    """AtmosphereIndex on a real server, an account a test."""

    @pytest.fixture
    def index(
        self, network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> AtmosphereIndex:
        monkeypatch.setenv("ATDATA_PLC_URL", network.plc_url)
        monkeypatch.setenv("ATDATA_PDS_URL", network.servers[0].url)
        monkeypatch.setenv("ATDATA_DATA_DIR", str(tmp_path / "data"))
        account = network.create_account()
        client = AtmosphereClient()
        client.login(account.handle, account.password)
        return AtmosphereIndex(client, data_store=PDSBlobStore(client))
