"""Shards in local files: paths, file:// URLs, globs, folders."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

from atdata._shardlist import instead_of
from atdata.errors import ShardNotFoundError, SourceError, UnsafeUrlError, UrlError
from atdata.net.policy import Policy
from atdata.sources.nearby import warn_of_compressed
from atdata.system.files import open_file, path_in_url, user_path

_BUFFER_BYTES: Final = 1 << 20
_SLASH: Final = re.compile(r"[/\\]" if os.name == "nt" else "/")


class DiskReader:
    """Opens paths and file:// URLs.

    Args:
        base: The folder that relative paths start from; None: the working directory at the time
            of use.
    """

    def __init__(self, base: str | None = None) -> None:
        self._base = base

    def open(self, url: str, *, policy: Policy | None = None) -> IO[bytes]:
        """Open a file for reading.

        Raises:
            ShardNotFoundError: Not found.
            SourceError: It cannot be read, or is a folder, a pipe or a device.
            UnsafeUrlError: The URL is untrusted.
        """
        _refuse_untrusted(url, policy)
        path = path_of(url, self._base)
        try:
            return open_file(path, _BUFFER_BYTES)
        except FileNotFoundError as error:
            raise ShardNotFoundError(f"{path}: there is no such file.{instead_of(path)}") from error
        except IsADirectoryError as error:
            raise SourceError(f"{path} is a folder, where a shard was expected.") from error
        except OSError as error:
            raise SourceError(f"{path}: cannot be read ({error.strerror}).") from error

    def expand(self, url: str, *, policy: Policy | None = None) -> list[str]:
        """The files that a path or URL names, sorted.

        A folder names the tar files directly in it. ``*``, ``?``, ``[…]`` and ``**`` match as in
        a shell, unless a file of exactly this name exists.

        Returns:
            Absolute paths; file:// URLs if one was given. A plain name is returned whether it
            exists or not; a glob or a folder may match nothing.

        Raises:
            UnsafeUrlError: The URL is untrusted.
        """
        _refuse_untrusted(url, policy)
        path = path_of(url, self._base)
        if path.is_dir():
            found = sorted(str(p) for p in path.glob("*.tar") if p.is_file())
            if found:
                warn_of_compressed(path)
        elif glob.has_magic(str(_named(url))) and not path.exists():
            folder, left = existing_part(str(_named(url)), self._base)
            # The existing part is no pattern; Path.glob accepts no absolute pattern.
            start = glob.escape(os.path.join(self._base or os.getcwd(), folder))  # noqa: PTH109, PTH118
            matches = map(Path, glob.glob(start + left, recursive=True))  # noqa: PTH207
            found = sorted(str(_absolute(match)) for match in matches if match.is_file())
        else:
            found = [str(path)]
        return [Path(p).as_uri() for p in found] if url.startswith("file:") else found


def existing_part(path: str, base: str | None = None) -> tuple[str, str]:
    """Split a path after the folders that exist by exactly these names.

    So ``[raw] v1/*.tar`` finds the tars in a folder whose name looks like a pattern.

    Args:
        path: A path, maybe with a pattern.
        base: As for `path_of`.
    """
    end = 0
    for slash in _SLASH.finditer(path):
        if not os.path.isdir(os.path.join(base or "", user_path(path[: slash.end()]))):  # noqa: PTH112, PTH118
            break
        end = slash.end()
    return path[:end], path[end:]


def path_of(url: str, base: str | None = None) -> Path:
    """The absolute path of a path or file:// URL; links are not resolved.

    Args:
        url: The path or URL.
        base: The folder that a relative path starts from; None: the working directory.

    Raises:
        UrlError: A file:// URL that names another host.
    """
    named = _named(url)
    return _absolute(Path(base, named) if base else named)


def _named(url: str) -> Path:
    if not url.startswith("file:"):
        return user_path(url)
    parts = urlsplit(url.replace("?", "%3F").replace("#", "%23"))
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise UrlError(f"{url!r} names no local file. Write file:///folder/name.tar.")
    return path_in_url(parts.path)


def _absolute(path: Path) -> Path:
    # Only ".." needs the target of a link before it.
    return path.resolve() if ".." in path.parts else path.absolute()


def _refuse_untrusted(url: str, policy: Policy | None) -> None:
    if policy is not None:
        raise UnsafeUrlError(
            f"{url[:200]!r} comes from the network and names a file of this machine: not opened."
        )
