"""What is loaded on first use: name or URL scheme → class, and the extra that carries it.

A new backend or source is one file and one row here. Packages of others add
rows with entry points in the groups ``atdata.index`` and ``atdata.source``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, Final

from atdata.errors import MissingExtraError, UrlError
from atdata.system.forks import load_module


@dataclass(frozen=True, slots=True)
class Provider:
    """One row: where a class is, and which extra brings what it needs."""

    target: str
    """``module:Class``."""
    extra: str | None = None
    """The extra of atdata that installs its dependencies; None: the core is enough."""


INDEX_BACKENDS: dict[str, Provider] = {
    "sqlite": Provider("atdata.local.backends.sqlite:SqliteBackend"),
    "redis": Provider("atdata.local.backends.redis:RedisBackend", "redis"),
    "rediss": Provider("atdata.local.backends.redis:RedisBackend", "redis"),
    "unix": Provider("atdata.local.backends.redis:RedisBackend", "redis"),
    "postgresql": Provider("atdata.local.backends.postgres:PostgresBackend", "postgres"),
    "postgres": Provider("atdata.local.backends.postgres:PostgresBackend", "postgres"),
}
"""URL scheme of an index → its backend."""

SHARD_READERS: dict[str, Provider] = {
    "file": Provider("atdata.sources.disk:DiskReader"),
    "http": Provider("atdata.sources.http:HttpReader"),
    "https": Provider("atdata.sources.http:HttpReader"),
    "s3": Provider("atdata.sources.s3:S3Reader", "s3"),
    "at": Provider("atdata.sources.blob:BlobReader"),
    "gs": Provider("atdata.sources.fsspec:FsspecReader", "fsspec"),
    "gcs": Provider("atdata.sources.fsspec:FsspecReader", "fsspec"),
    "az": Provider("atdata.sources.fsspec:FsspecReader", "fsspec"),
    "abfs": Provider("atdata.sources.fsspec:FsspecReader", "fsspec"),
    "hf": Provider("atdata.sources.fsspec:FsspecReader", "fsspec"),
}
"""URL scheme of a shard → what opens it."""

_EXTRA_OF_MODULE = {
    "boto3": "s3",
    "botocore": "s3",
    "redis": "redis",
    "psycopg": "postgres",
    "fsspec": "fsspec",
    "websockets": "mirror",
    "cryptography": "mirror",
    "pytest": "testing",
    "hypothesis": "testing",
}
_ALMOST_URL: Final = re.compile(r"(?:^|/)([A-Za-z][A-Za-z0-9+.-]+):/?(?!/)")


def require(module: str, *, purpose: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: Dotted name of one of our own optional dependencies, never a name from data.
        purpose: What needs it, for the error, such as ``"s3:// URLs"``.

    Raises:
        MissingExtraError: It is not installed; the message has the install line.
    """
    try:
        return load_module(module)
    except ModuleNotFoundError as error:
        root = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != root:
            raise
        extra = _EXTRA_OF_MODULE[root]
        raise MissingExtraError(
            f"{purpose} need the package {root!r}, which is not installed. "
            f"Install it with: pip install 'atdata[{extra}]'"
        ) from error


@cache
def _with_entry_points(group: str) -> dict[str, Provider]:
    rows = dict(INDEX_BACKENDS if group == "atdata.index" else SHARD_READERS)
    for point in entry_points(group=group):
        rows.setdefault(point.name, Provider(point.value))
    return rows


def _load(provider: Provider) -> Any:
    module, _, name = provider.target.partition(":")
    return getattr(load_module(module), name)


def index_backends() -> dict[str, Provider]:
    """Every registered index backend, those of other packages included."""
    return dict(_with_entry_points("atdata.index"))


def index_backend(scheme: str) -> Any:
    """The backend class for an index URL with this scheme."""
    if scheme in INDEX_BACKENDS:
        return _load(INDEX_BACKENDS[scheme])
    rows = _with_entry_points("atdata.index")
    if scheme not in rows:
        raise UrlError(
            f"An index cannot be in {scheme}://…. Known: {', '.join(sorted(rows))}; "
            "a plain path means an SQLite file."
        )
    return _load(rows[scheme])


def slash_missing(path: object) -> str:
    """A sentence for the error about a file that is not there, whose path begins as a URL might."""
    found = _ALMOST_URL.search(str(path))
    if found is None or found[1].lower() not in SHARD_READERS:
        return ""
    return f" A URL begins with {found[1]}://, with two slashes; this is a path."


def shard_reader(scheme: str) -> Any:
    """The class that opens shards whose URL has this scheme."""
    # Our own are not replaced by those of other packages, which take time to be found.
    if scheme in SHARD_READERS:
        return _load(SHARD_READERS[scheme])
    rows = _with_entry_points("atdata.source")
    if scheme not in rows:
        raise UrlError(
            f"Shards cannot be read from {scheme}:// URLs. Known: {', '.join(sorted(rows))}."
        )
    return _load(rows[scheme])
