"""Shards, samples and arrays: bytes that a stranger's record leads to."""

from __future__ import annotations

import gzip
import struct
from typing import Any

from tests.hostile.items import Item

BLOCK = 512
_SAMPLE = b"\x81\xa1x\x01"


def items() -> list[Item]:
    """All of them."""
    return [*_shards(), *_payloads(), *_arrays()]


def member(
    name: bytes, data: bytes = _SAMPLE, *, flag: bytes = b"0", size: bytes | None = None
) -> bytes:
    """A member of a tar, its header's checksum right."""
    said = b"%011o\0" % len(data) if size is None else size
    head = name[:100].ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + said + b"0" * 11 + b"\0"
    tail = flag + bytes(100) + b"ustar\x0000" + bytes(247)
    total = sum(head) + sum(tail) + 8 * 0x20
    header = head + b"%06o\0 " % total + tail
    return header[:BLOCK] + data + bytes(-len(data) % BLOCK)


def pax(**records: bytes) -> bytes:
    """An extended header."""
    data = b""
    for key, value in records.items():
        body = b" " + key.replace("_", ".").encode() + b"=" + value + b"\n"
        size = len(body) + 1
        while len(b"%d" % size) + len(body) != size:
            size += 1
        data += b"%d" % size + body
    return member(b"pax", data, flag=b"x")


def _shards() -> list[Item]:
    end = bytes(2 * BLOCK)
    good = member(b"a.msgpack")
    huge = struct.pack(">B11s", 0x80, (2**80).to_bytes(11, "big"))
    negative = b"\xff" * 12
    cases = {
        "empty": ("is no shard at all", b""),
        "gzip": ("is 30 MB packed into 30 kB", gzip.compress(bytes(30_000_000), mtime=0)),
        "zstd": ("is packed in another way", b"\x28\xb5\x2f\xfd" + bytes(600)),
        "zip": ("is a zip", b"PK\x03\x04" + bytes(600)),
        "text": ("is a page", b"<html>" * 200),
        "cut": ("ends within a sample", good[:700]),
        "cut-header": ("ends within a header", good + good[:100]),
        "no-end": ("has no end", good),
        "behind": ("hides data behind its end", good + end + good),
        "checksum": ("has a header that was changed", good.replace(b"a.msg", b"b.msg") + end),
        "size-huge": ("claims a sample of 10**24 bytes", member(b"a.msgpack", size=huge) + end),
        "size-4g": ("claims a sample of 4 GB", member(b"a.msgpack", size=b"37777777777\0") + end),
        "size-negative": ("claims a negative size", member(b"a.msgpack", size=negative) + end),
        "size-letters": (
            "has letters as a size",
            member(b"a.msgpack", size=b"zzzzzzzzzzz\0") + end,
        ),
        "other-huge": (
            "claims another member of 8 GB",
            member(b"a.bin", size=b"77777777777\0") + end,
        ),
        "pax-huge": (
            "claims an extended header of 8 GB",
            member(b"p", b"", flag=b"x", size=b"77777777777\0") + end,
        ),
        "pax-size": (
            "gives a sample 10**18 bytes by an extended header",
            pax(size=b"9" * 18) + good + end,
        ),
        "pax-digits": ("gives a size of 400 digits", pax(size=b"9" * 400) + good + end),
        "pax-length": (
            "has an extended header that lies of its length",
            member(b"p", b"9999 path=x\n", flag=b"x") + good + end,
        ),
        "pax-chain": (
            "has 100 extended headers before one sample",
            pax(path=b"b.msgpack") * 100 + good + end,
        ),
        "pax-alone": ("has an extended header and no member", pax(path=b"b.msgpack") + end),
        "sparse": ("claims holes, which would be filled", member(b"a.msgpack", flag=b"S") + end),
        "sparse-pax": (
            "claims holes by an extended header",
            pax(GNU_sparse_size=b"9" * 15) + good + end,
        ),
        "name-long": (
            "has a name of 100 kB",
            member(b"L", b"a" * 100_000 + b".msgpack\0", flag=b"L") + good + end,
        ),
        "name-bytes": ("has a name that is no text", member(b"\xff\xfe.msgpack") + end),
        "twice": ("has a key twice", good + good + end),
        "no-samples": ("holds other files only", member(b"README", b"import os") + end),
        "sample-text": ("has a sample that is no msgpack", member(b"a.msgpack", b"hello") + end),
        "sample-empty": ("has an empty sample", member(b"a.msgpack", b"") + end),
    }
    harmless = {
        "zeros": ("is nothing but the end of a shard", bytes(2 * BLOCK)),
        "path-up": (
            "is to be written outside of its folder",
            member(b"../../canary.msgpack") + end,
        ),
        "path-root": (
            "is to be written over a file of the system",
            member(b"/etc/canary.msgpack") + end,
        ),
        "link": (
            "has a link to a file of this machine",
            member(b"a.msgpack", b"", flag=b"2") + member(b"b.msgpack") + end,
        ),
        "device": (
            "has a device",
            member(b"a.msgpack", b"", flag=b"3") + member(b"b.msgpack") + end,
        ),
        "program": (
            "has a program beside its samples",
            member(b"setup.py", b"import os") + good + end,
        ),
    }
    return [
        *(Item(f"shards/{k}.tar", t, d) for k, (t, d) in cases.items()),
        *(Item(f"shards/{k}.tar", t, d, harmless=True) for k, (t, d) in harmless.items()),
    ]


def _payloads() -> list[Item]:
    many = 1_100_000
    cases = {
        "empty": ("is nothing", b""),
        "list": ("is a list", b"\x93\x01\x02\x03"),
        "number": ("is a number", b"\x07"),
        "cut": ("ends within a str", b"\x81\xa1x\xd9\xffabc"),
        "behind": ("has a second value behind the first", b"\x81\xa1x\x01\xc0"),
        "claims-list": ("claims a list of 4 billion items", b"\x81\xa1x\xdd\xff\xff\xff\xff"),
        "claims-map": ("claims a map of 4 billion pairs", b"\xdf\xff\xff\xff\xff\xa1x\x01"),
        "claims-bytes": ("claims 4 GB of bytes", b"\x81\xa1x\xc6\xff\xff\xff\xff"),
        "claims-deep": (
            "claims lists of 60,000 items 500 deep, 240 MB of empty places",
            b"\x81\xa1x" + (b"\xdd" + (60_000).to_bytes(4, "big")) * 500 + b"\xc0" * 60_000,
        ),
        "deep": ("nests lists 100,000 deep", b"\x81\xa1x" + b"\x91" * 100_000 + b"\xc0"),
        "deep-maps": ("nests maps 400 deep", b"\x81\xa1x" + b"\x81\xa1a" * 400 + b"\xc0"),
        "maps": (
            "is a list of a million empty maps, 64 times as large in memory",
            b"\x81\xa1x\xdd" + many.to_bytes(4, "big") + b"\x80" * many,
        ),
        "twice": ("has a field twice", b"\x82\xa1x\x01\xa1x\x02"),
        "key-number": ("has a number as a field", b"\x81\x01\x02"),
        "key-list": ("has a list as a field", b"\x81\x91\x01\x02"),
        "extension": (
            "has an extension that some read as a Python object",
            b"\x81\xa1x\xc7\x04\x2aos.s",
        ),
        "timestamp": ("has a time that is none", b"\x81\xa1x\xc7\x0c\xff" + b"\xff" * 12),
        "text": ("has a str that is no text", b"\x81\xa1x\xa2\xff\xfe"),
        "pickle": (
            "is a pickle that runs a command",
            b"cos\nsystem\n(S'touch canary-was-here'\ntR.",
        ),
        "reserved": ("has the byte that means nothing", b"\x81\xa1x\xc1"),
    }
    return [Item(f"payloads/{k}.msgpack", t, d) for k, (t, d) in cases.items()]


def npy(header: str | bytes, data: bytes = b"", *, version: int = 1) -> bytes:
    """An array as .npy, its header as it is given."""
    raw = header if isinstance(header, bytes) else header.encode("latin-1")
    size = struct.pack("<H" if version == 1 else "<I", len(raw))
    return b"\x93NUMPY" + bytes((version, 0)) + size + raw + data


def _said(descr: Any, shape: str, *, order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def _arrays() -> list[Item]:
    compact = b"\x03<f4"
    fields = ", ".join(f"('f{i}', '<f4')" for i in range(600))
    cases = {
        "object": ("is an array of Python objects", npy(_said("'|O'", "(1,)"), b"cos\nsystem\n.")),
        "object-field": (
            "hides an object in a field",
            npy(_said("[('a', '<f4'), ('b', '|O')]", "(1,)"), bytes(12)),
        ),
        "object-deep": (
            "hides an object in a field of a field",
            npy(_said("[('a', [('b', [('c', '|O')])])]", "(1,)"), bytes(8)),
        ),
        "object-many": ("hides objects in a str", npy(_said("'i4,O'", "(1,)"), bytes(12))),
        "claims": ("claims 10**18 items", npy(_said("'<f8'", "(1000000000000000000,)"), bytes(8))),
        "claims-product": (
            "claims sizes whose product is beyond 64 bits",
            npy(_said("'<f8'", "(4294967296, 4294967296, 4)"), bytes(8)),
        ),
        "claims-less": ("claims less than is there", npy(_said("'<f8'", "(1,)"), bytes(80))),
        "negative": ("claims a negative size", npy(_said("'<f8'", "(-1,)"), bytes(8))),
        "wide": ("claims an item of 2 GB", npy(_said("'|V2147483647'", "(1,)"), bytes(8))),
        "zero-wide": (
            "has a billion str of no characters, 4 GB in memory",
            npy(_said("'<U0'", "(1000000000,)")),
        ),
        "zero-more": (
            "has 10**18 str of no characters",
            npy(_said("'|S0'", "(1000000000000000000,)")),
        ),
        "dimensions": (
            "has 1,000 dimensions",
            npy(_said("'<f4'", "(" + "1, " * 1000 + ")"), bytes(4)),
        ),
        "code": (
            "has code as its header",
            npy("__import__('os').system('touch canary-was-here')\n"),
        ),
        "code-shape": (
            "has code as its shape",
            npy(_said("'<f4'", "__import__('os').getpid()"), bytes(4)),
        ),
        "parentheses": ("nests parentheses 5,000 deep", npy("(" * 5000 + ")" * 4000 + "\n")),
        "minus": ("has 9,000 minus signs", npy("-" * 9000 + "1\n")),
        "plus": ("adds ones 4,500 times", npy("1" + "+1" * 4500 + "\n")),
        "power": ("has a number that is long to compute", npy(_said("'<f4'", "(9**9**9,)"))),
        "digits": ("has a size of 9,000 digits", npy(_said("'<f4'", "(" + "9" * 9000 + ",)"))),
        "header-long": ("has a header of 4 GB", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"),
        "header-fields": ("has 600 fields", npy(_said(f"[{fields}]", "(1,)"), bytes(4))),
        "header-cut": ("ends within its header", npy(_said("'<f4'", "(1,)"))[:40]),
        "keys": (
            "has other keys",
            npy("{'descr': '<f4', 'shape': (1,), 'load': 'os'}\n", bytes(4)),
        ),
        "version": (
            "is of a version that is none",
            npy(_said("'<f4'", "(1,)"), bytes(4), version=9),
        ),
        "list": ("has a list as its header", npy("[1, 2]\n")),
        "dtype": ("has a dtype that is none", npy(_said("'<q7'", "(1,)"), bytes(8))),
        "dtype-tuple": (
            "has a dtype of dtypes",
            npy(_said("('<f4', (4294967296, 4294967296))", "(1,)"), bytes(4)),
        ),
        "dtype-none": ("has no dtype", npy(_said("None", "(1,)"), bytes(8))),
        "compact-object": (
            "is objects in the compact form",
            b"\x02|O\x01" + struct.pack("<q", 1) + bytes(8),
        ),
        "compact-claims": (
            "claims 2**62 items in the compact form",
            compact + b"\x01" + struct.pack("<q", 2**62) + bytes(4),
        ),
        "compact-negative": (
            "claims a negative size in the compact form",
            compact + b"\x02" + struct.pack("<qq", -1, -4) + bytes(16),
        ),
        "compact-dimensions": ("claims 255 dimensions", compact + b"\xff" + bytes(255 * 8)),
        "compact-cut": ("ends within its shape", compact + b"\x02" + bytes(9)),
        "compact-dtype": (
            "has a str of 10**9 characters as its dtype",
            b"\x0c<U999999999\x00\x00" + bytes(4),
        ),
    }
    return [Item(f"arrays/{k}.npy", t, d) for k, (t, d) in cases.items()]
