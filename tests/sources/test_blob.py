"""Blobs, on a real server of the network."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from atdata import Dataset, DictSample, write_samples
from atdata._digest import blob_cid
from atdata._refs import BlobRef, parse_blob_ref
from atdata.atmosphere import AtmosphereClient
from atdata.errors import (
    IdentityError,
    IntegrityError,
    RefError,
    ShardNotFoundError,
    SourceError,
    UnsafeUrlError,
)
from atdata.sources.blob import BlobReader
from atdata.testing.network import Network
from tests.conformance.blobs import log_in, publish_blob
from tests.services.proxy import FaultProxy
from tests.sources.web import WebServer

DATA = random.Random(3).randbytes(3_000_000)
ProxyTo = Callable[[str], FaultProxy]


@pytest.fixture
def client(network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AtmosphereClient:
    """Logged in to an account of this test alone."""
    return log_in(network, monkeypatch, tmp_path)


def test_a_blob_is_read_without_a_login(client: AtmosphereClient) -> None:
    """The bytes come from the server that the account's document names."""
    with BlobReader().open(publish_blob(client, DATA)) as stream:
        assert stream.read(100) + stream.read() == DATA


def test_a_blob_that_is_not_there(client: AtmosphereClient) -> None:
    """A CID that the server does not have is a missing shard."""
    with pytest.raises(ShardNotFoundError, match="does not have this blob"):
        BlobReader().open(str(BlobRef(client.did, blob_cid("00" * 32))))


def test_an_account_that_is_not_there(client: AtmosphereClient) -> None:
    """A DID that nobody has is an IdentityError."""
    with pytest.raises(IdentityError):
        BlobReader().open(str(BlobRef("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", blob_cid("00" * 32))))


@pytest.mark.parametrize("url", ["at://did:plc:a/blob", "at://did:plc:a/blob/x", "at://a/b/c"])
def test_what_is_no_blob(url: str) -> None:
    """An at:// URL that is not a blob's is a RefError, before any request."""
    for reach in (BlobReader().open, BlobReader().expand):
        with pytest.raises(RefError):
            reach(url)


@pytest.fixture
def hosted(web: WebServer, proxy_to: ProxyTo, monkeypatch: pytest.MonkeyPatch) -> FaultProxy:
    """A plain web server, behind a proxy, with DATA as a blob of its own account."""
    monkeypatch.setenv("ATDATA_PLC_URL", web.url)
    proxy = proxy_to(web.url)
    web.ranges = False
    web.files["/xrpc/com.atproto.sync.getBlob"] = DATA
    service = {"id": "#atproto_pds", "serviceEndpoint": proxy.url}
    document = {"id": did_at(web), "service": [service]}
    web.files["/.well-known/did.json"] = json.dumps(document).encode()
    return proxy


def did_at(web: WebServer) -> str:
    """The DID that the web server vouches for."""
    return f"did:web:localhost%3A{web.url.rpartition(':')[2]}"


def blob_at(web: WebServer) -> str:
    """URL of DATA there."""
    return str(BlobRef(did_at(web), blob_cid(hashlib.sha256(DATA).hexdigest())))


def test_a_dropped_connection_begins_again(web: WebServer, hosted: FaultProxy) -> None:
    """Blob servers have no ranges: after a drop, bytes already read are skipped."""
    hosted.cut(after=1_700_000, times=2, abrupt=False)
    with BlobReader().open(blob_at(web)) as stream:
        assert stream.read() == DATA
    assert len(hosted.requests) == 3


def test_a_server_that_drops_for_ever_is_given_up(web: WebServer, hosted: FaultProxy) -> None:
    """Bytes that are read again and skipped are not progress: a few drops end the download."""
    hosted.cut(after=1_000_000, times=None, abrupt=False)
    with (
        BlobReader().open(blob_at(web)) as stream,
        pytest.raises(SourceError, match=r"at byte 1000000 of 3000000\. Gave up after 6 attempts"),
    ):
        stream.read(1)
    assert len(hosted.requests) < 15


def test_no_room_for_a_blob_is_told(web: WebServer, hosted: FaultProxy) -> None:
    """If there is no room for the temporary copy of a blob, the error says what to do."""
    program = """
import resource, signal, sys
from atdata.errors import SourceError
from atdata.sources.blob import BlobReader
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))  # as a full disk: EFBIG
with BlobReader().open(sys.argv[1]) as stream:
    try:
        stream.read(1)
    except SourceError as error:
        print(error)
"""
    command = [sys.executable, "-c", program, blob_at(web)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.startswith(f"{blob_at(web)}: there is no room for a temporary copy")
    assert "TMPDIR" in said


def test_other_bytes_than_the_cid_says(web: WebServer, hosted: FaultProxy) -> None:
    """Changed or missing bytes are found before one of them is returned."""
    for wrong in (DATA[:-1] + b"x", DATA[:-1], b""):
        web.files["/xrpc/com.atproto.sync.getBlob"] = wrong
        with (
            BlobReader().open(blob_at(web)) as stream,
            pytest.raises(IntegrityError, match="do not match the CID"),
        ):
            stream.read(1)


def test_a_change_within_a_dropped_connection_is_found_out(
    web: WebServer, hosted: FaultProxy
) -> None:
    """Bytes of two versions are never mixed."""
    hosted.cut(after=1_700_000, abrupt=False)
    with BlobReader().open(blob_at(web)) as stream:
        web.files["/xrpc/com.atproto.sync.getBlob"] = bytes(len(DATA))
        with pytest.raises(IntegrityError):
            stream.read(10)


def test_a_private_server_is_refused_on_the_public_network(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account whose document leads into this machine is not followed there."""
    monkeypatch.delenv("ATDATA_PLC_URL", raising=False)
    monkeypatch.delenv("ATDATA_ALLOW_PRIVATE", raising=False)
    with pytest.raises((UnsafeUrlError, IdentityError)):
        BlobReader().open(blob_at(web))
    assert web.asked == []


@pytest.mark.parametrize("place", ["payload", "header", "end"])
def test_a_flipped_byte_is_never_a_sample(
    client: AtmosphereClient,
    proxy_to: ProxyTo,
    web: WebServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    place: str,
) -> None:
    """A byte that changes in transit is an error, and yields no sample."""
    numbers = [DictSample(text=f"number {i}") for i in range(2_000)]
    write_samples(numbers, tmp_path / "a.tar")
    shard = (tmp_path / "a.tar").read_bytes()
    at = {"payload": shard.index(b"number 7"), "header": 1_000_000, "end": len(shard) - 1}[place]
    published = publish_blob(client, shard)
    ref = parse_blob_ref(published)
    proxy = proxy_to(client.server)
    # The account's own document, but its server is reached through the proxy.
    monkeypatch.setenv("ATDATA_PLC_URL", web.url)
    service = {"id": "#atproto_pds", "serviceEndpoint": proxy.url}
    web.files[f"/{ref.did}"] = json.dumps({"id": ref.did, "service": [service]}).encode()
    proxy.flip(at=at, times=None, match="getBlob")
    seen: list[object] = []
    with pytest.raises(IntegrityError, match="do not match the CID"):
        seen.extend(Dataset(published).ordered())
    assert seen == []
    proxy.clear()
    assert len(list(Dataset(published).ordered())) == 2_000
