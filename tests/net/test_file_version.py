"""Parts of a file are of one version, whether it is read as a stream or by ranges."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from atdata.errors import IntegrityError, SourceError
from atdata.net.http import open_url
from atdata.sources.http_ranges import HttpBytes
from tests.sources.web import WebServer, saying, web_server

OLD, NEW = b"a" * 3_000_000, b"b" * 3_000_000


def part(read: HttpBytes, start: int, size: int = 100_000) -> bytes:
    data = bytearray(size)
    read.read_into(memoryview(data), start)
    return bytes(data)


def change(site: WebServer, what: str) -> None:
    """Replace a file by another version of the same size."""
    site.files["/x"] = NEW
    if what == "date":
        site.dates["/x"] = "Tue, 02 Jan 2024 00:00:00 GMT"


@pytest.mark.parametrize("conditions", [True, False])
@pytest.mark.parametrize("what", ["etag", "date"])
def test_ranges_of_two_versions_are_never_mixed(what: str, conditions: bool) -> None:
    """A file replaced by one of the same size is an error, even if conditions are ignored."""
    with web_server() as site:
        site.files["/x"] = OLD
        site.etags, site.conditions = what == "etag", conditions
        site.dates["/x"] = "Mon, 01 Jan 2024 00:00:00 GMT"
        read = HttpBytes(f"{site.url}/x", name="x")
        assert part(read, 0) == OLD[:100_000]
        change(site, what)
        for _ in range(2):
            with pytest.raises(IntegrityError, match="changed on the server"):
                part(read, 200_000)


def _answer(send: Callable[[bytes], None], head: list[str], body: bytes) -> None:
    lines = [*head, f"Content-Length: {len(body)}", "Connection: close", "", ""]
    send("\r\n".join(lines).encode() + body)


_VALIDATORS = [
    ([], [], False),
    (['ETag: "1"'], ['ETag: "1"'], False),
    (['ETag: "1"'], ['ETag: "2"'], True),
    (['ETag: W/"1"'], ['ETag: W/"2"'], True),
    (["Last-Modified: D1"], ["Last-Modified: D1"], False),
    (["Last-Modified: D1"], ["Last-Modified: D2"], True),
    (["Last-Modified: D1"], [], True),
    (['ETag: "1"', "Last-Modified: D1"], ['ETag: "1"', "Last-Modified: D2"], False),
    (['ETag: W/"1"', "Last-Modified: D1"], ['ETag: W/"1"', "Last-Modified: D2"], True),
    (['ETag: "1"', "Last-Modified: D1"], ["Last-Modified: D2"], True),
]


@pytest.mark.parametrize(("before", "after", "other"), _VALIDATORS)
def test_streams_and_ranges_look_at_the_same(
    before: list[str], after: list[str], other: bool
) -> None:
    """Whatever a server's headers are, a resumed stream and a second range judge them alike."""
    answers = {"stream": 0, "ranges": 0}

    def serve(kind: str) -> Callable[[Any, threading.Event], None]:
        def script(send: Callable[[bytes], None], over: threading.Event) -> None:
            answers[kind] += 1
            first = answers[kind] == 1
            said = before if first else after
            if kind == "stream" and first:
                send(
                    "\r\n".join(
                        ["HTTP/1.1 200 OK", *said, "Content-Length: 300000", "", ""]
                    ).encode()
                )
                send(b"a" * 100_000)
                return
            start = 0 if first else 100_000
            end = 300_000 if kind == "stream" else start + 100_000
            span = f"Content-Range: bytes {start}-{end - 1}/300000"
            _answer(send, ["HTTP/1.1 206 Partial Content", *said, span], b"a" * (end - start))

        return script

    with saying(serve("stream")) as origin, open_url(f"{origin}/x") as stream:
        if not before or before == ['ETag: W/"1"']:
            # Nothing tells what the rest would be of.
            with pytest.raises(SourceError, match="neither ETag nor Last-Modified"):
                stream.read()
        elif other:
            with pytest.raises(IntegrityError, match="changed on the server"):
                stream.read()
        else:
            assert stream.read() == b"a" * 300_000
    with saying(serve("ranges")) as origin:
        read = HttpBytes(f"{origin}/x", name="x")
        assert part(read, 0) == b"a" * 100_000
        if other:
            with pytest.raises(IntegrityError, match="changed on the server"):
                part(read, 100_000)
        else:
            assert part(read, 100_000) == b"a" * 100_000


@pytest.mark.parametrize("said", [[[], []], [['ETag: W/"1"']] * 2, [['ETag: "1"'], ['ETag: "2"']]])
def test_a_range_that_breaks_off_is_of_one_version(said: list[list[str]]) -> None:
    """A file replaced meanwhile by one of the same size is an error, or read as it is now."""
    answers = 0
    strong = said[0] == ['ETag: "1"']

    def script(send: Callable[[bytes], None], over: threading.Event) -> None:
        nonlocal answers
        answers += 1
        start = 60_000 if answers > 1 and strong else 0
        head = ["HTTP/1.1 206 Partial Content", *said[min(answers, 2) - 1]]
        head.append(f"Content-Range: bytes {start}-99999/300000")
        head += [f"Content-Length: {100_000 - start}", "Connection: close", "", ""]
        send("\r\n".join(head).encode())
        send(b"a" * 60_000 if answers == 1 else b"b" * (100_000 - start))

    with saying(script) as origin:
        read = HttpBytes(f"{origin}/x", name="x")
        if strong:
            with pytest.raises(IntegrityError, match="changed on the server"):
                part(read, 0)
        else:
            assert part(read, 0) == b"b" * 100_000
