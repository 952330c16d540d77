"""Where a user's files are: the index, journals, caches."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from atdata.system.forks import load_module

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
    return _folder(DATA_DIR, "user_data_dir")


def cache_folder() -> Path:
    """The folder for caches; it may not exist yet."""
    return _folder(CACHE_DIR, "user_cache_dir")


def _folder(variable: str, kind: str) -> Path:
    if folder := os.environ.get(variable):
        return user_path(folder)
    return Path(getattr(load_module("platformdirs"), kind)("atdata", appauthor=False))
