"""Record keys derived from content, so that a record is found without a listing.

Every key that atdata chooses starts with ``~``, which sorts after all other characters of a key:
our keys are one range of a collection, and those of other tools are the rest. Keys of one name
share a prefix, so that they are a range too.
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
"""The first character of our keys, which sorts after every other that a key may have."""
_MAX_SLUG: Final = 64
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


def schema_rkey(name: str, version: str) -> str:
    """Record key of a schema: one for each name and version."""
    return f"{schema_range(name)}{version}"


def schema_range(name: str) -> str:
    """The prefix of the keys of a schema's versions, and of no other keys."""
    safe = "".join(c if _is_plain(c) else _escaped(c) for c in name)
    if len(safe) > 450:
        safe = f"{safe[:400]}~~{_short_hash([name])}"
    return f"{OURS}{safe}:"


def _is_plain(c: str) -> bool:
    return c.isascii() and (c.isalnum() or c in "._-")


def _escaped(c: str) -> str:
    return "".join(f"~{byte:02X}" for byte in c.encode("utf-8", "surrogatepass"))


def dataset_rkey(name: str, schema_uri: str, content: str) -> str:
    """Record key of a dataset: its name, and a hash of its name, schema and content."""
    return f"{dataset_range(name)}{_short_hash([name, schema_uri, content])}"


def dataset_range(name: str) -> str:
    """The prefix of the keys of a dataset name's revisions, and of no other keys."""
    return f"{_named(name)}-"


def label_rkey(name: str, version: str) -> str:
    """Record key of a label: one for each name and version."""
    return f"{label_range(name)}{version}"


def label_range(name: str) -> str:
    """The prefix of the keys of a name's labels, and of no other keys."""
    return f"{_named(name)}:"


def lens_rkey(source_schema: str, target_schema: str, name: str) -> str:
    """Record key of a lens: one for each pair of schemas and name."""
    return f"{lens_range(source_schema, target_schema)}{slug(name)}-{_short_hash([name], 5)}"


def lens_range(source_schema: str, target_schema: str) -> str:
    """The prefix of the keys of lenses between two schemas, and of no other keys."""
    return f"{OURS}{_short_hash([source_schema, target_schema])}-"


def _named(name: str) -> str:
    # The hash distinguishes names that have the same slug.
    return f"{OURS}{slug(name)}-{_short_hash([name], 10)}"


def _short_hash(parts: Sequence[str], length: int = 15) -> str:
    """The first ``length`` bytes of SHA-256 in base32; a multiple of 5 needs no padding."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return b32encode(digest[:length]).decode().lower()


def slug(name: str) -> str:
    """A readable form of a name for paths and keys. Several names may share one."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return _UNSAFE.sub("-", plain).strip("-.")[:_MAX_SLUG] or "dataset"
