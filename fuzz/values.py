"""Bytes → JSON values: a good record with some of its parts replaced.

Random text is hardly ever JSON, and random JSON hardly ever a record. Here every string of
bytes is a record that is almost right.
"""

from __future__ import annotations

import copy
from typing import Any, Final

DID: Final = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
_CID: Final = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
_T: Final = "ac.foundation.dataset."
_N: Final = "science.alt.dataset."

WORDS: Final = (
    *("a", "x", "name", "class", "self", "packed", "__init__", "m.Thing", "os.system", "", " "),
    *("1.0.0", "0.0.1", "1.0", "str", "int", "float", "bool", "bytes", "object", "float32"),
    *("uint8", "datetime64", "<U5", "|O", "i4,O", "any", "datetime", "null", "string", "array"),
    *("2026-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "MIT", "text", "\ud800", "\x1b[2J"),
    *(f"{_T}{n}" for n in ("record", "sampleSchema", "storageExternal", "storageBlobs")),
    *(f"{_T}schemaType#{n}" for n in ("primitive", "ndarray", "array", "map", "ref", "next")),
    *(f"{_N}{n}" for n in ("schema", "entry", "storageHttp", "storageS3", "storageBlobs")),
    *("https://public.example/a.tar", "s3://bucket/{0..9}.tar", "/etc/passwd", "pipe:true"),
    *("https://h/{a,{b,c}}/{00..12}", "{", "}", "\\", "{1..99999999999999999999}", "https://[::1"),
    *(f"at://{DID}/blob/{_CID}", f"at://{DID}/{_T}sampleSchema/a", _CID, DID, "a" * 600),
    *("#atproto_pds", "https://127.0.0.1", "at://alice.example"),
)
KEYS: Final = (
    *("$type", "name", "version", "fields", "fieldType", "optional", "description", "metadata"),
    *("primitive", "dtype", "shape", "items", "values", "ref", "enum", "format", "schemaRef"),
    *("storage", "urls", "blobs", "shards", "url", "bytes", "samples", "sha256", "endpoint"),
    *("region", "size", "tags", "license", "createdAt", "updatedAt", "$bytes", "$link"),
    *("schema", "properties", "required", "type", "$ref", "additionalProperties", "checksum"),
    *("algorithm", "digest", "bucket", "key", "blob", "id", "service", "serviceEndpoint"),
)
_NUMBERS: Final = (0, 1, -1, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**100, 10**4299)


class Bytes:
    """Bytes that are used up from the front; zeros at their end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def number(self, below: int) -> int:
        """A number from 0 on."""
        size = 1 if below <= 256 else 2
        raw = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(raw, "little") % below

    def take(self, size: int) -> bytes:
        """So many bytes, fewer at the end."""
        raw = self._data[self._at : self._at + size]
        self._at += size
        return raw


def value(data: Bytes, depth: int = 0) -> Any:
    """Any JSON value."""
    sort = data.number(12 if depth < 6 else 7)
    if sort == 0:
        return None
    if sort == 1:
        return bool(data.number(2))
    if sort == 2:
        return _NUMBERS[data.number(len(_NUMBERS))]
    if sort == 3:
        return data.number(300)
    if sort == 4:
        return (0.5, float("nan"), float("inf"), -1e300)[data.number(4)]
    if sort in (5, 7):
        return WORDS[data.number(len(WORDS))]
    if sort == 6:
        return data.take(data.number(40)).decode("utf-8", "surrogateescape")
    if sort in (8, 9):
        return [value(data, depth + 1) for _ in range(data.number(5))]
    count = data.number(5)
    return {KEYS[data.number(len(KEYS))]: value(data, depth + 1) for _ in range(count)}


def edited(template: Any, data: Bytes) -> Any:
    """A copy of a value with up to eight of its parts replaced, left out or repeated."""
    made = copy.deepcopy(template)
    for _ in range(1 + data.number(8)):
        places = list(_places(made))
        if not places or not data:
            break
        holder, key = places[data.number(len(places))]
        what = data.number(8)
        if what == 0:
            del holder[key]
        elif what == 1 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif what == 2:
            holder[key] = copy.deepcopy(made) if len(places) < 200 else None
        elif what == 3 and isinstance(holder, dict):
            holder[KEYS[data.number(len(KEYS))]] = holder.pop(key)
        else:
            holder[key] = value(data)
    return made


def _places(whole: Any) -> Any:
    for key in range(len(whole)) if isinstance(whole, list) else list(whole):
        yield whole, key
        if isinstance(whole[key], (list, dict)):
            yield from _places(whole[key])


def _kind(name: str, **rest: Any) -> dict[str, Any]:
    return {"$type": f"{_T}schemaType#{name}", **rest}


_KINDS: Final = (
    _kind("primitive", primitive="str"),
    _kind("primitive", primitive="str", enum=["a", "b"]),
    _kind("primitive", primitive="str", format="datetime"),
    _kind("ndarray", dtype="float32", shape=[None, 3]),
    _kind("array", items=_kind("map", values=_kind("primitive", primitive="int"))),
    _kind("ref", ref=f"at://{DID}/{_T}sampleSchema/a"),
)
SCHEMA: Final = {
    "$type": f"{_T}sampleSchema",
    "name": "m.Thing",
    "version": "1.0.0",
    "fields": [
        {"name": f"f{i}", "fieldType": kind, "optional": i > 3} for i, kind in enumerate(_KINDS)
    ],
    "metadata": {"a": [1, {"b": "c"}]},
    "createdAt": "2026-01-01T00:00:00Z",
}
NEWER_SCHEMA: Final = {
    "$type": f"{_N}schema",
    "name": "Thing",
    "version": "1.0.0",
    "schema": {
        "type": "object",
        "required": ["a"],
        "properties": {
            "a": {"type": "string", "enum": ["x", "y"]},
            "b": {"type": ["integer", "null"]},
            "c": {"type": "array", "items": {"type": "string", "format": "date-time"}},
            "d": {"type": "object", "additionalProperties": {"type": "number"}},
            "e": {
                "$ref": "https://alt.science/schemas/atdata-ndarray-bytes/1.0.0/#/$defs/ndarray",
                "dtype": "uint8",
                "shape": [28, None],
            },
        },
    },
}
MANIFEST: Final = {
    "samples": [1, None],
    "bytes": [1, 2],
    "sha256": ["0" * 64, "1" * 64],
    "urls": ["https://h/{0..1}.tar"],
}
_SHARDS: Final = [{"url": "https://h/0.tar", "bytes": 1, "samples": 1, "sha256": "0" * 64}]
RECORD: Final = {
    "$type": f"{_T}record",
    "name": "thing",
    "schemaRef": f"at://{DID}/{_T}sampleSchema/a",
    "storage": {
        "$type": f"{_T}storageExternal",
        "urls": ["https://h/{0..3}.tar"],
        "shards": _SHARDS,
        "endpoint": "https://h:9000",
        "region": "us-east-1",
    },
    "tags": ["a"],
    "license": "MIT",
    "metadata": {"$bytes": "gaFhAQ"},
    "createdAt": "2026-01-01T00:00:00Z",
}
BLOBS: Final = {
    **RECORD,
    "storage": {
        "$type": f"{_T}storageBlobs",
        "blobs": [
            {"$type": "blob", "ref": {"$link": _CID}, "mimeType": "application/x-tar", "size": 1}
        ],
    },
}
NEWER_ENTRY: Final = {
    **RECORD,
    "$type": f"{_N}entry",
    "storage": {
        "$type": f"{_N}storageS3",
        "bucket": "b",
        "shards": [{"key": "a.tar", "checksum": {"algorithm": "sha256", "digest": "0" * 64}}],
    },
}
