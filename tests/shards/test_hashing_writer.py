"""A file is hashed and synced while it is written, and errors of either reach the writer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from atdata.shards.hashing_writer import HashingWriter


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


in_background = pytest.mark.parametrize("in_background", [False, True])


def writer_of(fileno: int, pool: Executor, *, in_background: bool) -> HashingWriter:
    """A writer that waits for the disk."""
    return HashingWriter(fileno, pool, in_background=in_background, fsync=True)


@in_background
@pytest.mark.parametrize("pieces", [[1], [4096, 4097, 1], [5_000_001] * 7, [30_000_000, 3]])
def test_the_hash_is_that_of_the_file(
    pieces: list[int], in_background: bool, pool: Executor, tmp_path: Path
) -> None:
    """However much is written at once, file and hash are those of all bytes in their order."""
    expected = hashlib.sha256()
    with (tmp_path / "file").open("x+b", buffering=0) as file:
        writer = writer_of(file.fileno(), pool, in_background=in_background)
        for number, size in enumerate(pieces):
            part = bytes([number]) * size
            writer.write([part[: size // 3], part[size // 3 :]], size)
            expected.update(part)
        writer.write([b"the end"], 7, last=True)
        found = writer.result()
    expected.update(b"the end")
    assert found == expected.hexdigest()
    assert found == hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()


@in_background
def test_memory_may_be_used_again_when_it_is_written(
    in_background: bool, pool: Executor, tmp_path: Path
) -> None:
    """What changes after it is said to be written is neither in the file nor in the hash."""
    memory = np.empty(3_000_000, np.uint8)
    with (tmp_path / "file").open("x+b", buffering=0) as file:
        writer = writer_of(file.fileno(), pool, in_background=in_background)
        for number in range(9):
            memory[:] = number
            writer.write([memory], len(memory)).wait()
        memory[:] = 99
        writer.write([b""], 0, last=True)
        found = writer.result()
    expected = np.repeat(np.arange(9, dtype=np.uint8), len(memory)).tobytes()
    assert (tmp_path / "file").read_bytes() == expected
    assert found == hashlib.sha256(expected).hexdigest()


@in_background
def test_a_disk_that_fails_is_told(in_background: bool, pool: Executor) -> None:
    """What a thread could not bring to the disk is an error for whoever waits."""
    reading, writing = os.pipe()  # which has no disk to be brought to
    try:
        writer = writer_of(writing, pool, in_background=in_background)
        writer.write([b"12345"], 5, last=True)
        with pytest.raises(OSError, match=r"Invalid argument|Illegal seek"):
            writer.result()
    finally:
        os.close(reading)
        os.close(writing)


@in_background
def test_a_file_that_is_cut_meanwhile_is_an_error(
    in_background: bool, pool: Executor, tmp_path: Path
) -> None:
    """Bytes that are gone when they are to be hashed do not go unnoticed."""
    with (tmp_path / "file").open("x+b", buffering=0) as file:
        writer = writer_of(file.fileno(), pool, in_background=in_background)
        writer.write([b"x" * 100], 100).wait()
        file.truncate(99)
        writer.write([b""], 0, last=True)
        with pytest.raises(OSError, match="became shorter"):
            writer.result()
