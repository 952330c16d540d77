"""One file of the corpus, and building blocks for many."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

DID = "did:web:evil.example"
SCHEMA = "ac.foundation.dataset.sampleSchema"
LENS = "ac.foundation.dataset.lens"
RECORD = "ac.foundation.dataset.record"
KINDS = "ac.foundation.dataset.schemaType"


@dataclass(frozen=True)
class Item:
    """A file and what it tries."""

    path: str
    """Below the corpus: the folder says what the file is fed to."""
    tries: str
    """One line."""
    data: bytes
    harmless: bool = False
    """Whether it may be read, as long as nothing else comes of it; else it must be refused."""


def text(path: str, tries: str, value: Any, *, harmless: bool = False) -> Item:
    """An item in JSON."""
    data = json.dumps(value, ensure_ascii=True, indent=None).encode() + b"\n"
    return Item(path, tries, data, harmless)


def field(name: str = "x", kind: dict[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    """A field of a schema's record."""
    return {"name": name, "fieldType": kind or primitive("int"), "optional": False, **rest}


def primitive(name: str, /, **rest: Any) -> dict[str, Any]:
    """The type of a plain field."""
    return {"$type": f"{KINDS}#primitive", "primitive": name, **rest}


def kind_of(name: str, /, **rest: Any) -> dict[str, Any]:
    """The type of any other field."""
    return {"$type": f"{KINDS}#{name}", **rest}


def schema(*fields: dict[str, Any], name: str = "m.Thing", **rest: Any) -> dict[str, Any]:
    """A schema's record."""
    said = {"$type": SCHEMA, "name": name, "version": "1.0.0", "fields": list(fields)}
    return {**said, "createdAt": "2026-01-01T00:00:00Z", **rest}


def record(*urls: str, storage: dict[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    """A dataset's record."""
    external = {"$type": "ac.foundation.dataset.storageExternal", "urls": list(urls)}
    return {
        "$type": RECORD,
        "name": "thing",
        "schemaRef": f"at://{DID}/{SCHEMA}/thing",
        "storage": {**external, **(storage or {})},
        "createdAt": "2026-01-01T00:00:00Z",
        **rest,
    }
