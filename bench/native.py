"""What a native core would bring: ``native.c``, compiled here, and the part that stays in Python.

Not a part of the package, and no example of how one would be made: it reads and writes just the
benchmark's samples. It checks what the package checks; reading has one thread, and memory that is
used again; of writing, each shard has a thread.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import mmap
import os
import shutil
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from bench.contender import BATCH_SIZE
from bench.envs import EnvironmentMissing
from bench.run import SCRATCH
from bench.workloads import Row, Workload

Rows: TypeAlias = "np.ndarray[Any, np.dtype[np.void]]"
"""Where samples are, each a `ROW`."""
Array: TypeAlias = "np.ndarray[Any, Any]"

_SOURCE: Final = Path(__file__).with_name("native.c")
_KINDS: Final = {"array": 0, "ragged": 1, "optional": 1, "int": 2, "str": 3}
_BLOCK: Final = 512
ROW: Final = np.dtype([("payload", "<u8"), ("size", "<i8"), ("key", "<u8"), ("key_size", "<i8")])
_HEAD: Final = struct.Struct("<8sII Q32sQQ I")
_TABLE_HEAD: Final = _HEAD.size + 4
_KEY: Final = 9
_PIECE: Final = 1 << 20
_END: Final = bytes(2 * _BLOCK)


class _Field(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int64),
        ("name", ctypes.c_char_p),
        ("name_size", ctypes.c_int64),
        ("head", ctypes.c_char_p),
        ("head_size", ctypes.c_int64),
        ("open_size", ctypes.c_int64),
        ("unit", ctypes.c_int64),
        ("data", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("ends", ctypes.c_void_p),
        ("width", ctypes.c_int64),
    )


class _Scan(ctypes.Structure):
    _fields_ = (
        ("shard", ctypes.c_void_p),
        ("size", ctypes.c_int64),
        ("at", ctypes.c_int64),
        ("seen", ctypes.c_void_p),
        ("mask", ctypes.c_uint64),
    )


@cache
def library() -> ctypes.CDLL:
    """The compiled functions.

    Raises:
        EnvironmentMissing: There is no compiler, or it fails.
    """
    source = _SOURCE.read_bytes()
    made = SCRATCH / f"native-{hashlib.sha256(source).hexdigest()[:12]}.so"
    if not made.exists():
        cc = shutil.which("cc")
        if cc is None:
            raise EnvironmentMissing("There is no C compiler: `cc` was not found.")
        SCRATCH.mkdir(parents=True, exist_ok=True)
        part = made.with_suffix(f".{os.getpid()}")
        command = [cc, "-O3", "-shared", "-fPIC", "-o", str(part), str(_SOURCE)]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode != 0:
            raise EnvironmentMissing(f"cc failed: {ran.stderr.strip()[:500]}")
        part.replace(made)
    found = ctypes.CDLL(str(made))
    word, place = ctypes.c_int64, ctypes.c_void_p
    for name, kinds in {
        "header_agrees": (place,),
        "place": (place, word, place, word, place, word, place),
        "find": (place, place, word),
        "decode": (place, place, word, place, word, word),
        "build": (place, word, word, word, ctypes.c_char_p, *4 * (place,)),
    }.items():
        function = getattr(found, name)
        function.argtypes, function.restype = kinds, word
    return found


class Odd(Exception):
    """A shard or a sample that is not what the benchmark writes."""


class Mapped:
    """A file as a map of memory."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.bytes = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), "u1")
        self.address = self.bytes.ctypes.data


class Tabled:
    """Shards and their tables, as maps that live as long as this."""

    def __init__(self, paths: list[Path]) -> None:
        self._maps = [(Mapped(path), Mapped(path.with_name(f"{path.name}.idx"))) for path in paths]
        heads = [_HEAD.unpack_from(table.bytes.data) for _, table in self._maps]
        self.rows: Rows = np.empty(sum(head[5] for head in heads), ROW)
        done = 0
        for path, (shard, table), head in zip(paths, self._maps, heads, strict=True):
            magic, _, _, size, _, count, key_bytes, _ = head
            if (
                magic != b"ATDTABLE"
                or size != len(shard.bytes)
                or len(table.bytes) != (_TABLE_HEAD + 24 * count + key_bytes)
            ):
                raise Odd(f"{path}: not its table")
            rows, places = self.rows[done : done + count], table.address + _TABLE_HEAD
            room, keys = rows.ctypes.data, places + 24 * count
            if library().place(shard.address, size, places, count, keys, key_bytes, room) != count:
                raise Odd(f"{path}: a table whose samples lie elsewhere")
            for row in {0, count // 2, count - 1}:
                if not library().header_agrees(room + row * ROW.itemsize):
                    raise Odd(f"{path}: not its table")
            done += count


def check_table(path: Path) -> None:
    """Whether a table is whole; once for each file, as the package does it."""
    data = path.read_bytes()
    *_, crc = _HEAD.unpack_from(data)
    if zlib.crc32(data[_TABLE_HEAD:]) != crc:
        raise Odd(f"{path}: its checksum does not hold")


class Scan:
    """A shard without a table, or whose table is not looked at."""

    def __init__(self, path: Path) -> None:
        self._path, self._shard = path, Mapped(path)
        size = len(self._shard.bytes)
        pairs = 1 << (size // _BLOCK).bit_length()
        self._seen = np.zeros((pairs, 2), np.uint64)
        self._state = _Scan(self._shard.address, size, 0, self._seen.ctypes.data, pairs - 1)

    def find(self, rows: Rows) -> int:
        """Where the next samples are, as many as there is room for; how many: fewer at the end."""
        found = library().find(ctypes.addressof(self._state), rows.ctypes.data, len(rows))
        if found < 0:
            raise Odd(f"{self._path}: odd at byte {self._state.at}")
        return int(found)

    def all(self) -> Rows:
        """Where all of them are that were not found yet."""
        rows = np.empty(len(self._shard.bytes) // (2 * _BLOCK) + 1, ROW)
        return rows[: self.find(rows)]


class Reader:
    """Makes batches, in memory that the next one uses again.

    Args:
        workload: What the samples are.
        samples: Some of them: an array of each field, and the largest.
        npy: Whether arrays are in the ``.npy`` form; else in the compact one.
    """

    def __init__(self, workload: Workload, samples: list[Row], *, npy: bool) -> None:
        self._kinds = workload.kinds
        self._memory: dict[str, Array] = {}
        self._bounds: dict[str, Array] = {}
        self._fields = (_Field * len(workload.kinds))()
        for field, (name, kind) in zip(self._fields, workload.kinds.items(), strict=True):
            values = [row[name] for row in samples if row[name] is not None]
            example = None if kind in ("int", "str") else values[0]
            _describe(field, name, kind, example, npy=npy)
            if kind == "array":
                memory = np.zeros((BATCH_SIZE, *values[0].shape), values[0].dtype)
            elif kind == "int":
                memory = np.zeros(BATCH_SIZE, np.int64)
            else:
                dtype = "u1" if example is None else example.dtype
                memory = np.zeros(BATCH_SIZE * max(map(len, values)), dtype)
                self._bounds[name] = np.zeros((2, BATCH_SIZE), np.int64)
                field.starts, field.ends = (bound.ctypes.data for bound in self._bounds[name])
            self._memory[name] = memory
            field.data = memory.ctypes.data
        self._at = ctypes.addressof(self._fields)

    def batches(self, rows: Rows, order: Array, *, headers: bool) -> Iterator[dict[str, Any]]:
        """The rows in this order; whether their headers are compared with their keys."""
        decode, count = library().decode, len(self._fields)
        place, first = order.ctypes.data, rows.ctypes.data
        for start in range(0, len(order), BATCH_SIZE):
            n = min(BATCH_SIZE, len(order) - start)
            done = decode(first, place + 8 * start, n, self._at, count, headers)
            if done != n:
                raise Odd(f"sample {order[start + done]} is odd")
            yield {
                name: self._column(name, kind, n, field)
                for (name, kind), field in zip(self._kinds.items(), self._fields, strict=True)
            }

    def _column(self, name: str, kind: str, n: int, field: Any) -> Any:
        memory = self._memory[name]
        if kind == "array":
            return memory[:n]
        if kind == "int":
            return memory[:n].tolist()
        starts, ends = self._bounds[name][:, :n]
        if kind != "str":
            return [
                None if start < 0 else memory[start:end]
                for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
            ]
        text, width = str(memory.data[: int(ends[-1])], "ascii"), field.width
        if width > 0:
            return [text[start : start + width] for start in range(0, len(text), width)]
        return [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def _describe(field: Any, name: str, kind: str, example: Any, *, npy: bool) -> None:
    """Say what a field is, but not where its data are."""
    head = b"" if example is None else _array_head(example, npy=npy)
    field.kind, field.name = _KINDS[kind], bytes([0xA0 | len(name)]) + name.encode()
    field.name_size, field.head, field.head_size = len(name) + 1, head, len(head)
    field.open_size = head.index(b"(") + 1 if head and npy else len(head) - 8
    field.unit = 1
    if example is not None:
        field.unit = example.nbytes if kind == "array" else example.itemsize


def _array_head(array: Array, *, npy: bool) -> bytes:
    if npy:
        file = io.BytesIO()
        np.save(file, array)
        return file.getvalue()[: -array.nbytes]
    dtype: bytes = array.dtype.str.encode()
    shape = np.array(array.shape, "<i8").tobytes()
    return bytes([len(dtype), *dtype, array.ndim]) + shape


class Writer:
    """Writes columns of samples to shards.

    Args:
        workload: What the samples are.
        columns: Field name → array of all samples, or list.
    """

    def __init__(self, workload: Workload, columns: dict[str, Any]) -> None:
        self._build = library().build
        self._kept: list[Array] = []
        self._fields = (_Field * len(workload.kinds))()
        most = _BLOCK + 1
        for field, (name, kind) in zip(self._fields, workload.kinds.items(), strict=True):
            column, longest = columns[name], 1
            if kind in ("array", "int"):
                _describe(field, name, kind, column[0] if kind == "array" else None, npy=True)
                data: Array = column
            elif kind == "str":
                _describe(field, name, kind, None, npy=True)
                data = np.frombuffer("".join(column).encode("ascii"), "u1")
                longest = self._place(field, [len(text) for text in column])
            else:
                there = [array for array in column if array is not None]
                _describe(field, name, kind, there[0], npy=True)
                data = np.concatenate(there)
                longest = self._place(field, [-1 if a is None else len(a) for a in column])
            most += field.name_size + 9 + field.head_size + longest * field.unit
            self._kept.append(data)
            field.data = data.ctypes.data
        self._run = max(1, _PIECE // (most + _BLOCK))
        self._most = self._run * (most + _BLOCK)
        header = bytearray(tarfile.TarInfo("000000000.msgpack").tobuf(tarfile.USTAR_FORMAT))
        header[148:156], header[329:345] = b"000000\0 ", b"0000000\0" * 2
        self._header = bytes(header)

    def _place(self, field: Any, lengths: list[int]) -> int:
        sizes = np.array(lengths)
        ends = np.maximum(sizes, 0).cumsum()
        starts = np.where(sizes < 0, -1, ends - sizes)
        self._kept += starts, ends
        field.starts, field.ends = starts.ctypes.data, ends.ctypes.data
        return int(sizes.max())

    def write(self, path: Path, rows: range, *, fsync: bool) -> None:
        """Write some of the rows to a shard, and its table; each shard may have its thread."""
        piece, places = np.empty(self._most, np.uint8), np.empty((2, len(rows)), np.int64)
        keys, hashed, size = np.empty((len(rows), _KEY), np.uint8), hashlib.sha256(), 0
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(rows), self._run):
                part = places[:, start : start + self._run]
                built = self._build(
                    ctypes.addressof(self._fields),
                    len(self._fields),
                    rows.start + start,
                    part.shape[1],
                    self._header,
                    piece.ctypes.data,
                    part[0].ctypes.data,
                    part[1].ctypes.data,
                    keys[start:].ctypes.data,
                )
                part[0] += size
                size += file.write(piece.data[:built])
                hashed.update(piece.data[:built])
            size += file.write(_END)
            hashed.update(_END)
            if fsync:
                os.fsync(file.fileno())
        ends = np.arange(_KEY, keys.size + 1, _KEY)
        body = places.tobytes() + ends.tobytes() + keys.tobytes()
        counts = len(rows), keys.size, zlib.crc32(body)
        head = _HEAD.pack(b"ATDTABLE", 1, 0, size, hashed.digest(), *counts)
        table = head + struct.pack("<I", zlib.crc32(head)) + body
        path.with_name(f"{path.name}.idx").write_bytes(table)
