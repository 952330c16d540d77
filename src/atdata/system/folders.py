"""Where a user's files are: the index, journals, caches."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from atdata.system.forks import importing

DATA_DIR: Final = "ATDATA_DATA_DIR"
"""Environment variable: the folder for what is kept, such as the index."""
CACHE_DIR: Final = "ATDATA_CACHE_DIR"
"""Environment variable: the folder for caches, which may be deleted at any time."""
_DRIVE: Final = re.compile(rb"/[A-Za-z]:(/|$)")


def user_path(path: str | os.PathLike[str]) -> Path:
    """A path as a user types it: ``~`` and ``~user`` are home folders, as in a shell."""
    # Path.expanduser fails for a file named ~x if there is no user x.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def path_in_url(path: str, *, windows: bool = os.name == "nt") -> Path:
    """The path that a URL's path names: ``/C:/data%20sets`` is ``C:/data sets`` on Windows."""
    named = unquote_to_bytes(path)
    if windows and _DRIVE.match(named):
        named = named[1:]
    return Path(os.fsdecode(named))


def data_folder() -> Path:
    """The folder for what is kept; it may not exist yet."""
    if folder := os.environ.get(DATA_DIR):
        return user_path(folder)
    with importing():
        import platformdirs

    return Path(platformdirs.user_data_dir("atdata", appauthor=False))


def cache_folder() -> Path:
    """The folder for caches; it may not exist yet."""
    if folder := os.environ.get(CACHE_DIR):
        return user_path(folder)
    with importing():
        import platformdirs

    return Path(platformdirs.user_cache_dir("atdata", appauthor=False))
