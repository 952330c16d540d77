"""Where a user's files are: the index, journals, caches."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from atdata.system.files import user_path
from atdata.system.forks import load_module

DATA_DIR: Final = "ATDATA_DATA_DIR"
"""Environment variable: the folder for what is kept, such as the index."""
CACHE_DIR: Final = "ATDATA_CACHE_DIR"
"""Environment variable: the folder for caches, which may be deleted at any time."""


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
