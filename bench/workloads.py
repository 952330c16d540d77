"""The samples that every contender writes and reads: small, large, tiny and ragged."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np

Row: TypeAlias = dict[str, Any]
"""One sample: field name → array, int, str or None."""

SHARDS: Final = 4
"""Shards of a dataset."""


@dataclass(frozen=True)
class Workload:
    """Samples of one sort."""

    name: str
    title: str
    kinds: dict[str, str]
    """Field name → ``array`` (one shape), ``ragged``, ``optional`` (an array or None), int, str."""
    make: Callable[[np.random.Generator, int], Row]

    def rows(self, count: int) -> list[Row]:
        """The first ``count`` samples; the same in every process."""
        random = np.random.default_rng(len(self.title))
        return [self.make(random, i) for i in range(count)]

    def arrays(self) -> Row:
        """An array of each field whose arrays all have one shape."""
        return _arrays(self.name)

    def named(self, sort: str) -> list[str]:
        """Names of the fields of one sort."""
        return [name for name, kind in self.kinds.items() if kind == sort]


def _features(random: np.random.Generator, i: int) -> Row:
    features = random.standard_normal(128, np.float32)
    return {"features": features, "label": int(random.integers(1000)), "name": f"item-{i:07d}"}


def _image(random: np.random.Generator, i: int) -> Row:
    image = random.integers(0, 256, (224, 224, 3), np.uint8)
    return {"image": image, "label": int(random.integers(1000))}


def _embedding(random: np.random.Generator, i: int) -> Row:
    return {"x": random.standard_normal(8, np.float32), "label": int(random.integers(1000))}


def _varied(random: np.random.Generator, i: int) -> Row:
    features = random.standard_normal(int(random.integers(50, 501)), np.float32)
    extra = random.standard_normal(16, np.float32) if random.random() < 0.5 else None
    return {"features": features, "name": f"item-{i}", "extra": extra}


WORKLOADS: Final = {
    workload.name: workload
    for workload in (
        Workload(
            "F",
            "{float32[128], int, str}",
            {"features": "array", "label": "int", "name": "str"},
            _features,
        ),
        Workload("I", "{uint8[224,224,3], int}", {"image": "array", "label": "int"}, _image),
        Workload("E", "{float32[8], int}", {"x": "array", "label": "int"}, _embedding),
        Workload(
            "V",
            "{float32[50…500], str, optional float32[16]}",
            {"features": "ragged", "name": "str", "extra": "optional"},
            _varied,
        ),
    )
}


@cache
def _arrays(workload: str) -> Row:
    (row,) = WORKLOADS[workload].rows(1)
    return {name: row[name] for name in WORKLOADS[workload].named("array")}


def fingerprints(rows: Iterable[Row]) -> list[int]:
    """A number for each sample, equal only for equal samples."""
    return [_fingerprint(row) for row in rows]


def _fingerprint(row: Row) -> int:
    crc = 0
    for name in sorted(row):
        value = row[name]
        if isinstance(value, np.ndarray):
            head, body = f"{name} {value.dtype.str} {value.shape}", value.tobytes()
        else:
            plain = value.item() if isinstance(value, np.generic) else value
            head, body = name, repr(plain).encode()
        crc = zlib.crc32(body, zlib.crc32(head.encode(), crc))
    return crc


def rows_of(columns: dict[str, Any]) -> list[Row]:
    """A batch as samples: what a column holds at each position."""
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
