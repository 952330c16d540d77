"""The firehose of one server or relay: what happens to its accounts, in order, from a cursor.

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
from atdata.errors import AtmosphereError, OptionError

_METHOD: Final = "com.atproto.sync.subscribeRepos"
_TICK: Final = 0.5
"""Seconds of silence after which `Firehose.events` gives None."""
_CONNECT_SECONDS: Final = 20
_WAITING: Final = 4
"""Frames that are read ahead."""


@redacted_repr
@dataclass(frozen=True)
class Event:
    """One message."""

    kind: str
    """``#commit``, ``#sync``, ``#identity``, ``#account``, ``#info``, or one of the future."""
    body: Mapping[str, Any]
    seq: int | None
    """Its number, growing; the cursor to go on after it. ``#info`` has none."""


class CursorError(AtmosphereError):
    """The server does not know the cursor: it has been set up anew, or is another one."""


class Firehose:
    """The firehose of a server.

    Args:
        server: Its URL.
    """

    def __init__(self, server: str) -> None:
        if not server.startswith(("https://", "http://")):
            raise OptionError(f"{server!r} is not the URL of a server: it begins with https://.")
        self.server = server.rstrip("/")
        require("websockets", purpose="Firehoses")

    def events(self, cursor: int | None, stop: threading.Event) -> Iterator[Event | None]:
        """Connect, and give what happens until ``stop`` is set.

        Args:
            cursor: The number of the last event that is not wanted again, 0 for all that the
                server keeps; None: only what happens from now on.
            stop: Ends the iteration, within a second.

        Returns:
            Events in order; None where nothing has happened for half a second.

        Raises:
            CursorError: The cursor is of the server's future.
            AtmosphereError: It cannot be reached, ends the connection, or sends something else.
        """
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.sync.client import ClientConnection, connect

        class Direct(ClientConnection):
            def handshake(self, *args: Any, **options: Any) -> None:
                try:
                    super().handshake(*args, **options)
                except InvalidStatus as error:
                    # Redirects would lead past the gate, and to whom the user has not named.
                    raise refused(error.response.status_code) from None

        def refused(status: int) -> AtmosphereError:
            return AtmosphereError(f"The firehose of {self.server} answers {status}, no stream.")

        query = "" if cursor is None else f"?cursor={cursor}"
        url = f"ws{self.server.removeprefix('http')}/xrpc/{_METHOD}{query}"
        try:
            with connect(
                url,
                max_size=limits.message_bytes,
                max_queue=_WAITING,
                create_connection=Direct,
                open_timeout=min(_CONNECT_SECONDS, limits.document_seconds),
                close_timeout=1,
                compression=None,
            ) as socket:
                while not stop.is_set():
                    try:
                        message = socket.recv(timeout=_TICK)
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
        """The cursor from which on everything is new, or a little earlier; 0 on a quiet server."""
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
                f"The firehose of {self.server} sent something else than an event."
            ) from error

    def _refused(self, body: Mapping[str, Any]) -> AtmosphereError:
        code = f"{body.get('error')!s:.60}"
        kind = CursorError if code == "FutureCursor" else AtmosphereError
        return kind(f"The firehose of {self.server} refused: {code}.")
