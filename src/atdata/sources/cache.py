"""A cache on disk."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder of atdata in the user's cache; ``ATDATA_CACHE`` names another."""
    import platformdirs

    return Path(os.environ.get("ATDATA_CACHE") or platformdirs.user_cache_dir("atdata"))
