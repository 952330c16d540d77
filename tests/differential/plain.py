"""The model's side: samples as dicts, shards by tarfile and msgpack, nothing of the package."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

Sample = dict[str, Any]

WORDS = ("sea", "seal", "sun", "night", "harbour", "map")


def digit(rng: random.Random) -> Sample:
    """A small array of one shape, a number, and text that may be missing."""
    return {
        "image": np.frombuffer(rng.randbytes(6), np.uint8).reshape(2, 3),
        "label": rng.choice((0, 1, 2, -1, 2**40, 2**63, 2**64 - 1, -(2**63))),
        "writer": rng.choice((None, "", "ada", "björn")),
    }


def table(rng: random.Random) -> Sample:
    """Every plain kind, nested."""
    return {
        "x": rng.choice((0.0, -0.0, 1.5, float("inf"), 1e-300, float("nan"))),
        "flag": rng.random() < 0.5,
        "blob": rng.randbytes(rng.randrange(4)),
        "items": [rng.randrange(-3, 300) for _ in range(rng.randrange(4))],
        "rates": {rng.choice(WORDS): rng.random() for _ in range(rng.randrange(3))},
        "pairs": [[rng.choice(WORDS)] * rng.randrange(3) for _ in range(rng.randrange(3))],
    }


def sound(rng: random.Random) -> Sample:
    """Arrays that differ in shape, one of them of no dimensions, one that may be missing."""
    shape = tuple(rng.randrange(4) for _ in range(rng.randrange(1, 3)))
    return {
        "wave": np.full(shape, rng.random(), np.float32),
        "gain": np.array(rng.random()),
        "mask": None if rng.random() < 0.4 else np.arange(rng.randrange(3)) > 0,
    }


MAKERS = {"Digit": digit, "Table": table, "Sound": sound}


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal in type, shape and every bit that counts."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return (
            isinstance(a, np.ndarray)
            and isinstance(b, np.ndarray)
            and (a.dtype, a.shape) == (b.dtype, b.shape)
            and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        )
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return repr(a) == repr(b)
    return type(a) is type(b) and bool(a == b)


def packed(sample: Sample) -> bytes:
    """A sample as somebody else would write it."""
    return bytes(msgpack.packb({name: _wire(value) for name, value in sample.items()}))


def _wire(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    out = io.BytesIO()
    np.save(out, value, allow_pickle=False)
    return out.getvalue()


def write_tar(path: Path, members: list[tuple[str, Sample]], rng: random.Random) -> None:
    """A shard as somebody else would write it, in a format of tar's choice."""
    format = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with tarfile.open(path, "w", format=format) as out:
        for key, sample in members:
            data = packed(sample)
            member = tarfile.TarInfo(f"{key}.msgpack")
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))


def read_tars(paths: list[Path]) -> list[tuple[str, Sample]]:
    """Keys and samples of shards, in order."""
    found = []
    for path in paths:
        with tarfile.open(path) as shard:
            for member in shard:
                stream = shard.extractfile(member)
                assert stream is not None
                key, dot, ending = member.name.rpartition(".")
                assert (dot, ending) == (".", "msgpack")
                found.append((key, _unpacked(stream.read())))
    return found


def _unpacked(payload: bytes) -> Sample:
    def value(wire: Any) -> Any:
        if isinstance(wire, bytes) and wire.startswith(b"\x93NUMPY"):
            return np.load(io.BytesIO(wire), allow_pickle=False)
        return wire

    return {name: value(wire) for name, wire in msgpack.unpackb(payload).items()}


def digests(paths: list[Path]) -> tuple[str, ...]:
    """SHA-256 of each file."""
    return tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)


def in_some_order(a: list[Sample], b: list[Sample]) -> bool:
    """Whether two lists hold the same samples, each as often."""
    return sorted(map(packed, a)) == sorted(map(packed, b))


def fits(query: str, texts: list[str]) -> bool:
    """Whether each word of a query begins a word of the texts."""
    words = " ".join(texts).lower().split()
    return all(any(word.startswith(part) for word in words) for part in query.split())
