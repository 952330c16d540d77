"""A store from what a user types: a folder, a URL or a name."""

from __future__ import annotations

from atdata._protocols import AbstractDataStore
from atdata._registry import STORES
from atdata.capabilities import SupportsFromClient, SupportsFromUrl
from atdata.errors import OptionError, UrlError


def open_store(place: str, *, client: object | None = None) -> tuple[AbstractDataStore, str | None]:
    """Open a store by its path, its URL or, with a client, the name of a store of its account.

    Args:
        place: Such as ``copies``, ``s3://bucket/prefix`` or ``blobs``.
        client: Logged in to the account whose store may be named. None: a plain word is a folder.

    Returns:
        The store, and the prefix that the URL names, if it names one.

    Raises:
        UrlError: No store has this scheme; lists the known ones.
        OptionError: The store belongs to an account, and no client was given.
    """
    scheme, separator, _ = place.partition("://")
    if separator:
        name = scheme.lower()
    else:
        name = place if client is not None and place in STORES else "file"
    store_class = STORES.load(name)
    if isinstance(store_class, SupportsFromUrl):
        return store_class.from_url(place)
    if not isinstance(store_class, SupportsFromClient):
        raise UrlError(f"{place!r}: {store_class!r} has no from_url, and so no URL can name it.")
    if client is None:
        raise OptionError(
            f"{place!r} is a store of an account, for promotion. Give a folder or a bucket here."
        )
    return store_class.from_client(client), None
