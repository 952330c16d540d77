"""Datasets on servers, each behind a proxy that injects network faults."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import atdata
from atdata import Dataset, write_samples
from atdata._refs import parse_blob_ref
from atdata.testing.network import Network
from tests.conformance.blobs import log_in, publish_blob
from tests.services.proxy import FaultProxy
from tests.services.s3 import S3Server
from tests.sources.web import web_server
from tests.training.items import Item

Remote = tuple[FaultProxy, Dataset[Item]]


@pytest.fixture
def large(tmp_path: Path) -> Dataset[Item]:
    """600 samples, 6 MB in 3 shards."""
    rng = np.random.default_rng(0)
    samples = (Item(rng.random((50, 50), np.float32), i, f"n{i}") for i in range(600))
    return write_samples(samples, tmp_path / "items.tar", maxcount=200)


@pytest.fixture
def remote(
    large: Dataset[Item],
    s3_server: S3Server,
    s3_bucket: str,
    proxy_to: Callable[[str], FaultProxy],
) -> Remote:
    """The same in S3."""
    proxy = proxy_to(s3_server.endpoint)
    access = {**s3_server.credentials(), "AWS_ENDPOINT": proxy.url}
    store = atdata.local.S3DataStore(access, bucket=s3_bucket)
    urls = store.write_shards(large, prefix="items")
    proxy.clear()
    return proxy, Dataset.of(Item, list(urls), shards=urls.shards)


@pytest.fixture
def blobs(
    large: Dataset[Item],
    network: Network,
    proxy_to: Callable[[str], FaultProxy],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Remote]:
    """The same as blobs of an account."""
    client = log_in(network, monkeypatch, tmp_path)
    urls = [publish_blob(client, Path(shard).read_bytes()) for shard in large.shard_list]
    did = parse_blob_ref(urls[0]).did
    proxy = proxy_to(client.server)
    with web_server() as directory:
        # The account's own document, but its server is behind the proxy.
        monkeypatch.setenv("ATDATA_PLC_URL", directory.url)
        service = {"id": "#atproto_pds", "serviceEndpoint": proxy.url}
        directory.files[f"/{did}"] = json.dumps({"id": did, "service": [service]}).encode()
        yield proxy, Dataset[Item](urls)
