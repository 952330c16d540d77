"""Calls to one server of the AT Protocol, over HTTP.

https://atproto.com/specs/xrpc
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final
from urllib.parse import urlencode

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, NewConnectionError

from atdata._limits import limits
from atdata._secrets import guarded, redacted, redacted_repr
from atdata.errors import AtmosphereError, OptionError, RateLimitError, SourceError, XrpcError
from atdata.net.deadlines import within
from atdata.net.documents import parse_json, read_whole
from atdata.net.headers import retry_after, whole_number
from atdata.net.policy import Policy
from atdata.net.retries import Retries, RetryPolicy
from atdata.net.transport import describe, send

_RETRIES: Final = RetryPolicy(
    attempts=5,
    connect_attempts=5,
    first_pause=0.25,
    # Sending a large blob takes its time; only pauses count.
    total_seconds=math.inf,
    total_paused=math.inf,
)
_LONGEST_WAIT_SECONDS: Final = 30.0
"""All the pauses of one call that a busy server asks for."""
_SILENT_SECONDS: Final = 60.0
_BUSY: Final = frozenset({500, 502, 503, 504})


@redacted_repr
@dataclass(frozen=True)
class Body:
    """What is sent along with a call."""

    content: bytes | IO[bytes] = field(repr=False)
    """Bytes, or a file that can seek."""
    size: int
    content_type: str = "application/json"

    def rewound(self) -> bytes | IO[bytes]:
        """The content from its first byte."""
        if not isinstance(self.content, bytes):
            self.content.seek(0)
        return self.content

    @classmethod
    def of_json(cls, value: Any) -> Body:
        """A JSON body; a None in it is sent as null."""
        content = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        return cls(content, len(content))


@redacted_repr
@dataclass(frozen=True)
class _Call:
    verb: str
    method: str
    params: Mapping[str, str | int] | None = None
    body: Body | None = None
    token: str = field(default="", repr=False)


@redacted_repr
@dataclass(frozen=True)
class Answer:
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class XrpcServer:
    """One server.

    Args:
        url: Its origin, such as ``https://pds.example.com``.
        policy: The gate for a server that a stranger's identity document names; None for one
            that the user named.
        patience: Seconds, of all the pauses of one call together, that the server may ask for
            when it limits the rate of requests.
    """

    def __init__(
        self, url: str, policy: Policy | None = None, *, patience: float = _LONGEST_WAIT_SECONDS
    ) -> None:
        self.url = url.rstrip("/")
        self._policy = policy
        self._patience = patience

    def query(
        self, method: str, params: Mapping[str, str | int] | None = None, *, token: str = ""
    ) -> dict[str, Any]:
        """Call a query; it is sent again when the server is busy or the connection breaks.

        Raises:
            XrpcError: The server refuses.
            RateLimitError: It asks for a longer wait than ``patience``.
            AtmosphereError: It cannot be reached, or does not answer with JSON.
        """
        return self._json(_Call("GET", method, params, token=token), repeatable=True)

    def procedure(
        self, method: str, body: Body | None, *, token: str = "", repeatable: bool = False
    ) -> dict[str, Any]:
        """Call a procedure, which changes something. Errors are those of `query`.

        One that is idempotent may be sent again when nobody knows whether it arrived.
        """
        call = _Call("POST", method, body=body, token=token)
        return self._json(call, repeatable=repeatable)

    def head(self, method: str, params: Mapping[str, str | int]) -> Mapping[str, str]:
        """The headers that a query would be answered with."""
        return self._exchange(_Call("HEAD", method, params), repeatable=True).headers

    def _json(self, call: _Call, *, repeatable: bool) -> dict[str, Any]:
        # A server may repeat what it was sent.
        with guarded(call.token):
            answer = self._exchange(call, repeatable=repeatable)
            return self._parsed(answer, call.method) if answer.data else {}

    def _exchange(self, call: _Call, *, repeatable: bool) -> Answer:
        method = call.method
        retries = Retries(f"{self.url} ({method})", _RETRIES)
        while True:
            asked: float | None = None
            cause: Exception | None = None
            problem: AtmosphereError
            try:
                answer = self._once(call)
            except SourceError as error:
                raise AtmosphereError(f"{self.url} cannot be asked ({method}): {error}") from error
            except HTTPError as error:
                # Refused or not found: the request never left.
                again = repeatable or isinstance(error, NewConnectionError)
                problem = AtmosphereError(
                    f"{self.url} does not answer ({method}): {describe(error)}."
                )
                cause = error
            else:
                if answer.status < 300:
                    return answer
                asked = _asked_pause(answer)
                paused = retries.paused + (asked or 0.0)
                if answer.status == 429:
                    again = paused <= self._patience
                    problem = self._limited(method, asked)
                else:
                    busy = answer.status in _BUSY and repeatable
                    again = busy and paused <= _LONGEST_WAIT_SECONDS
                    problem = self._refused(answer, method)
            if not (again and retries.again(asked=asked)):
                raise problem from cause

    def _once(self, call: _Call) -> Answer:
        body = call.body
        headers = {"Accept": "application/json"}
        if call.token:
            headers["Authorization"] = f"Bearer {call.token}"
        if body is not None:
            headers["Content-Type"] = body.content_type
            headers["Content-Length"] = str(body.size)
        query = f"?{urlencode(call.params)}" if call.params else ""
        # Sending a body may take long; `send` and `read_whole` limit the time of the answer.
        with within(limits.document_seconds if body is None else math.inf, self.url):
            response = send(
                f"{self.url}/xrpc/{call.method}{query}",
                headers,
                policy=self._policy,
                timeout=_SILENT_SECONDS,
                method=call.verb,
                body=None if body is None else body.rewound(),
            )
            try:
                data = self._bounded(response, call.method)
                return Answer(response.status, response.headers, data)
            finally:
                response.close()

    def _bounded(self, response: BaseHTTPResponse, method: str) -> bytes:
        name = f"{self.url} ({method})"
        try:
            return read_whole(response, most=limits.answer_bytes, name=name)
        except SourceError as error:
            raise AtmosphereError(str(error)) from error

    def _parsed(self, answer: Answer, method: str) -> dict[str, Any]:
        try:
            value = parse_json(answer.data)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            kind = _plain(answer.headers.get("Content-Type", "no content type"), 60)
            raise AtmosphereError(
                f"{self.url} ({method}) answered {kind}, not a JSON object: "
                f"{_plain(answer.data[:100].decode(errors='replace'))!r}. "
                "Is it a server of the AT Protocol?"
            )
        return value

    def _refused(self, answer: Answer, method: str) -> XrpcError:
        try:
            said = parse_json(answer.data)
        except ValueError:
            said = None
        said = said if isinstance(said, dict) else {}
        code = _plain(str(said.get("error") or ""), 100)
        text = _plain(str(said.get("message") or ""))
        reason = ": ".join(part for part in (code, text) if part)
        return XrpcError(
            f"{self.url} refused {method}: {answer.status} {reason}".rstrip(),
            status=answer.status,
            code=code,
        )

    def _limited(self, method: str, asked: float | None) -> RateLimitError:
        when = "later" if asked is None else f"in {asked:,.0f} seconds"
        return RateLimitError(
            f"{self.url} accepts no more requests for now ({method}). Try again {when}.",
            retry_after=asked,
        )

    def __repr__(self) -> str:
        return redacted(f"XrpcServer({self.url!r})")


def server_url(text: str) -> str:
    """The URL of a server that a user named, without a slash at its end.

    Raises:
        OptionError: It is not one.
    """
    if not (text.startswith(("https://", "http://")) and text.isprintable()):
        raise OptionError(f"{text!r} is not the URL of a server: it begins with https://.")
    return text.rstrip("/")


def _asked_pause(answer: Answer) -> float | None:
    """Seconds that the server asks to wait; None where it does not."""
    asked = retry_after(answer.headers)
    if asked is not None or answer.status != 429:
        return asked
    reset = whole_number(answer.headers.get("RateLimit-Reset"))
    return None if reset is None else max(0.0, reset - time.time()) + 0.5


def _plain(text: str, most: int = 300) -> str:
    """A server's text, made fit for a terminal: printable and short."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= most else f"{shown[:most]}…"
