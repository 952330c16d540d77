"""What lies beside a stranger's shards: tables of samples, manifests of many shards, lenses."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from atdata.shards.tar.table import SampleTable
from tests.hostile.items import DID, LENS, SCHEMA, Item, text


def items() -> list[Item]:
    """All of them."""
    return [*_tables(), *_manifests(), *_lenses()]


def table(
    offsets: list[int], sizes: list[int], ends: list[int], keys: bytes, *, shard: int = 10_240
) -> bytes:
    """A table whose checksums are right, whatever it says."""
    made = SampleTable.joined(offsets, sizes, ends, keys, shard_bytes=shard, sha256=None)
    return made.to_bytes()


def _tables() -> list[Item]:
    good = table([512, 2048], [4, 4], [1, 2], b"ab")
    head = struct.pack("<8sII Q32sQQ I", b"ATDTABLE", 1, 0, 10_240, bytes(32), 2**40, 8, 0)
    cases = {
        "empty": ("is nothing", b""),
        "magic": ("is something else", b"PK\x03\x04" + good[4:]),
        "cut": ("ends early", good[:-1]),
        "longer": ("has more behind it", good + b"x"),
        "changed": ("has a byte changed", good[:-1] + b"c"),
        "claims": ("claims 10**12 samples", head + struct.pack("<I", zlib.crc32(head))),
        "outside": (
            "has samples outside of the shard",
            table([512, 1 << 40], [4, 4], [1, 2], b"ab"),
        ),
        "negative": ("has negative offsets", table([-512, 512], [4, 4], [1, 2], b"ab")),
        "size-negative": ("has negative sizes", table([512, 2048], [-4, 4], [1, 2], b"ab")),
        "size-huge": ("has a sample of 2**62 bytes", table([512, 2048], [4, 2**62], [1, 2], b"ab")),
        "overlap": ("has samples that overlap", table([512, 512], [4, 4], [1, 2], b"ab")),
        "odd": ("has offsets within blocks", table([513, 2048], [4, 4], [1, 2], b"ab")),
        "ends-back": (
            "has keys that end before they begin",
            table([512, 2048], [4, 4], [2, 1], b"ab"),
        ),
        "ends-beyond": ("has keys beyond the table", table([512, 2048], [4, 4], [1, 2**62], b"ab")),
        "key-bytes": ("has keys that are no text", table([512, 2048], [4, 4], [1, 2], b"\xff\xfe")),
        "key-split": (
            "splits a letter between two keys",
            table([512, 2048], [4, 4], [1, 2], "ä".encode()),
        ),
    }
    return [Item(f"tables/{name}.table", tries, data) for name, (tries, data) in cases.items()]


def _manifests() -> list[Item]:
    def said(**parts: Any) -> dict[str, Any]:
        return {"samples": [1], "bytes": [1], "sha256": ["0" * 64], **parts}

    many = [None] * 100_001
    return [
        text("manifests/list.json", "is a list", []),
        text("manifests/lengths.json", "has lists of other lengths", said(bytes=[1, 2])),
        text("manifests/hash.json", "has a path as a hash", said(sha256=["../" * 21 + "x"])),
        text("manifests/hash-number.json", "has a number as a hash", said(sha256=[5])),
        text("manifests/count.json", "has 10**4000 bytes", said(bytes=[10**4000])),
        text("manifests/negative.json", "has -1 samples", said(samples=[-1])),
        text(
            "manifests/braces.json",
            "stands for 10**18 URLs",
            said(urls=["https://h/{0..999999}{0..999999}{0..999999}"]),
        ),
        text(
            "manifests/many.json", "has 100,001 shards", said(samples=many, bytes=many, sha256=many)
        ),
        Item("manifests/deep.json", "nests lists 100,000 deep", b'{"sha256": ' + b"[" * 100_000),
        Item(
            "manifests/lists.json",
            "has three million empty lists, 200 MB in memory",
            b'{"sha256": [' + b"[]," * 3_000_000 + b"[]]}",
        ),
    ]


def _lenses() -> list[Item]:
    def lens(**code: Any) -> dict[str, Any]:
        good = {"repository": "https://public.example/a", "commit": "0" * 40, "path": "a.py:f"}
        return {
            "$type": LENS,
            "name": "a",
            "sourceSchema": f"at://{DID}/{SCHEMA}/a",
            "targetSchema": f"at://{DID}/{SCHEMA}/b",
            "getterCode": {**good, **code},
            "putterCode": good,
            "createdAt": "2026-01-01T00:00:00Z",
        }

    shown = {
        "function": ("names a function of the system as its code", {"path": "os:system"}),
        "module": ("names a module that would be imported", {"path": "canary_module:f"}),
        "file": ("has its code in a file of this machine", {"repository": "file:///etc/passwd"}),
        "command": ("has its code behind a command", {"repository": "ext::touch canary-was-here"}),
        "path": ("leads out of its repository", {"path": "../../../etc/passwd"}),
        "option": ("has an option of git as its commit", {"commit": "--upload-pack=touch canary"}),
        "private": ("has its code in the private net", {"repository": "https://192.168.0.1/a"}),
    }
    return [
        *(
            text(f"lenses/{name}.json", tries, lens(**code), harmless=True)
            for name, (tries, code) in shown.items()
        ),
        text("lenses/number.json", "has a number as its repository", lens(repository=5)),
        text("lenses/list.json", "has a list as its code", {**lens(), "getterCode": ["os.system"]}),
        text("lenses/none.json", "says nothing of its code", {**lens(), "putterCode": None}),
    ]
