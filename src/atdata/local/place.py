"""Where a local index is kept: what a caller or the environment names → an open backend."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from atdata import _registry
from atdata._folders import data_folder, user_path
from atdata._registry import require
from atdata.errors import OptionError, UrlError
from atdata.local.backends.base import Backend

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
    if where is None:
        where = os.environ.get(VARIABLE) or default_path()
    backend: Backend
    if isinstance(where, str) and "://" in where:
        scheme = where.partition("://")[0].lower()
        backend = _registry.index_backend(scheme).open(where)
        return backend
    if not isinstance(where, (str, os.PathLike)):
        raise OptionError(
            f"An index is named by a path or URL, not by {type(where).__name__}. "
            "A Redis client goes to redis=."
        )
    path = os.fspath(where)
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise UrlError(f"{path!r} is no path of an index. Write one, for example 'index.db'.")
    if path == ":memory:":
        raise UrlError(
            "An index cannot be kept in memory: each thread would have its own. Name a file, "
            "for example in tempfile.mkdtemp()."
        )
    absolute = str(user_path(path).absolute())
    backend = _registry.index_backend("sqlite").open(f"sqlite://{quote(absolute)}")
    return backend


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
    from atdata.local.backends.redis import RedisBackend

    return RedisBackend(client)
