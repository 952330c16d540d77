"""Web servers on loopback: a plain one with files, and a scripted one."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, urlsplit


@dataclass
class WebServer:
    """What the server has, and what it was asked."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    etags: bool = True
    dates: dict[str, str] = field(default_factory=dict)
    """Path → its Last-Modified."""
    conditions: bool = True
    """Whether conditional requests are honoured."""
    encoding: str | None = None
    """The Content-Encoding header of the files."""
    circle: bool = False
    """Whether every redirect leads back to itself."""
    moved: dict[str, str] = field(default_factory=dict)
    """Path → where it redirects to."""
    programs: dict[str, Callable[[dict[str, str]], bytes]] = field(default_factory=dict)
    """Path → function from the query to the body."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and headers of each request."""


@contextmanager
def web_server(tls: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """Serve until the block ends. ``/redirect?to=URL`` leads to any URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            site.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            parts = urlsplit(self.path)
            if parts.path == "/redirect":
                to = parse_qs(parts.query)["to"][0]
                self.answer(302, b"", {"Location": self.path if site.circle else to})
                return
            if parts.path in site.moved:
                self.answer(302, b"", {"Location": site.moved[parts.path]})
                return
            body = site.files.get(parts.path)
            if parts.path in site.programs:
                body = site.programs[parts.path](dict(parse_qsl(parts.query)))
            if body is None:
                self.answer(404, b"no such file", {})
                return
            etag = f'"{hashlib.md5(body).hexdigest()}"'
            headers = {"ETag": etag} if site.etags else {}
            if parts.path in site.dates:
                headers["Last-Modified"] = site.dates[parts.path]
            if site.encoding:
                headers["Content-Encoding"] = site.encoding
            wanted = self.headers.get("If-Match")
            since = self.headers.get("If-Unmodified-Since")
            other = (wanted and wanted != etag) or (since and since != site.dates.get(parts.path))
            if site.ranges and site.conditions and other:
                self.answer(412, b"", headers)
                return
            span = self.headers.get("Range")
            if not (site.ranges and span):
                self.answer(200, body, headers)
                return
            first, _, last = span.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last or len(body)) + 1, len(body))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
            self.answer(206, body[start:stop], headers)

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Silence."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            """A client that went away is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "http" if tls is None else "https"
    site = WebServer(f"{scheme}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Script = Callable[[Callable[[bytes], None], threading.Event], None]
"""What a server says to one client: is given how to send, and what is set when all is over."""


@contextmanager
def saying(script: Script, *, first: bool = False) -> Iterator[str]:
    """A server that says to each client what a script has it say; gives its origin.

    Args:
        script: Runs in a thread of its own for each client, until that goes away.
        first: Whether it speaks before it is asked.
    """
    over = threading.Event()
    clients: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def talk(client: socket.socket) -> None:
        with client, suppress(OSError):
            if not first:
                request = b""
                while b"\r\n\r\n" not in request and (data := client.recv(65536)):
                    request += data
            script(client.sendall, over)

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            clients.append(client)
            threads.append(threading.Thread(target=talk, args=(client,), daemon=True))
            threads[-1].start()

    threads = [threading.Thread(target=serve, daemon=True)]
    threads[0].start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for client in clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def slowly(before: bytes, piece: bytes) -> Script:
    """So many bytes at once, then a hundred pieces a second, for ever."""

    def script(send: Callable[[bytes], None], over: threading.Event) -> None:
        send(before)
        while not over.wait(0.01):
            send(piece)

    return script


def fast(before: bytes, piece: bytes) -> Script:
    """So many bytes at once, then the same again and again, as fast as they are taken."""

    def script(send: Callable[[bytes], None], over: threading.Event) -> None:
        send(before)
        while not over.is_set():
            send(piece * 100)

    return script
