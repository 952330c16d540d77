"""Record keys: derived from what is published, so that what is there is found without a listing.

Every key that we choose begins with ``~``, which sorts behind all other characters of a key:
ours are one range of a collection, those of other tools are the rest. Keys of one name begin
alike, so that they are a range too.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from base64 import b32encode
from collections.abc import Sequence
from typing import Final

OURS: Final = "~"
"""What every key of ours begins with; also behind every character that a key may have."""
_MAX_SLUG: Final = 64
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


def schema_rkey(name: str, version: str) -> str:
    """Record key of a schema: the same for the same name and version, another for any other."""
    return f"{schema_range(name)}{version}"


def schema_range(name: str) -> str:
    """What the keys of all versions of a schema begin with, and no others."""
    safe = "".join(c if _is_plain(c) else _escaped(c) for c in name)
    if len(safe) > 450:
        safe = f"{safe[:400]}~~{_short_hash([name])}"
    return f"{OURS}{safe}:"


def _is_plain(c: str) -> bool:
    return c.isascii() and (c.isalnum() or c in "._-")


def _escaped(c: str) -> str:
    return "".join(f"~{byte:02X}" for byte in c.encode("utf-8", "surrogatepass"))


def dataset_rkey(name: str, schema_uri: str, content: str) -> str:
    """Record key of a dataset: its name, and a hash of name, schema and content."""
    return f"{dataset_range(name)}{_short_hash([name, schema_uri, content])}"


def dataset_range(name: str) -> str:
    """What the keys of all revisions of a dataset's name begin with, and no others."""
    return f"{_named(name)}-"


def label_rkey(name: str, version: str) -> str:
    """Record key of a label: one of each name and version."""
    return f"{label_range(name)}{version}"


def label_range(name: str) -> str:
    """What the keys of all labels of a name begin with, and no others."""
    return f"{_named(name)}:"


def lens_rkey(source_schema: str, target_schema: str, name: str) -> str:
    """Record key of a lens: one of each pair of schemas and name."""
    return f"{lens_range(source_schema, target_schema)}{slug(name)}-{_short_hash([name], 5)}"


def lens_range(source_schema: str, target_schema: str) -> str:
    """What the keys of all lenses between two schemas begin with, and no others."""
    return f"{OURS}{_short_hash([source_schema, target_schema])}-"


def _named(name: str) -> str:
    # The hash tells apart the names whose readable start is the same.
    return f"{OURS}{slug(name)}-{_short_hash([name], 10)}"


def _short_hash(parts: Sequence[str], length: int = 15) -> str:
    """So many bytes of SHA-256 in base32, which five bytes fill without a rest."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return b32encode(digest[:length]).decode().lower()


def slug(name: str) -> str:
    """A name as the part of a path or key, for people; not all names have one of their own."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return _UNSAFE.sub("-", plain).strip("-.")[:_MAX_SLUG] or "dataset"
