"""The samples that go from package to package, and what identifies their content.

Two packages are called ``atdata``, this project and the peer; this module is imported with
either, so that both have the same types and values. Annotations are evaluated at once: the
peer does not know a field for an array when its annotation is a string.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import atdata


@atdata.packable
class Rich:
    """A field of every kind that both packages can store."""

    name: str
    count: int
    ratio: float
    flag: bool
    blob: bytes
    image: NDArray  # type: ignore[type-arg]
    tags: list[str]
    numbers: list[int]
    table: dict[str, int]
    mask: NDArray | None = None  # type: ignore[type-arg]
    note: str | None = None
    rank: int | None = None


@atdata.packable
class Tensor:
    """One array."""

    name: str
    values: NDArray  # type: ignore[type-arg]


@dataclass(frozen=True)
class Case:
    """A sample type and the fields of its samples, in order."""

    sample_type: type[Any]
    rows: list[dict[str, Any]]

    def samples(self) -> list[Any]:
        """The samples, of whichever package is imported."""
        return [self.sample_type(**row) for row in self.rows]

    def digests(self) -> list[dict[str, Any]]:
        """What reading must give."""
        return [digest(row) for row in self.rows]


def digest(fields: dict[str, Any]) -> dict[str, Any]:
    """Field values as JSON can carry them; equal exactly where the values are, arrays included."""
    return {name: _digest(value) for name, value in fields.items()}


def digest_sample(sample: Any, sample_type: type) -> dict[str, Any]:
    """`digest` of a sample of one of the types above."""
    return digest({name: getattr(sample, name) for name in sample_type.__annotations__})


def _digest(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        content = hashlib.sha256(value.tobytes()).hexdigest()
        described = str(np.lib.format.dtype_to_descr(value.dtype))
        return {"dtype": described, "shape": list(value.shape), "sha256": content}
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, list):
        return [_digest(item) for item in value]
    if isinstance(value, dict):
        return {"map": [[key, _digest(item)] for key, item in value.items()]}
    assert value is None or type(value) in (str, int, bool), type(value)
    return value


def _rich() -> list[dict[str, Any]]:
    full: dict[str, Any] = {
        "name": "plain",
        "count": 3,
        "ratio": 0.1,
        "flag": True,
        "blob": b"\x00\xff",
        "image": np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
        "tags": ["a", "b"],
        "numbers": [1, -2, 300, 70_000],
        "table": {"x": 1, "y": -1},
        "mask": np.array([True, False]),
        "note": "seen",
        "rank": 7,
    }
    none = {"mask": None, "note": None, "rank": None}
    return [
        full,
        full | none,
        full | {"name": "", "blob": b"", "tags": [], "numbers": [], "table": {}, "note": ""},
        full | {"name": "größer 数 🙂 \x00", "tags": ["é", ""], "table": {"": 0, "ключ": 2**40}},
        full | {"count": -(2**63), "rank": 2**64 - 1, "ratio": float("inf")},
        full | {"count": 2**63 - 1, "ratio": float("nan"), "flag": False},
        full | {"ratio": -0.0, "rank": 0, "count": 0},
        full | {"ratio": 5e-324, "name": "n" * 300, "blob": bytes(range(256)) * 300},
        full | {"numbers": list(range(70_000, 70_020)), "tags": [str(i) for i in range(40)]},
        full | none | {"image": np.zeros((0, 4), np.float32)},
    ]


def _tensors() -> list[dict[str, Any]]:
    grid = np.arange(6).reshape(2, 3)
    arrays: dict[str, Any] = {
        dtype: grid.astype(dtype)
        for dtype in (
            *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
            *("float16", "float32", "float64", "complex64", "complex128"),
            *(">i2", ">u4", ">f4", ">f8", ">c16", "S3", "U2", ">U2"),
            *("datetime64[ns]", "datetime64[D]", "timedelta64[ms]"),
        )
    }
    arrays |= {
        "0-d": np.array(2.5),
        "0-d of int": np.array(-3, np.int16),
        "empty": np.zeros(0, np.float32),
        "no rows": np.zeros((0, 4), np.int64),
        "no columns": np.zeros((3, 0), np.uint8),
        "one": np.ones((1, 1, 1, 1), np.float64),
        "seven dimensions": np.arange(128, dtype=np.int16).reshape((2,) * 7),
        "Fortran order": np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
        "transposed": np.arange(24, dtype=np.int32).reshape(2, 3, 4).transpose(2, 0, 1),
        "every second": np.arange(20, dtype=np.float64)[::2],
        "reversed": np.arange(5, dtype=np.uint16)[::-1],
        "NaN": np.array([np.nan, np.inf, -np.inf, -0.0], np.float32),
        "records": np.array([(1, 2.5), (3, 4.5)], [("id", "<i4"), ("value", "<f8")]),
        "raw": np.array([b"ab", b"cd"], "V2"),
        "image": (np.arange(32 * 32 * 3) % 251).astype(np.uint8).reshape(32, 32, 3),
    }
    return [{"name": name, "values": array} for name, array in arrays.items()]


CASES: dict[str, Case] = {"rich": Case(Rich, _rich()), "tensor": Case(Tensor, _tensors())}
SHARD_SAMPLES = 4
"""Samples a shard where a case is written to several."""


def shard_count(case: Case) -> int:
    """Shards of a case that is written to several."""
    return -(-len(case.rows) // SHARD_SAMPLES)
