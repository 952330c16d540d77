"""The firehose of a server or relay: events of its accounts, in order, from a cursor.

https://atproto.com/specs/event-stream
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import libipld

from atdata._limits import limits
from atdata._nesting import value_is_deeper
from atdata._registry import require
from atdata._secrets import redacted_repr
from atdata.atproto.dag import most_containers
from atdata.atproto.xrpc import server_url
from atdata.errors import AtmosphereError
from atdata.system.forks import importing

_METHOD: Final = "com.atproto.sync.subscribeRepos"
_IDLE_SECONDS: Final = 0.5
"""Silence after which `Firehose.events` yields None."""
_CONNECT_SECONDS: Final = 20
_FRAMES_AHEAD: Final = 4


@redacted_repr
@dataclass(frozen=True)
class Event:
    """One message of a firehose."""

    kind: str
    """``#commit``, ``#sync``, ``#identity``, ``#account``, ``#info``, or one not known yet."""
    body: Mapping[str, Any]
    seq: int | None
    """Its number, which grows; as a cursor it resumes after this event. ``#info`` has none."""


class CursorError(AtmosphereError):
    """The cursor is newer than the server's events, as when a server is replaced."""


class Firehose:
    """The firehose of a server.

    Args:
        server: Its URL.
    """

    def __init__(self, server: str) -> None:
        self.server = server_url(server)
        require("websockets", purpose="Firehoses")

    def events(self, cursor: int | None, stop: threading.Event) -> Iterator[Event | None]:
        """Connect, and yield events until ``stop`` is set.

        Args:
            cursor: The number of the last event to skip; 0: all events that the server keeps;
                None: only new events.
            stop: Ends the iteration within a second.

        Yields:
            Events in order; None after each half second without one.

        Raises:
            CursorError: The cursor is newer than the server's events.
            AtmosphereError: The server cannot be reached, closes the connection, or sends
                something other than events.
        """
        with importing():
            from websockets.exceptions import InvalidStatus, WebSocketException
            from websockets.sync.client import ClientConnection, connect

        class Direct(ClientConnection):
            def handshake(self, *args: Any, **options: Any) -> None:
                try:
                    super().handshake(*args, **options)
                except InvalidStatus as error:
                    # A redirect would bypass the policy gate and lead to a server of its choice.
                    raise refused(error.response.status_code) from None

        def refused(status: int) -> AtmosphereError:
            return AtmosphereError(f"The firehose of {self.server} answers {status}, not a stream.")

        query = "" if cursor is None else f"?cursor={cursor}"
        url = f"ws{self.server.removeprefix('http')}/xrpc/{_METHOD}{query}"
        try:
            with connect(
                url,
                max_size=limits.message_bytes,
                max_queue=_FRAMES_AHEAD,
                create_connection=Direct,
                open_timeout=min(_CONNECT_SECONDS, limits.document_seconds),
                close_timeout=1,
                compression=None,
            ) as socket:
                while not stop.is_set():
                    try:
                        message = socket.recv(timeout=_IDLE_SECONDS)
                    except TimeoutError:
                        yield None
                    else:
                        yield self._event(message)
        except (OSError, WebSocketException) as error:
            if isinstance(error, AtmosphereError):
                raise
            raise AtmosphereError(
                f"The firehose of {self.server} ended: {type(error).__name__} {error}".rstrip()
            ) from error

    def now(self) -> int:
        """A cursor at or shortly before the newest event; 0 if the server is quiet."""
        for event in self.events(None, threading.Event()):
            return 0 if event is None or event.seq is None else event.seq - 1
        return 0

    def _event(self, message: str | bytes) -> Event:
        try:
            if isinstance(message, str):
                raise ValueError("text")
            if most_containers(message) > limits.containers:
                raise ValueError("too many lists and maps")
            header, body = libipld.decode_dag_cbor_multi(message)
            if value_is_deeper([header, body], limits.record_nesting + 1):
                raise ValueError("nested too deep")
            kind, seq = header.get("t", ""), body.get("seq")
            if header["op"] == -1:
                raise self._refused(body)
            if seq is not None and (type(seq) is not int or seq < 0):
                raise ValueError("seq")
            return Event(str(kind), body, seq)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, AtmosphereError):
                raise
            raise AtmosphereError(
                f"The firehose of {self.server} sent a message that is not an event."
            ) from error

    def _refused(self, body: Mapping[str, Any]) -> AtmosphereError:
        code = f"{body.get('error')!s:.60}"
        kind = CursorError if code == "FutureCursor" else AtmosphereError
        return kind(f"The firehose of {self.server} refused: {code}.")
