"""Can others read these URLs? Asked before anything is published."""

from __future__ import annotations

import ipaddress
import warnings
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from atdata._shardlist import preview
from atdata.atmosphere.blobs import PDSBlobStore
from atdata.atmosphere.client import AtmosphereClient
from atdata.errors import NoDataUrlsError, OptionError, PrivateUrlError
from atdata.stores.disk import DiskDataStore

READABLE: Final = frozenset({"https", "http", "s3", "at", "gs", "gcs", "az", "abfs", "hf"})
"""Schemes of URLs that others may be able to open."""


def check_public(urls: Iterable[str], *, endpoint: str | None = None) -> None:
    """Let URLs pass that others can read; warn of those on this machine's loopback.

    Raises:
        NoDataUrlsError: There are none.
        PrivateUrlError: Some can be read by this machine only.
    """
    found = list(urls)
    if not found:
        raise NoDataUrlsError("The dataset names no shard. Nothing was published.")
    private = [url for url in found if _scheme(url) not in READABLE]
    if private:
        raise PrivateUrlError(
            f"Not published: {len(private)} of {len(found)} shard URLs cannot be read by others "
            f"({preview(private)}). Pass data_store=, for example PDSBlobStore(client), to copy "
            "the shards to where others can read them. Nothing was published."
        )
    hosts = {endpoint or ""} | {url for url in found if _scheme(url) in ("http", "https")}
    if local := sorted(url for url in hosts if _is_loopback(url)):
        warnings.warn(
            f"{preview(local, 1)} is on this machine: what is published can be found by "
            "everyone, but only this machine can read its data.",
            stacklevel=3,
        )


def check_store(store: object, client: AtmosphereClient) -> None:
    """Let a store pass whose shards others can read once this client has published them.

    Raises:
        PrivateUrlError: A folder of this machine.
        OptionError: Blobs of another account: they last only if that account's record names them.
    """
    if isinstance(store, DiskDataStore):
        raise PrivateUrlError(
            f"{store!r} is a folder of this machine, which others cannot read. Use "
            "PDSBlobStore(client) or an S3DataStore. Nothing was published."
        )
    if isinstance(store, PDSBlobStore) and store.client.did != client.did:
        raise OptionError(
            f"The blobs would be {store.client.handle}'s and the record {client.handle}'s: blobs "
            "last only as long as a record of their own account names them. Make the store with "
            "the same client. Nothing was published."
        )


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower() if "://" in url else ""


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
