"""A store from what a user types: a folder, a URL or a name."""

from __future__ import annotations

from atdata._protocols import AbstractDataStore
from atdata._registry import STORES, almost_scheme
from atdata.capabilities import SupportsFromClient, SupportsFromUrl
from atdata.errors import AtdataError, OptionError, UrlError
from atdata.system.files import user_path


def open_store(place: str, *, client: object | None = None) -> tuple[AbstractDataStore, str | None]:
    """Open a store by its path, its URL or, with a client, the name of a store of its account.

    Returns:
        The store, and the prefix that the URL names, if it names one.

    Raises:
        UrlError: No store has this scheme, or the URL is malformed; says how to write one.
        EntryPointError: The store of another package does not load.
        OptionError: The store belongs to an account, and no client was given; or it is named
            without a place in it.
    """
    scheme, separator, _ = place.partition("://")
    if separator:
        name = scheme.lower()
    elif place in STORES:
        name = place
    else:
        _check_slashes(place)
        name = "file"
    store_class = STORES.load(name)
    by_url = isinstance(store_class, SupportsFromUrl)
    if isinstance(store_class, SupportsFromClient) and not (by_url and separator):
        if client is None:
            raise OptionError(
                f"{place!r} is a store of an account, for promotion. Give a folder or a bucket "
                f"here; for a folder of this name, write './{name}'."
            )
        return store_class.from_client(client), None
    if not by_url:
        raise UrlError(f"{place!r}: {store_class!r} has no from_url, and so no URL can name it.")
    if not separator and name != "file":
        raise OptionError(
            f"{place!r} is a kind of store, and not a place in one. Write its URL, such as "
            f"{STORES[name].form or f'{name}://…'}; for a folder of this name, './{name}'."
        )
    opened: tuple[AbstractDataStore, str | None]
    try:
        opened = store_class.from_url(place)
    except AtdataError:
        raise
    except ValueError as error:
        raise UrlError(f"{place!r} names no store of {name}: {error}") from error
    return opened


def _check_slashes(place: str) -> None:
    """Refuse what is meant as a URL, and would become a folder of a strange name."""
    scheme = almost_scheme(place, STORES)
    if scheme and not user_path(place).exists():
        raise UrlError(
            f"{scheme}… is not the URL of a store, which begins with {scheme}://, with a colon and "
            f"two slashes. Known: {STORES.schemes()}. For a folder of that name, write ./ before "
            "it."
        )
