"""Opening a backend from what the caller or the environment names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from atdata._registry import INDEX_BACKENDS, almost_scheme, require
from atdata.errors import OptionError, UrlError
from atdata.local.backends.base import Backend
from atdata.system.files import user_path
from atdata.system.folders import data_folder
from atdata.system.forks import importing

_AUTHORITY_END: Final = re.compile(r"[/?#]")
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_WITHOUT_COLON: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*//?[^/@:]+:[^/@]*@")
"""``scheme//user:password@host``."""
_SETTINGS: Final = re.compile(r"(?:^|\s)(?:password|host|dbname|user)\s*=", re.IGNORECASE)
VARIABLE: Final = "ATDATA_INDEX"
"""Names the index where the program does not."""


def open_backend(where: str | Path | None, redis: Any = None) -> Backend:
    """Open the database of an index.

    Args:
        where: A path, or a URL of a registered scheme; None: what ``ATDATA_INDEX`` names, else
            an SQLite file in the user's data folder.
        redis: A live ``redis.Redis`` instead.

    Raises:
        OptionError: Both were given, or something else than a client.
        UrlError: No backend has this scheme, or the URL is malformed.
        BackendError: It does not answer, or is not an index.
    """
    if redis is not None:
        if where is not None:
            raise OptionError("Give either the place of the index or redis=, not both.")
        return _over_client(redis)
    where = _or_default(where)
    backend: Backend
    if isinstance(where, str) and "://" in where:
        scheme = where.partition("://")[0].lower()
        _check_authority(scheme, where)
        backend = INDEX_BACKENDS.load(scheme).open(where)
        return backend
    url = _checked_path(where).as_uri().replace("file:", "sqlite:", 1)
    backend = INDEX_BACKENDS.load("sqlite").open(url)
    return backend


def file_of(where: str | Path | None) -> Path | None:
    """The SQLite file that `open_backend` would open, or make; None: the index is not in a file.

    Raises:
        UrlError: It is not the path of one.
        OptionError: It is neither a path nor a URL.
    """
    where = _or_default(where)
    if isinstance(where, str) and "://" in where:
        if where.partition("://")[0].lower() != "sqlite":
            return None
        with importing():
            from atdata.local.backends.sqlite import path_in

        return path_in(where)
    return _checked_path(where)


def _or_default(where: str | Path | None) -> str | Path:
    return (os.environ.get(VARIABLE) or default_path()) if where is None else where


def _checked_path(where: str | Path) -> Path:
    if not isinstance(where, (str, os.PathLike)):
        raise OptionError(
            f"An index is named by a path or URL, not by {type(where).__name__}. "
            "A Redis client goes to redis=."
        )
    path = os.fspath(where)
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise UrlError(f"{path!r} is not the path of an index. Write one, for example 'index.db'.")
    if path == ":memory:":
        raise UrlError(
            "An index cannot be kept in memory: each thread would have its own. Name a file, "
            "for example in tempfile.mkdtemp()."
        )
    _check_slashes(path)
    return user_path(path).absolute()


def _check_authority(scheme: str, url: str) -> None:
    """Refuse a URL of a server whose password could be taken for something else, and shown."""
    row = INDEX_BACKENDS.ours.get(scheme)
    if row is None or "@host" not in (row.form or ""):
        return
    rest = url.partition("://")[2]
    authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    after = rest[len(authority) :]
    before_options = after.partition("?")[0]
    if authority.count("@") > 1 or "@" in (before_options if "@" in authority else after):
        raise UrlError(
            f"{scheme}://…: the URL of an index has one '@', between the password and the host. "
            "Write '@', ':', '/', '?', '#' and '%' of a user, password or database as %40, %3A, "
            "%2F, %3F, %23 and %25: urllib.parse.quote(password, safe='')."
        )


def _check_slashes(where: str) -> None:
    """Refuse what is meant as a URL, and would become a file whose name has a password."""
    name = _NAME.match(where)
    scheme = name[0].lower() if name else ""
    row = INDEX_BACKENDS.get(scheme)
    is_url = (
        almost_scheme(where, INDEX_BACKENDS)
        or (_URL.match(where) and "@" in where)
        or _WITHOUT_COLON.match(where)
    )
    if (is_url or _SETTINGS.search(where)) and not Path(where).exists():
        form = (row and row.form) or INDEX_BACKENDS["postgresql"].form
        raise UrlError(
            f"{scheme + '…' if is_url else 'host=… password=…'} is neither a path nor the URL of "
            f"an index. Such a URL has a colon and two slashes: {form}. For a file of that name, "
            "write ./ before it."
        )


def default_path() -> Path:
    """The SQLite file in the user's data folder."""
    return data_folder() / "index.db"


def _over_client(client: Any) -> Backend:
    redis = require("redis", purpose="Indexes in Redis")
    if not isinstance(client, redis.Redis):
        raise OptionError(
            f"redis= takes a redis.Redis, found {type(client).__name__}. "
            "A URL goes to the first argument: LocalIndex('redis://…')."
        )
    with importing():
        from atdata.local.backends.redis import RedisBackend

    return RedisBackend(client)
