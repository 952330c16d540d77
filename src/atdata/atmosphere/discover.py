"""Discovery: which accounts of a server or relay have datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from atdata._limits import limits
from atdata._refs import (
    ALT_DATASET_COLLECTION,
    ALT_SCHEMA_COLLECTION,
    DATASET_COLLECTION,
    SCHEMA_COLLECTION,
    is_did,
)
from atdata.atproto.pages import rows
from atdata.atproto.xrpc import XrpcServer, server_url
from atdata.errors import XrpcError

COLLECTIONS: Final = (
    SCHEMA_COLLECTION,
    DATASET_COLLECTION,
    ALT_SCHEMA_COLLECTION,
    ALT_DATASET_COLLECTION,
)
"""Schemas and datasets of both record families."""
_PAGE_ROWS: Final = 1000


def accounts(server: str) -> Iterator[str]:
    """DIDs of the active accounts that have schemas or datasets, each once.

    A relay lists accounts by collection. A server lists all its accounts, and is then asked for
    the collections of each.

    Args:
        server: URL of a relay or server.

    Raises:
        AtmosphereError: It cannot be reached, refuses, or its list does not end.
    """
    home = XrpcServer(server_url(server))
    try:
        yield from dict.fromkeys(did for nsid in COLLECTIONS for did in _by_collection(home, nsid))
    except XrpcError as error:
        if error.status not in (400, 401, 404, 501):
            raise
    else:
        return
    for did, active in _all(home):
        if active and has_datasets(home, did):
            yield did


def has_datasets(home: XrpcServer, did: str) -> bool:
    """Whether an account has any of the COLLECTIONS; False if the account is gone."""
    try:
        answer = home.query("com.atproto.repo.describeRepo", {"repo": did})
    except XrpcError as error:
        if error.status != 400:
            raise
        return False
    collections = answer.get("collections")
    return isinstance(collections, list) and any(nsid in COLLECTIONS for nsid in collections)


def _by_collection(home: XrpcServer, nsid: str) -> Iterator[str]:
    params: dict[str, str | int] = {"collection": nsid, "limit": _PAGE_ROWS}
    for row in _pages(home, "com.atproto.sync.listReposByCollection", params):
        yield row["did"]


def _all(home: XrpcServer) -> Iterator[tuple[str, bool]]:
    for row in _pages(home, "com.atproto.sync.listRepos", {"limit": _PAGE_ROWS}):
        yield row["did"], row.get("active") is not False


def _pages(
    home: XrpcServer, method: str, params: dict[str, str | int]
) -> Iterator[Mapping[str, Any]]:
    name = f"The accounts of {home.url} ({method})"
    for row in rows(
        lambda asked: home.query(method, asked), params, "repos", most=limits.accounts, name=name
    ):
        did = row.get("did") if isinstance(row, Mapping) else None
        if isinstance(row, Mapping) and isinstance(did, str) and is_did(did):
            yield row
