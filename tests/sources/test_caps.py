"""A server that sends too much, or too slowly, is given up."""

from __future__ import annotations

import io
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from atdata._limits import limits
from atdata.atproto.xrpc import Body, XrpcServer
from atdata.errors import AtdataError, AtmosphereError, NotFoundError, SourceError
from atdata.net.http import get_json, open_url
from atdata.net.policy import Policy
from atdata.net.retries import RetryPolicy
from atdata.sources.byte_ranges import NoRangesError
from atdata.sources.http_ranges import HttpBytes
from tests.services.proxy import FaultProxy
from tests.sources.web import Script, WebServer, fast, saying, slowly

HOME = Policy(allow_private=True)
"""The policy for untrusted URLs, on a local network."""


QUICK = RetryPolicy(attempts=2, first_pause=0.001)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


DRIPS = {
    "nothing": slowly(b"", b""),
    "status": slowly(b"HTTP/1.1 200 ", b"O"),
    "header": slowly(HEAD + b"A: ", b"7"),
    "headers": slowly(HEAD, b"A: 7\r\n"),
    "continue": slowly(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": slowly(HEAD + b"\r\n", b"7"),
    "size of a chunk": slowly(CHUNKED, b"0"),
    "chunk": slowly(CHUNKED + b"fffff\r\n", b"7"),
    "trailer": slowly(CHUNKED + b"0\r\nA: ", b"7"),
    "trailers": slowly(CHUNKED + b"1\r\n7\r\n0\r\n", b"A: 7\r\n"),
    "trailers, fast": fast(CHUNKED + b"0\r\n", b"A: 7\r\n"),
}
HEADS = {
    "continue, fast": fast(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "long headers, fast": fast(HEAD, b"A: " + b"7" * 5000 + b"\r\n"),
}
MANY = {
    "status, fast": fast(b"HTTP/1.1 200 ", b"O"),
    "header, fast": fast(HEAD + b"A: ", b"7"),
    "headers, fast": fast(HEAD, b"A: 7\r\n"),
    "chunk without a size": fast(CHUNKED, b"7"),
    "continue with headers, fast": fast(b"HTTP/1.1 100 Continue\r\n", b"A: 7\r\n"),
    "no http": fast(b"", b"\x00\xff"),
}


def ways(server: str) -> list[Callable[[], object]]:
    """Each way in which a server is read."""
    url = f"{server}/a.tar"
    part = bytearray(1000)
    return [
        lambda: open_url(url, policy=HOME, retry_policy=QUICK).read(),
        lambda: HttpBytes(url, name="a.tar", policy=HOME).read_into(memoryview(part), 0),
        lambda: get_json(url, policy=HOME),
        lambda: XrpcServer(server, HOME).query("a.b.c"),
    ]


@pytest.mark.parametrize("way", range(4), ids=["shard", "range", "document", "answer"])
@pytest.mark.parametrize("script", DRIPS.values(), ids=DRIPS)
def test_what_drips_is_left(script: Script, way: int) -> None:
    """A server that drips bytes blocks a reader for a limited time, whatever it sends."""
    with (
        limits.set(document_seconds=1, grace=1, slowest=10_000),
        saying(script) as server,
        pytest.raises((SourceError, AtmosphereError, NotFoundError, NoRangesError)) as caught,
    ):
        ways(server)[way]()
    if not isinstance(caught.value, NoRangesError):
        assert re.search("did not (come|begin) within 1 s|server is too slow", str(caught.value))


@pytest.mark.parametrize("way", range(4), ids=["shard", "range", "document", "answer"])
@pytest.mark.parametrize("script", HEADS.values(), ids=HEADS)
def test_a_head_without_an_end_is_left(script: Script, way: int) -> None:
    """Status, headers and interim responses are limited in size."""
    with (
        limits.set(head_bytes=20_000),
        saying(script) as server,
        pytest.raises((SourceError, AtmosphereError), match="more than 20,000 bytes before"),
    ):
        ways(server)[way]()


@pytest.mark.parametrize("script", MANY.values(), ids=MANY)
def test_what_is_no_answer_is_left(script: Script) -> None:
    """Endless lines and headers, or no HTTP, are an error of ours."""
    with limits.set(document_seconds=5), saying(script) as server:
        shard, part, document, _ = ways(server)
        for way in (shard, part, document):
            with pytest.raises((SourceError, NoRangesError)):
                way()


HELLO = slowly(b"\x16\x03\x03\x40\x00", b"\x02")
"""The beginning of a TLS record of 16 KB."""


@pytest.mark.parametrize("script", [slowly(b"", b""), HELLO], ids=["nothing", "hello"])
def test_a_handshake_that_drips_is_left(script: Script) -> None:
    """A server that stalls in TLS is given up."""
    with limits.set(document_seconds=1), saying(script, first=True) as server:
        url = server.replace("http:", "https:")
        with pytest.raises(SourceError):
            get_json(url, policy=HOME)
        with pytest.raises(SourceError):
            open_url(url, policy=HOME, retry_policy=QUICK)


def test_many_first_bytes_after_long_waits(web: WebServer) -> None:
    """Time before the first byte counts too: a thousand connections get no more than one."""

    def script(send: Callable[[bytes], None], over: threading.Event) -> None:
        over.wait(0.3)
        send(HEAD + b'ETag: "a"\r\n\r\n' + bytes(70_000))

    patience = RetryPolicy(attempts=1_000, first_pause=0.001)
    with (
        limits.set(grace=1, slowest=1_000_000),
        saying(script) as server,
        pytest.raises(SourceError, match="server is too slow"),
    ):
        open_url(f"{server}/a.tar", policy=HOME, retry_policy=patience, restart=True).read()


def test_what_the_user_sends_may_take_its_time(web: WebServer) -> None:
    """The time limit of an answer does not include sending the body."""

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            threading.Event().wait(0.3)
            return super().read(1_000)

    def script(send: Callable[[bytes], None], over: threading.Event) -> None:
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with limits.set(document_seconds=1), saying(script) as server:
        body = Body(Slow(bytes(5_000)), 5_000, "application/octet-stream")
        assert XrpcServer(server).procedure("a.b.c", body) == {}


def test_a_strangers_shard_beyond_the_limit(web: WebServer) -> None:
    """A shard of an untrusted URL that is too large is an error; the user's own is not."""
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
    """A malformed or endless number in a header is an error of ours."""
    proxy = proxy_to("http://127.0.0.1:9")
    headers = {"Content-Range": f"bytes 0-9/{total}"}
    proxy.answer(206, times=None, headers=headers, body=bytes(10))
    source = HttpBytes(f"{proxy.url}/a.tar", name="a", policy=HOME)
    with suppress(AtdataError):
        source.read_into(memoryview(bytearray(10)), 0)
