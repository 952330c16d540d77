"""What goes wrong beside the writing is told to the writer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

from atdata.shards.trail import Trail


@pytest.fixture
def crew() -> Iterator[Executor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.mark.parametrize("pieces", [[1], [4096, 4097, 1], [5_000_001] * 7, [30_000_000, 3]])
def test_the_hash_is_that_of_the_file(pieces: list[int], crew: Executor, tmp_path: Path) -> None:
    """However much is written at once, the hash is that of all bytes in their order."""
    with (tmp_path / "file").open("x+b", buffering=0) as file:
        trail = Trail(file.fileno(), crew)
        for number, size in enumerate(pieces):
            file.write(bytes([number]) * size)
            trail.follow(size)
        trail.end()
        found = trail.result()
    assert found == hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()


def test_a_disk_that_fails_is_told(crew: Executor) -> None:
    """What a thread could not bring to the disk is an error for whoever waits."""
    reading, writing = os.pipe()  # which has no disk to be brought to
    try:
        trail = Trail(writing, crew)
        trail.follow(5)
        trail.end()
        with pytest.raises(OSError, match="Invalid argument"):
            trail.result()
        trail.close()
    finally:
        os.close(reading)
        os.close(writing)


def test_a_file_that_is_cut_meanwhile_is_an_error(crew: Executor, tmp_path: Path) -> None:
    """Bytes that are gone when they are to be hashed do not go unnoticed."""
    with (tmp_path / "file").open("x+b", buffering=0) as file:
        trail = Trail(file.fileno(), crew)
        file.write(b"x" * 100)
        trail.follow(101)
        trail.end()
        with pytest.raises(OSError, match="became shorter"):
            trail.result()
