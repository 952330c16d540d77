"""A server that gives too much, or too slowly, is left."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from atdata._limits import limits
from atdata.atmosphere.xrpc import XrpcServer
from atdata.errors import AtmosphereError, SourceError
from atdata.sources.http import get_json, open_url
from atdata.sources.policy import Policy
from tests.sources.web import WebServer

HOME = Policy(allow_private=True)
"""The gate for strangers on a network of one's own."""


@pytest.fixture
def drip() -> Iterator[str]:
    """URL of a server that announces a million bytes and sends a hundred of them a second."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while not over.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(65536)
                try:
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                    while not over.wait(0.01):
                        client.sendall(b"7")
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/a.tar"
    over.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_a_shard_that_drips_is_left(drip: str) -> None:
    """A stranger's server that sends a byte now and then does not hold a reader for ever."""
    with limits.set(grace=1, slowest=1_000), pytest.raises(SourceError, match="too slow to go on"):
        open_url(drip, policy=HOME).read()


def test_a_document_that_drips_is_left(drip: str) -> None:
    """The same for documents and answers."""
    with limits.set(document_seconds=1):
        with pytest.raises(SourceError, match="did not come within 1 s"):
            get_json(drip)
        with pytest.raises(AtmosphereError, match="did not come within 1 s"):
            XrpcServer(drip.removesuffix("/a.tar")).query("a.b.c")


def test_a_strangers_shard_beyond_the_limit(web: WebServer) -> None:
    """A shard from a stranger's URL ends with an error where it is too large, not the user's."""
    web.files["/a.tar"] = bytes(100_000)
    url = f"{web.url}/a.tar"
    with limits.set(shard_bytes=50_000):
        assert len(open_url(url).read()) == 100_000
        with pytest.raises(SourceError, match="larger than 50,000 bytes"):
            open_url(url, policy=HOME).read()
