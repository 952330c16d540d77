"""What goes wrong beside the writing is told to the writer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from atdata.shards.hashing_writer import Trail


@pytest.fixture
def crew() -> Iterator[Executor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


beside = pytest.mark.parametrize("beside", [False, True])


def trail_of(fileno: int, crew: Executor, *, beside: bool) -> Trail:
    """A trail that waits for the disk."""
    return Trail(fileno, crew, beside=beside, fsync=True)


@beside
@pytest.mark.parametrize("pieces", [[1], [4096, 4097, 1], [5_000_001] * 7, [30_000_000, 3]])
def test_the_hash_is_that_of_the_file(
    pieces: list[int], beside: bool, crew: Executor, tmp_path: Path
) -> None:
    """However much is written at once, file and hash are those of all bytes in their order."""
    expected = hashlib.sha256()
    with (tmp_path / "file").open("x+b", buffering=0) as file:
        trail = trail_of(file.fileno(), crew, beside=beside)
        for number, size in enumerate(pieces):
            part = bytes([number]) * size
            trail.take([part[: size // 3], part[size // 3 :]], size)
            expected.update(part)
        trail.take([b"the end"], 7, last=True)
        found = trail.result()
    expected.update(b"the end")
    assert found == expected.hexdigest()
    assert found == hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()


@beside
def test_memory_may_be_used_again_when_it_is_written(
    beside: bool, crew: Executor, tmp_path: Path
) -> None:
    """What changes after it is said to be written is neither in the file nor in the hash."""
    memory = np.empty(3_000_000, np.uint8)
    with (tmp_path / "file").open("x+b", buffering=0) as file:
        trail = trail_of(file.fileno(), crew, beside=beside)
        for number in range(9):
            memory[:] = number
            trail.take([memory], len(memory)).wait()
        memory[:] = 99
        trail.take([b""], 0, last=True)
        found = trail.result()
    expected = np.repeat(np.arange(9, dtype=np.uint8), len(memory)).tobytes()
    assert (tmp_path / "file").read_bytes() == expected
    assert found == hashlib.sha256(expected).hexdigest()


@beside
def test_a_disk_that_fails_is_told(beside: bool, crew: Executor) -> None:
    """What a thread could not bring to the disk is an error for whoever waits."""
    reading, writing = os.pipe()  # which has no disk to be brought to
    try:
        trail = trail_of(writing, crew, beside=beside)
        trail.take([b"12345"], 5, last=True)
        with pytest.raises(OSError, match=r"Invalid argument|Illegal seek"):
            trail.result()
    finally:
        os.close(reading)
        os.close(writing)


@beside
def test_a_file_that_is_cut_meanwhile_is_an_error(
    beside: bool, crew: Executor, tmp_path: Path
) -> None:
    """Bytes that are gone when they are to be hashed do not go unnoticed."""
    with (tmp_path / "file").open("x+b", buffering=0) as file:
        trail = trail_of(file.fileno(), crew, beside=beside)
        trail.take([b"x" * 100], 100).wait()
        file.truncate(99)
        trail.take([b""], 0, last=True)
        with pytest.raises(OSError, match="became shorter"):
            trail.result()
