"""The library datasets asks no server, and keeps nothing in the user's folders."""

from __future__ import annotations

import os
import tempfile

_home = tempfile.TemporaryDirectory(prefix="atdata-hf-")
# It reads these when it is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = _home.name
