"""A proxy in front of a real service that makes the faults that networks make.

In front of an HTTP service it understands requests; in front of anything else (Redis,
PostgreSQL) it passes bytes, and only ``cut``, ``delay``, ``pause``, ``refuse`` and the counters
of bytes and connections apply, each to a connection instead of a request; and ``lose``, whose
``match`` is searched for in what the client sends.

    proxy = proxy_to(s3_server.endpoint)
    proxy.cut(after=100_000, match="GET .*shard-000001")
    ...  # use proxy.url in place of the endpoint
    assert len(proxy.requests) == 2
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tests.services.faults import Acknowledged, Pause, Request, Rule, Rules
from tests.services.relay import connect, pass_bytes, relay_http
from tests.services.wire import reset

_DEFAULT_PORTS = {"http": 80, "redis": 6379, "postgresql": 5432}


class FaultProxy:
    """A proxy on loopback; a context manager.

    ``match`` of every method is a regular expression that is searched for in
    ``"METHOD /path?query"``; ``times`` is for how many requests, None for all to come.

    Args:
        target: URL of the service.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        assert parts.hostname is not None
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
        # Our services listen on IPv4 alone, whatever "localhost" means first.
        is_localhost = parts.hostname == "localhost"
        self._target = ("127.0.0.1" if is_localhost else parts.hostname, port)
        self._is_http = parts.scheme == "http"
        self._rules = Rules()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        self.accept()
        user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        host = "localhost" if is_localhost else "127.0.0.1"
        self.url = urlunsplit(parts._replace(netloc=f"{user}{host}:{self.port}"))
        """The target's URL with the proxy's address in it."""

    @property
    def requests(self) -> list[Request]:
        """Requests so far, in order, those answered by the proxy included."""
        return list(self._rules.requests)

    @property
    def acknowledged(self) -> list[Acknowledged]:
        """Requests with a body that succeeded, as the client saw it, in order."""
        return list(self._rules.acknowledged)

    @property
    def connections(self) -> int:
        """Connections accepted so far."""
        return self._rules.connections

    @property
    def bytes_down(self) -> int:
        """Bytes sent to clients so far, heads included."""
        return self._rules.bytes_down

    @property
    def bytes_up(self) -> int:
        """Bytes of bodies sent to the service so far."""
        return self._rules.bytes_up

    def answer(
        self,
        status: int,
        *,
        times: int | None = 1,
        match: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        """Answer in the service's place, for instance 429 with ``{"Retry-After": "1"}``."""
        rule = Rule("answer", re.compile(match), times, status=status, body=body)
        rule.headers = headers or {}
        self._rules.add(rule)

    def cut(
        self, *, after: int, times: int | None = 1, match: str = "", abrupt: bool = True
    ) -> None:
        """End the connection within a response.

        Args:
            after: Bytes of the body that still arrive.
            times: See the class.
            match: See the class.
            abrupt: Reset the connection; otherwise close it in good order, so that only the
                announced length tells that something is missing.
        """
        self._rules.add(Rule("cut", re.compile(match), times, after=after, abrupt=abrupt))

    def lose(self, *, times: int | None = 1, match: str = "") -> None:
        """Have the service do what it is asked, and reset the connection in place of its answer."""
        self._rules.add(Rule("lose", re.compile(match), times))

    def flip(self, *, at: int, times: int | None = 1, match: str = "") -> None:
        """Change the byte at this place of a response's body, and nothing else."""
        self._rules.add(Rule("flip", re.compile(match), times, after=at))

    def cut_upload(self, *, after: int, times: int | None = 1, match: str = "") -> None:
        """Reset the connection when so many bytes of a request's body have passed."""
        self._rules.add(Rule("cut_upload", re.compile(match), times, after=after))

    def delay(self, seconds: float, *, times: int | None = None, match: str = "") -> None:
        """Pass requests on so many seconds later."""
        self._rules.add(Rule("delay", re.compile(match), times, seconds=seconds))

    def pause(self, *, times: int | None = None, match: str = "", skip: int = 0) -> Pause:
        """Hold requests until released, the first ``skip`` excepted.

        What is returned tells when one has arrived.
        """
        rule = Rule("pause", re.compile(match), times, skip)
        self._rules.add(rule)
        return rule.pause

    def refuse(self) -> None:
        """Refuse new connections and reset open ones, as a service does that went down."""
        with self._lock:
            listener, self._listener = self._listener, None
            connections = list(self._open)
        if listener is not None:
            # Closing alone would leave the accepting thread waiting, and so the port open.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for connection in connections:
            reset(connection)

    def accept(self) -> None:
        """Accept connections, again, at the same port."""
        with self._lock:
            if self._listener is not None:
                return
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(128)
            self.port = listener.getsockname()[1]
            self._listener = listener
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def clear(self) -> None:
        """Forget all faults, let held requests go on, accept again; counters stay."""
        self._rules.clear()
        self.accept()

    def close(self) -> None:
        """Stop, and reset every connection."""
        self._rules.clear()
        self.refuse()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._rules.count(connection=1)
            with self._lock:
                self._open.add(client)
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._is_http:
                relay_http(client, self._target, self._rules)
                return
            self._rules.hold_up("")
            with connect(self._target) as service:
                pass_bytes(client, service, self._rules.take("cut", ""), self._rules)
        except (OSError, ValueError):
            reset(client)
        finally:
            with self._lock:
                self._open.discard(client)
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
