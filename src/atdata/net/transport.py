"""One http or https request: connection pools, proxies, redirects, policy, retries.

Everything that is read over the network goes through here: https URLs, s3 (with a signer) and
blobs.
"""

from __future__ import annotations

# urllib3 encodes host names with this codec, which Python would import on first use, in a thread:
# see `atdata.system.forks.importing`.
import encodings.idna  # noqa: F401
import math
import os
import ssl
from base64 import b64encode
from collections.abc import Collection, Mapping
from typing import IO, Any, Final, Protocol
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NewConnectionError,
    ProxyError,
    SSLError,
)
from urllib3.response import BaseHTTPResponse

from atdata._limits import limits
from atdata._secrets import redacted
from atdata.errors import AtdataError, ShardNotFoundError, SourceError, UnsafeUrlError, UrlError
from atdata.net.deadlines import enforce_deadlines, seconds_left, within
from atdata.net.documents import read_whole
from atdata.net.headers import retry_after
from atdata.net.logs import hide_in_logs
from atdata.net.policy import Policy, same_origin
from atdata.net.retries import Retries

hide_in_logs("urllib3")

_CONNECT_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 60.0
"""How long a server may send nothing."""
_MAX_ERROR_BODY_BYTES: Final = 64 << 10
_MAX_ADDRESSES: Final = 8
"""Addresses of one name that are tried."""
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_FOREIGN_HEADERS: Final = frozenset(
    {"accept", "accept-encoding", "if-match", "if-unmodified-since", "range", "user-agent"}
)
"""Sent to another host after a redirect; any other header may be a secret."""


class Signer(Protocol):
    """Authorizes requests to a server, and interprets its refusals."""

    def sign(self, url: str) -> str:
        """The http(s) URL to request; called again for each request."""

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> Exception | None:
        """The error for a refusal; None to try again, with what was learnt from it (the region)."""


def fetch(
    url: str,
    headers: Mapping[str, str],
    *,
    name: str,
    retries: Retries,
    policy: Policy | None,
    sign: Signer | None = None,
    timeout: float = SILENT_SECONDS,
    accept: Collection[int] = (200,),
) -> BaseHTTPResponse:
    """GET a URL, trying again while that helps.

    Args:
        url: An http(s) URL, or with ``sign`` what the signer takes.
        headers: Sent along; after a redirect to another host, only harmless ones.
        name: What to call the URL in errors.
        retries: Counts the failures.
        policy: None for a URL that the user typed.
        sign: Signs each attempt; redirects of signed requests are not followed.
        timeout: Seconds that the server may be silent.
        accept: Statuses to return.

    Returns:
        The response, its body unread.

    Raises:
        ShardNotFoundError: 404 or 410.
        UnsafeUrlError: The policy refuses this URL or a redirect.
        SourceError: Anything else, after the last attempt.
    """
    while True:
        target = url if sign is None else sign.sign(url)
        try:
            with within(limits.document_seconds, name):
                response = _follow(target, dict(headers), policy, timeout, name, sign is None)
                refused = response.status not in accept
                body = _error_body(response) if refused else b""
        except AtdataError:
            raise
        except LocationParseError as error:
            raise UrlError(f"{name}: this is not a URL that can be opened.") from error
        except (HTTPError, OSError, UnicodeError) as error:
            if _is_certificate_error(error):
                raise SourceError(
                    f"{name}: the server's certificate cannot be verified ({error}). Set "
                    "SSL_CERT_FILE to the certificates that you trust."
                ) from error
            connecting = isinstance(error, NewConnectionError | ConnectTimeoutError | ProxyError)
            restarting = connecting and _origin(target) in _answered
            retries.wait(describe(error), error, connecting=connecting, restarting=restarting)
            continue
        _answered.add(_origin(target))
        if not refused:
            return response
        if response.status in _TRANSIENT:
            retries.wait(
                f"the server answers {response.status} {response.reason or ''}".rstrip(),
                asked=retry_after(response.headers),
            )
            continue
        refusal = (
            _refused(name, response.status, response.reason)
            if sign is None
            else sign.refused(response.status, response.headers, body)
        )
        if refusal is not None:
            raise refusal
        retries.wait(f"the server answers {response.status}")


_answered: set[str] = set()
"""Servers that have answered this process."""


def _origin(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}".lower()


def describe(error: Exception) -> str:
    """What a failed connection means in plain words, without secrets of URLs."""
    if isinstance(error, NewConnectionError | ConnectTimeoutError):
        cause = error.__cause__ or error.__context__
        detail = cause if isinstance(cause, OSError) else "timed out"
        return f"the server cannot be reached ({detail})"
    if isinstance(error, ProxyError):
        return "the proxy cannot be reached or refuses"
    return f"the connection failed ({type(error).__name__})"


def _refused(name: str, status: int, reason: str | None) -> Exception:
    if status in (404, 410):
        return ShardNotFoundError(f"{name}: there is no such file ({status}).")
    if status in (401, 403):
        return SourceError(
            f"{name}: the server refuses to give it ({status} {reason or ''}). Check the URL "
            "and whether it needs a token or has expired."
        )
    return SourceError(f"{name}: the server answers {status} {reason or ''}, not the file.")


def _follow(
    url: str,
    headers: dict[str, str],
    policy: Policy | None,
    timeout: float,
    name: str,
    follow: bool,
) -> BaseHTTPResponse:
    for _ in range(limits.redirects + 1):
        response = send(url, headers, policy=policy, timeout=timeout)
        location = response.headers.get("Location")
        if not follow or response.status not in _REDIRECTS or not location:
            return response
        response.close()
        try:
            target = urljoin(url, location)
            same = same_origin(url, target)
        except ValueError:
            target, same = location, False
        if not target.startswith(("https://", "http://")):
            raise UnsafeUrlError(f"{name}: redirects to {redacted(target)[:200]!r}: not followed.")
        if url.startswith("https:") and not target.startswith("https:"):
            raise UnsafeUrlError(f"{name}: redirects from https to http: not followed.")
        if not same:
            headers = {k: v for k, v in headers.items() if k.lower() in _FOREIGN_HEADERS}
        url = target
    raise SourceError(f"{name}: redirects more than {limits.redirects} times.")


def send(
    url: str,
    headers: Mapping[str, str],
    *,
    policy: Policy | None,
    timeout: float,
    method: str = "GET",
    body: bytes | IO[bytes] | None = None,
) -> BaseHTTPResponse:
    """Send one request, once, and follow no redirect.

    Args:
        url: An http(s) URL.
        headers: Sent along.
        policy: None for a URL that the user typed.
        timeout: Seconds that the server may be silent.
        method: The HTTP method.
        body: What to send, from its current position.

    Returns:
        The response, whatever its status, its body unread.

    Raises:
        UrlError: Not an http(s) URL.
        UnsafeUrlError: The policy refuses it.
        SourceError: The answer does not begin in time, or its head is too large.
        urllib3.exceptions.HTTPError: It cannot be reached.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UrlError(f"{redacted(url)!r} is not a URL that can be opened: {error}.") from error
    if not host or parts.scheme not in ("http", "https"):
        raise UrlError(f"{redacted(url)!r} is not an http or https URL with a host.")
    sent = {"User-Agent": "atdata", "Accept-Encoding": "identity", **headers}
    if parts.username and "authorization" not in (k.lower() for k in sent):
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        sent["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
    netloc = parts.netloc.rpartition("@")[2]
    path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    manager = _manager(parts.scheme, host)
    options: dict[str, Any] = {
        "body": body,
        "redirect": False,
        "retries": False,
        "preload_content": False,
        "decode_content": False,
    }
    if policy is not None:
        policy.check_url(url)
    by_proxy = isinstance(manager, urllib3.ProxyManager) and parts.scheme == "http"
    # Sending a body has no time limit.
    with within(limits.document_seconds if body is None else math.inf, redacted(url)):
        if policy is None or by_proxy:
            whole = f"{parts.scheme}://{netloc}{path}"
            options["timeout"] = _timeout(timeout)
            return manager.urlopen(method, whole, headers=sent, **options)
        # Connect to the address that was checked: a second look-up could return another.
        failure: Exception | None = None
        port = port or (443 if parts.scheme == "https" else 80)
        names = {"server_hostname": host} if parts.scheme == "https" else None
        for address in policy.addresses(host, port)[:_MAX_ADDRESSES]:
            pool = manager.connection_from_host(address, port, parts.scheme, names)
            options["timeout"] = _timeout(timeout)
            try:
                return pool.urlopen(
                    method,
                    path,
                    headers={"Host": netloc, **sent},
                    assert_same_host=False,
                    **options,
                )
            except (NewConnectionError, ConnectTimeoutError) as error:
                failure = error
        raise failure or SourceError(f"The host {host!r} has no address.")


def _timeout(silent: float) -> urllib3.Timeout:
    """How long to wait for a connection, TLS included, and then for each read."""
    return urllib3.Timeout(connect=min(_CONNECT_SECONDS, silent, seconds_left()), read=silent)


_managers: dict[tuple[int, str | None, str | None], urllib3.PoolManager] = {}


def _manager(scheme: str, host: str) -> urllib3.PoolManager:
    """The pool of this process: a forked child that shared connections would mix up answers."""
    proxy = None if proxy_bypass(host) else getproxies().get(scheme)
    trusted = [os.environ.get(n) for n in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")]
    ca_certs = next((name for name in trusted if name), None)
    key = (os.getpid(), proxy, ca_certs)
    if key in _managers:
        return _managers[key]
    if proxy is None:
        made = urllib3.PoolManager(32, maxsize=16, ca_certs=ca_certs)
    else:
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        made = urllib3.ProxyManager(proxy, 32, maxsize=16, ca_certs=ca_certs)
    enforce_deadlines(made)
    return _managers.setdefault(key, made)


def _is_certificate_error(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        inner = error.args[0] if isinstance(error, SSLError) and error.args else None
        error = inner if isinstance(inner, Exception) else error.__cause__
    return False


def _error_body(response: BaseHTTPResponse) -> bytes:
    try:
        return read_whole(response, most=_MAX_ERROR_BODY_BYTES, name="")
    except (HTTPError, OSError):
        return b""
    finally:
        response.close()
