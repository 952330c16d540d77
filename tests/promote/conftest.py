"""A local index with a dataset, and an account of each test's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import webdataset
from numpy.typing import NDArray

import atdata
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex
from atdata.local import DiskDataStore, LocalDatasetEntry, LocalIndex, S3DataStore
from atdata.testing.network import Account, Network
from tests.services.s3 import S3Server

BEGINNINGS = ("BM", "ID3", "GIF8", "MZ", "II*", "%PDF-", "OggS", "fLaC", "MThd", "BZh")
"""Of keys, and so of shards."""
LONG = {"why": "x" * 74_000}
"""Metadata that leave little room in a record for its shards."""


@atdata.packable
class Feature:
    """A vector and what it stands for."""

    features: NDArray[np.float32]
    label: int


def features(count: int) -> list[Feature]:
    """Samples that differ from one another."""
    return [Feature(np.full(8, i, np.float32), i % 10) for i in range(count)]


@pytest.fixture
def at_home(network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Network:
    """The network, named by the environment as a user would."""
    monkeypatch.setenv("ATDATA_PLC_URL", network.plc_url)
    monkeypatch.setenv("ATDATA_PDS_URL", network.servers[0].url)
    monkeypatch.setenv("ATDATA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ATDATA_ALLOW_PRIVATE", "1")
    return network


@pytest.fixture
def account(at_home: Network) -> Account:
    """An account of this test alone."""
    return at_home.create_account()


@pytest.fixture
def client(account: Account) -> AtmosphereClient:
    """A client that is logged in."""
    client = AtmosphereClient()
    client.login(account.handle, account.password)
    return client


@pytest.fixture
def published(client: AtmosphereClient) -> AtmosphereIndex:
    """What the account has published."""
    return AtmosphereIndex(client)


@pytest.fixture
def store(s3_server: S3Server, s3_bucket: str) -> S3DataStore:
    """A bucket of this test alone."""
    return S3DataStore(credentials=s3_server.credentials(), bucket=s3_bucket)


@pytest.fixture
def local(tmp_path: Path) -> LocalIndex:
    """An index of this machine whose data are in a folder."""
    return LocalIndex(tmp_path / "index.db", data_store=DiskDataStore(tmp_path / "shards"))


@pytest.fixture
def entry(local: LocalIndex, tmp_path: Path) -> LocalDatasetEntry:
    """Twenty samples in seven shards, on this machine."""
    dataset = atdata.write_samples(features(20), tmp_path / "features.tar", maxcount=3)
    return local.insert_dataset(
        dataset,
        name="vectors",
        description="Twenty vectors",
        tags=["a", "b"],
        license="MIT",
        metadata={"mean": 0.5, "raw": b"\x00"},
    )


@pytest.fixture
def odd(local: LocalIndex, tmp_path: Path) -> LocalDatasetEntry:
    """A dataset with a shard for each beginning."""
    paths = []
    for n, (start, sample) in enumerate(zip(BEGINNINGS, features(len(BEGINNINGS)), strict=True)):
        paths.append(str(tmp_path / f"odd-{n}.tar"))
        with webdataset.TarWriter(paths[-1], mtime=0) as sink:
            sink.write({**sample.as_wds, "__key__": f"{start}{n:06d}"})  # type: ignore[attr-defined]
    return LocalIndex(tmp_path / "odd.db").insert_dataset(
        atdata.Dataset.of(Feature, paths), name="odd"
    )
