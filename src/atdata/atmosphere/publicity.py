"""Whether others can read URLs, checked before anything is published."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote, urlsplit

from urllib3.exceptions import HTTPError

from atdata._registry import SHARD_SCHEMES
from atdata._secrets import find_secret, redacted
from atdata._shardlist import preview, scheme_of
from atdata._warnings import warn
from atdata.atproto.client import AtmosphereClient
from atdata.capabilities import SupportsPublicCheck
from atdata.errors import (
    AtdataError,
    AtdataWarning,
    NoDataUrlsError,
    PrivateUrlError,
    SecretUrlError,
)
from atdata.net.policy import STRANGER
from atdata.net.transport import send

_PUBLIC: Final = {scheme for scheme, row in SHARD_SCHEMES.ours.items() if row.public}
_PROBE_SECONDS: Final = 5.0
"""Seconds that a server may be silent when it is asked whether others can read."""


def check_public(urls: Iterable[str], *, endpoint: str | None = None) -> None:
    """Refuse URLs that others cannot read; warn of those on this machine's loopback.

    Raises:
        NoDataUrlsError: There are none.
        PrivateUrlError: Some can be read by this machine only.
        SecretUrlError: Some carry a secret.
    """
    found = list(urls)
    refuse_private(found, endpoint=endpoint)
    if warning := loopback_warning(found, endpoint=endpoint):
        warn(AtdataWarning(warning))


def refuse_private(urls: Sequence[str], *, endpoint: str | None = None) -> None:
    """Refuse URLs whose schemes others cannot open, or that carry a secret.

    Raises:
        NoDataUrlsError: There are none.
        PrivateUrlError: Some can be read by this machine only.
        SecretUrlError: Some, or the endpoint, carry a secret.
    """
    if not urls:
        raise NoDataUrlsError("The dataset names no shard. Nothing was published.")
    private = [url for url in urls if scheme_of(url) not in _PUBLIC]
    if private:
        raise PrivateUrlError(
            f"Not published: {len(private)} of {len(urls)} shard URLs cannot be read by others "
            f"({preview(private)}). Pass data_store=, for example PDSBlobStore(client), to copy "
            "the shards to where others can read them. Nothing was published."
        )
    refuse_secrets(urls, endpoint=endpoint)


def refuse_secrets(urls: Sequence[str], *, endpoint: str | None = None) -> None:
    """Refuse URLs that carry a password, token or signature.

    Raises:
        SecretUrlError: Some do. The message does not show what.
    """
    if endpoint is not None and (kind := find_secret(endpoint)):
        raise SecretUrlError(
            f"Not published: the endpoint {redacted(endpoint)} carries a secret ({kind}), which "
            "everyone could read. Give it without, and the keys to the store. Nothing was "
            "published."
        )
    found = {url: kind for url in urls if (kind := find_secret(url))}
    if found:
        url, kind = next(iter(found.items()))
        raise SecretUrlError(
            f"Not published: {len(found)} of {len(urls)} shard URLs carry a secret, which everyone "
            f"could read: {redacted(url)} ({kind}). Pass data_store=, for example "
            "PDSBlobStore(client), to copy the shards, or insert the dataset again with URLs that "
            "anyone may open. Nothing was published."
        )


def loopback_warning(urls: Sequence[str], *, endpoint: str | None = None) -> str | None:
    """The warning about URLs on this machine's loopback; None where there are none."""
    hosts = {endpoint or ""} | {url for url in urls if scheme_of(url) in ("http", "https")}
    local = sorted(url for url in hosts if _is_loopback(url))
    if not local:
        return None
    return (
        f"{preview(local, 1)} is on this machine: what is published can be found by "
        "everyone, but only this machine can read its data."
    )


def name_warning(schema_name: str) -> str | None:
    """The warning about the name of a schema to be published; None where it is fine."""
    if not schema_name.startswith("__main__."):
        return None
    return (
        f"{schema_name}: the class was defined in a notebook or a script, and others know it by "
        "this name, which any other program may have, too. Define it in a module of its own."
    )


def why_unreadable(
    url: str, *, endpoint: str | None = None, region: str | None = None
) -> str | None:
    """Request a shard once, without credentials: why it cannot be read, None where it can.

    Only http(s) and s3 URLs are requested.
    """
    asked = _http_url(url, endpoint, region)
    if asked is None:
        return None
    try:
        response = send(asked, {}, policy=STRANGER, timeout=_PROBE_SECONDS, method="HEAD")
    except (AtdataError, HTTPError) as error:
        return f"{url}: {str(error)[:200]}"
    status = response.status
    response.close()
    return None if status < 400 else f"{url}: answers {status} without credentials"


def _http_url(url: str, endpoint: str | None, region: str | None) -> str | None:
    if scheme_of(url) in ("http", "https"):
        return url
    if scheme_of(url) != "s3":
        return None
    bucket, _, key = url.removeprefix("s3://").partition("/")
    base = f"https://s3.{region or 'us-east-1'}.amazonaws.com" if endpoint is None else endpoint
    return f"{base.rstrip('/')}/{quote(bucket)}/{quote(key)}"


def check_store(store: object, client: AtmosphereClient) -> None:
    """Refuse a store whose shards others could not read once this client has published them.

    Raises:
        PrivateUrlError: A folder of this machine.
        OptionError: Blobs of another account: they last only if that account's record names them.
    """
    if isinstance(store, SupportsPublicCheck):
        store.check_public(client.did)


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
