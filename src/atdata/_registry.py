"""URL schemes: which class serves one, loaded on first use, and which extra it needs.

A new backend or source is one file and one row here. Other packages add rows with entry points
in the groups ``atdata.index`` and ``atdata.source``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, Final, Literal

from atdata.errors import MissingExtraError, UrlError
from atdata.system.forks import load_module


@dataclass(frozen=True, slots=True)
class Provider:
    """One row: where a class is, and which extra brings what it needs."""

    target: str
    """``module:Class``."""
    extra: str | None = None
    """The extra of atdata that installs its dependencies; None: none is needed."""


@dataclass(frozen=True, slots=True)
class ShardScheme(Provider):
    """One row of the URL schemes of shards. Those of other packages are for this machine alone."""

    package: str | None = None
    """The package of the file system, which the user installs next to the extra."""
    public: bool = True
    """Whether a published record may name such URLs: others can open them."""
    from_network: Literal["never", "private", "always"] = "never"
    """Whether such a URL is opened if a record of the network names it; ``private``: only where
    addresses of private networks are allowed."""


INDEX_BACKENDS: dict[str, Provider] = {
    "sqlite": Provider("atdata.local.backends.sqlite:SqliteBackend"),
    "redis": Provider("atdata.local.backends.redis:RedisBackend", "redis"),
    "rediss": Provider("atdata.local.backends.redis:RedisBackend", "redis"),
    "unix": Provider("atdata.local.backends.redis:RedisBackend", "redis"),
    "postgresql": Provider("atdata.local.backends.postgres:PostgresBackend", "postgres"),
    "postgres": Provider("atdata.local.backends.postgres:PostgresBackend", "postgres"),
}
"""URL scheme of an index → its backend."""

SHARD_SCHEMES: dict[str, ShardScheme] = {
    "file": ShardScheme("atdata.sources.disk:DiskReader", public=False),
    "https": ShardScheme("atdata.sources.http:HttpReader", from_network="always"),
    "s3": ShardScheme("atdata.sources.s3:S3Reader", "s3", from_network="always"),
    "at": ShardScheme("atdata.sources.blob:BlobReader", from_network="always"),
    "http": ShardScheme("atdata.sources.http:HttpReader", from_network="private"),
    "gs": ShardScheme("atdata.sources.fsspec:FsspecReader", "fsspec", package="gcsfs"),
    "gcs": ShardScheme("atdata.sources.fsspec:FsspecReader", "fsspec", package="gcsfs"),
    "az": ShardScheme("atdata.sources.fsspec:FsspecReader", "fsspec", package="adlfs"),
    "abfs": ShardScheme("atdata.sources.fsspec:FsspecReader", "fsspec", package="adlfs"),
    "hf": ShardScheme("atdata.sources.fsspec:FsspecReader", "fsspec", package="huggingface_hub"),
}
"""URL scheme of a shard → what opens it, and who may name it."""

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
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
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
    rows = dict(INDEX_BACKENDS if group == "atdata.index" else SHARD_SCHEMES)
    for point in entry_points(group=group):
        rows.setdefault(point.name, Provider(point.value))
    return rows


def _load(provider: Provider) -> Any:
    module, _, name = provider.target.partition(":")
    return getattr(load_module(module), name)


def index_backends() -> dict[str, Provider]:
    """Every registered index backend, including those of other packages."""
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


def scheme_of(url: str) -> str:
    """The scheme of a shard's URL, in lower case; ``file`` for a path."""
    match = _SCHEME.match(url)
    return match[1].lower() if match else "file"


def has_scheme(text: str) -> bool:
    """Whether a text is a URL, and not a path."""
    return _SCHEME.match(text) is not None


def slash_missing(path: object) -> str:
    """A sentence for an error about a missing file: its path begins like a URL. "" if not."""
    found = _ALMOST_URL.search(str(path))
    if found is None or found[1].lower() not in SHARD_SCHEMES:
        return ""
    return f" A URL begins with {found[1]}://, with two slashes; this is a path."


def shard_reader(scheme: str) -> Any:
    """The class that opens shards whose URL has this scheme."""
    # Entry points take time to look up, and never replace our own rows.
    if scheme in SHARD_SCHEMES:
        return _load(SHARD_SCHEMES[scheme])
    rows = _with_entry_points("atdata.source")
    if scheme not in rows:
        raise UrlError(
            f"Shards cannot be read from {scheme}:// URLs. Known: {', '.join(sorted(rows))}."
        )
    return _load(rows[scheme])
