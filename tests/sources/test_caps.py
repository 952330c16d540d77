"""A server that gives too much, or too slowly, is left."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from atdata._limits import limits
from atdata.atmosphere.xrpc import XrpcServer
from atdata.errors import AtdataError, AtmosphereError, SourceError
from atdata.sources.http import get_json, open_url
from atdata.sources.http_ranges import HttpBytes
from atdata.sources.policy import Policy
from tests.services.proxy import FaultProxy
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


def test_what_comes_behind_a_range_is_not_read() -> None:
    """A server that never ends its answer to a range does not hold the reader."""
    listener = socket.create_server(("127.0.0.1", 0))
    head = (
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-99/1000000\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n64\r\n" + b"a" * 100 + b"\r\n"
    )
    left = threading.Event()

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            client.sendall(head)
            try:
                while True:
                    client.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
            except OSError:
                left.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/a.tar"
    found = bytearray(100)
    HttpBytes(url, name=url, policy=HOME).read_into(memoryview(found), 0)
    assert found == b"a" * 100
    assert left.wait(30)
    listener.close()
    thread.join()


@pytest.mark.parametrize("total", ["\u00b2", "9" * 5000])
def test_a_size_that_is_none(total: str, proxy_to: Callable[[str], FaultProxy]) -> None:
    """A number in a header that is none, or without end, is an error of ours."""
    proxy = proxy_to("http://127.0.0.1:9")
    headers = {"Content-Range": f"bytes 0-9/{total}"}
    proxy.answer(206, times=None, headers=headers, body=bytes(10))
    source = HttpBytes(f"{proxy.url}/a.tar", name="a", policy=HOME)
    with suppress(AtdataError):
        source.read_into(memoryview(bytearray(10)), 0)
