"""Blobs that can be read: an account's, with a record that references them."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest

from atdata._refs import BlobRef
from atdata.atmosphere import AtmosphereClient
from atdata.testing.network import Network

_TYPE = "application/x-tar"


def log_in(network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AtmosphereClient:
    """A client of a new account, on the network that the environment names."""
    monkeypatch.setenv("ATDATA_PLC_URL", network.plc_url)
    monkeypatch.setenv("ATDATA_PDS_URL", network.servers[0].url)
    monkeypatch.setenv("ATDATA_DATA_DIR", str(tmp_path / "data"))
    account = network.create_account()
    client = AtmosphereClient()
    client.login(account.handle, account.password)
    return client


def publish_blob(client: AtmosphereClient, body: bytes) -> str:
    """Upload bytes, and reference them by a record; returns the blob's URL."""
    sha256 = hashlib.sha256(body).hexdigest()
    size = len(body)
    blob = client.upload_blob(io.BytesIO(body), size=size, sha256=sha256, content_type=_TYPE)
    reference(client, blob.cid, size, blob.mime)
    return str(BlobRef(client.did, blob.cid))


def reference(client: AtmosphereClient, cid: str, size: int, mime: str | None) -> None:
    """Reference a blob by a record: before that, the server gives it to nobody."""
    kind = "com.example.file"
    blob = {"$type": "blob", "ref": {"$link": cid}, "mimeType": mime, "size": size}
    client.put_record(kind, cid[-30:], {"$type": kind, "file": blob}, replaces=None)
