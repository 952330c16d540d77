"""Files and small documents over http: a stream for shards, a GET for JSON."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import urlencode

from urllib3.exceptions import HTTPError

from atdata._limits import limits
from atdata._secrets import redacted
from atdata.errors import NotFoundError, ShardNotFoundError, SourceError
from atdata.net.deadlines import within
from atdata.net.documents import parse_json, read_whole
from atdata.net.download import BUFFER_BYTES, Download
from atdata.net.policy import Policy
from atdata.net.retries import Retries, RetryPolicy
from atdata.net.transport import SILENT_SECONDS, Signer, describe, fetch


def open_url(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    sign: Signer | None = None,
    policy: Policy | None = None,
    expect_bytes: int | None = None,
    restart: bool = False,
    name: str | None = None,
    retry_policy: RetryPolicy | None = None,
    allow_encoded: bool = True,
) -> IO[bytes]:
    """Open a URL as a stream that survives dropped connections.

    The first request is sent at once, so that its errors are raised here. After a drop the stream
    resumes at the byte it had reached and asks for the same version of the file. The bytes are
    those on the server: a content encoding is never decoded.

    Args:
        url: An http(s) URL, or with ``sign`` what the signer takes.
        headers: Sent with every request, but to no other host than the URL's own.
        sign: Signs each request.
        policy: The gate for strangers' URLs; None for a URL that the user typed.
        expect_bytes: Size the file must have, where known.
        restart: For servers without ranges, if the caller checks the bytes by their hash: after a
            drop, read from the start again and skip what was read before.
        name: What to call it in errors; the URL without its query by default.
        retry_policy: How often and how long to try again.
        allow_encoded: Whether a body with a content encoding is returned as it is; if not, it is
            an error, since a shard would be taken for a compressed file.

    Returns:
        A buffered binary stream, not seekable. Reading it raises SourceError if the connection
        cannot be restored, and IntegrityError if the file has changed since it was opened or its
        size is not the one that was announced.

    Raises:
        ShardNotFoundError: There is no such file.
        UnsafeUrlError: The policy refuses it.
        SourceError: It cannot be read.
        IntegrityError: Its size is not ``expect_bytes``.
    """
    raw = Download(
        url,
        headers=headers or {},
        sign=sign,
        policy=policy,
        expect_bytes=expect_bytes,
        restart=restart,
        name=name or redacted(url),
        retry_policy=retry_policy,
        allow_encoded=allow_encoded,
    )
    return io.BufferedReader(raw, BUFFER_BYTES)


def get_json(
    url: str,
    *,
    params: Mapping[str, str] | None = None,
    policy: Policy | None = None,
    max_bytes: int | None = None,
    timeout: float = SILENT_SECONDS,
) -> Any:
    """GET a small JSON document, by default of at most ``limits.document_bytes``.

    The policy is None for a URL that the user typed. The server may be silent for ``timeout``
    seconds; no attempt begins after twice this.

    Raises:
        NotFoundError: 404 or 410.
        UnsafeUrlError: The policy refuses it.
        SourceError: It cannot be read, is larger, or is not JSON.
    """
    full = f"{url}{'&' if '?' in url else '?'}{urlencode(params)}" if params else url
    name = redacted(url)
    retries = Retries(name, RetryPolicy(attempts=4, connect_attempts=3, total_seconds=2 * timeout))
    headers = {"Accept": "application/json"}
    with within(limits.document_seconds, name):
        try:
            response = fetch(
                full, headers, name=name, retries=retries, policy=policy, timeout=timeout
            )
        except ShardNotFoundError as error:
            raise NotFoundError(f"{name}: there is nothing here.") from error
        try:
            body = read_whole(response, most=max_bytes or limits.document_bytes, name=name)
        except SourceError:
            raise
        except (HTTPError, OSError) as error:
            raise SourceError(f"{name}: {describe(error)}.") from error
        finally:
            response.close()
    try:
        return parse_json(body)
    except ValueError as error:
        raise SourceError(f"{name}: expected JSON, found something else.") from error
