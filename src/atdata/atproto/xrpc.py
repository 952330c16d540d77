"""Calls to one server of the AT Protocol, over HTTP: what is sent again, what failed and why.

https://atproto.com/specs/xrpc
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import IO, Any, Final
from urllib.parse import urlencode

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, NewConnectionError

from atdata._limits import limits
from atdata._logs import logger
from atdata._secrets import guarded, redacted, redacted_repr
from atdata.errors import AtmosphereError, RateLimitError, SourceError, XrpcError
from atdata.net.deadlines import within
from atdata.net.documents import parse_json, read_whole
from atdata.net.policy import Policy
from atdata.net.transport import describe, send

_log = logger(__name__)
_TRIES: Final = 5
_LONGEST_WAIT: Final = 30.0
"""Seconds, of all the pauses of one call that a server asked for."""
_WORTH_SAYING: Final = 5.0
"""Seconds of a pause from which on it is logged."""
_TIMEOUT: Final = 60.0
"""Seconds that a server may be silent."""
_BUSY: Final = frozenset({500, 502, 503, 504})


@redacted_repr
@dataclass(frozen=True)
class Body:
    """What is sent along with a call."""

    content: bytes | IO[bytes] = field(repr=False)
    """Bytes, or a file that can go back to its start."""
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
        patience: Seconds, of all the pauses of one call, that it may ask for where it limits
            how much is asked.
    """

    def __init__(
        self, url: str, policy: Policy | None = None, *, patience: float = _LONGEST_WAIT
    ) -> None:
        self.url = url.rstrip("/")
        self._policy = policy
        self._patience = patience

    def query(
        self, method: str, params: Mapping[str, str | int] | None = None, *, token: str = ""
    ) -> dict[str, Any]:
        """Ask something; sent again when the server is busy or the connection breaks.

        Raises:
            XrpcError: The server refuses.
            RateLimitError: It asks for a longer wait than there is patience for.
            AtmosphereError: It cannot be reached, or answers something else than JSON.
        """
        return self._call("GET", method, params, token=token, repeatable=True)

    def procedure(
        self, method: str, body: Body | None, *, token: str = "", repeatable: bool = False
    ) -> dict[str, Any]:
        """Have something done.

        Args:
            method: Its NSID.
            body: What to send.
            token: Access or refresh token.
            repeatable: Whether doing it twice is the same as doing it once, so that it may be
                sent again when nobody knows whether it arrived.

        Raises:
            XrpcError, RateLimitError, AtmosphereError: As for `query`.
        """
        return self._call("POST", method, None, body=body, token=token, repeatable=repeatable)

    def head(self, method: str, params: Mapping[str, str | int]) -> Mapping[str, str]:
        """The headers that a query would be answered with."""
        answer = self._exchange("HEAD", method, params, None, "", repeatable=True)
        return answer.headers

    def _call(
        self,
        verb: str,
        method: str,
        params: Mapping[str, str | int] | None,
        *,
        body: Body | None = None,
        token: str,
        repeatable: bool,
    ) -> dict[str, Any]:
        # A server may repeat what it was sent.
        with guarded(token):
            answer = self._exchange(verb, method, params, body, token, repeatable=repeatable)
            return self._json(answer, method) if answer.data else {}

    def _exchange(
        self,
        verb: str,
        method: str,
        params: Mapping[str, str | int] | None,
        body: Body | None,
        token: str,
        *,
        repeatable: bool,
    ) -> Answer:
        waited = 0.0
        for left in reversed(range(_TRIES)):
            pause = 0.25 * 2 ** (_TRIES - 1 - left) * random.uniform(0.75, 1.25)
            try:
                answer = self._once(verb, method, params, body, token)
            except SourceError as error:
                raise AtmosphereError(f"{self.url} cannot be asked ({method}): {error}") from error
            except HTTPError as error:
                # Refused or not found: the request never left.
                if not left or not (repeatable or isinstance(error, NewConnectionError)):
                    raise AtmosphereError(
                        f"{self.url} does not answer ({method}): {describe(error)}."
                    ) from error
            else:
                if answer.status < 300:
                    return answer
                asked = _asked_pause(answer)
                pause = pause if asked is None else asked
                longest = self._patience if answer.status == 429 else _LONGEST_WAIT
                too_long = not left or waited + pause > longest
                if answer.status == 429 and too_long:
                    raise self._limited(method, asked)
                again = answer.status == 429 or (answer.status in _BUSY and repeatable)
                if not again or too_long:
                    raise self._refused(answer, method)
            waited += pause
            if pause > _WORTH_SAYING:
                _log.warning("%s asks to wait %.0f seconds (%s).", self.url, pause, method)
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _once(
        self,
        verb: str,
        method: str,
        params: Mapping[str, str | int] | None,
        body: Body | None,
        token: str,
    ) -> Answer:
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = body.content_type
            headers["Content-Length"] = str(body.size)
        query = f"?{urlencode(params)}" if params else ""
        # What is sent may take its time; `send` and `read_whole` see to the answer then.
        with within(limits.document_seconds if body is None else math.inf, self.url):
            response = send(
                f"{self.url}/xrpc/{method}{query}",
                headers,
                policy=self._policy,
                timeout=_TIMEOUT,
                method=verb,
                body=None if body is None else body.rewound(),
            )
            try:
                return Answer(response.status, response.headers, self._bounded(response, method))
            finally:
                response.close()

    def _bounded(self, response: BaseHTTPResponse, method: str) -> bytes:
        name = f"{self.url} ({method})"
        try:
            return read_whole(response, most=limits.answer_bytes, name=name)
        except SourceError as error:
            raise AtmosphereError(str(error)) from error

    def _json(self, answer: Answer, method: str) -> dict[str, Any]:
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
        what = ": ".join(part for part in (code, text) if part)
        return XrpcError(
            f"{self.url} refused {method}: {answer.status} {what}".rstrip(),
            status=answer.status,
            code=code,
        )

    def _limited(self, method: str, asked: float | None) -> RateLimitError:
        when = "later" if asked is None else f"in {asked:,.0f} seconds"
        return RateLimitError(
            f"{self.url} takes no more requests for now ({method}). Try again {when}.",
            retry_after=asked,
        )

    def __repr__(self) -> str:
        return redacted(f"XrpcServer({self.url!r})")


def _asked_pause(answer: Answer) -> float | None:
    """Seconds that the server asks to wait, where it does."""
    after, reset = answer.headers.get("Retry-After", ""), answer.headers.get("RateLimit-Reset", "")
    if _is_number(after):
        return float(after)
    try:
        return max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        limited = answer.status == 429 and _is_number(reset)
        return max(0.0, int(reset) - time.time()) + 0.5 if limited else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _plain(text: str, most: int = 300) -> str:
    """A server's words, fit for a terminal: printable and short."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= most else f"{shown[:most]}…"
