"""Shards in any file system of fsspec: gs, az, hf."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

from atdata._registry import SHARD_SCHEMES, install_line, require
from atdata._shardlist import scheme_of
from atdata.errors import (
    AtdataError,
    MissingExtraError,
    ShardNotFoundError,
    SourceError,
    UnsafeUrlError,
)
from atdata.net.logs import hide_in_logs
from atdata.net.policy import Policy

_READ_AHEAD_BYTES: Final = 4 << 20


class FsspecReader:
    """Opens URLs of fsspec's schemes, with the credentials that each package finds by itself."""

    def open(self, url: str, *, policy: Policy | None = None) -> IO[bytes]:
        """Open a file as a stream that reads ahead.

        Raises:
            MissingExtraError: fsspec, or the package for this scheme, is not installed.
            ShardNotFoundError: There is no such file.
            SourceError: It cannot be read.
            UnsafeUrlError: The URL is untrusted.
        """
        _refuse_untrusted(url, policy)
        with _errors(url):
            system, path = _find(url)
            stream: IO[bytes] = system.open(
                path, "rb", block_size=_READ_AHEAD_BYTES, cache_type="readahead"
            )
            return stream

    def expand(self, url: str, *, policy: Policy | None = None) -> list[str]:
        """The files that a URL names, sorted.

        A URL that ends with ``/`` names the tar files directly below it. A glob is matched unless
        a file of exactly this name exists.

        Raises:
            MissingExtraError: fsspec, or the package for this scheme, is not installed.
            SourceError: It cannot be listed.
            UnsafeUrlError: The URL is untrusted.
        """
        _refuse_untrusted(url, policy)
        pattern = f"{url}*.tar" if url.endswith("/") else url
        if not any(c in pattern for c in "*?["):
            return [url]
        with _errors(url):
            system, path = _find(pattern)
            if pattern == url and system.isfile(path):
                return [url]
            found = sorted(name for name in system.glob(path) if system.isfile(name))
            scheme = url.partition("://")[0]
            return [f"{scheme}://{name.lstrip('/')}" for name in found]


def _find(url: str) -> tuple[Any, str]:
    require("fsspec", purpose="URLs other than https, s3 and local paths")
    hide_in_logs("fsspec", _package_of(url) or "fsspec")
    core = require("fsspec.core", purpose="URLs other than https, s3 and local paths")
    system, path = core.url_to_fs(url)
    return system, str(path)


@contextmanager
def _errors(url: str) -> Iterator[None]:
    try:
        yield
    except AtdataError:
        raise
    except ImportError as error:
        scheme = scheme_of(url)
        package = _package_of(url) or scheme
        raise MissingExtraError(
            f"{scheme}:// URLs need the package {package!r}, which is not installed. Install it "
            f"with: {install_line('fsspec', package)}"
        ) from error
    except FileNotFoundError as error:
        raise ShardNotFoundError(f"{url}: there is no such file.") from error
    except Exception as error:
        # Each file system raises its own errors, and those of its HTTP client.
        raise SourceError(f"{url}: cannot be read ({type(error).__name__}: {error}).") from error


def _package_of(url: str) -> str | None:
    row = SHARD_SCHEMES.get(scheme_of(url))
    return row.package if row else None


def _refuse_untrusted(url: str, policy: Policy | None) -> None:
    if policy is not None:
        raise UnsafeUrlError(
            f"{url[:200]!r} comes from the network and is not opened: such a URL is https, s3 or "
            "a blob."
        )
