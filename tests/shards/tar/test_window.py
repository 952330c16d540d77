"""Chunks of a stream, read ahead or not: all of it, in order, its errors in their place."""

from __future__ import annotations

import gc
import io
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdata.errors import SourceError
from atdata.samples.codec import codec_of
from atdata.samples.packable import packable
from atdata.shards.reader import read_blocks
from atdata.shards.tar import window as module
from atdata.shards.tar.window import MappedFile, StreamChunks
from tests.shards.parts import packed, tar_of


@packable
class Piece:
    """Some bytes."""

    data: NDArray[np.uint8]


class Trickle(io.RawIOBase):
    """A stream that gives as much at a time as it likes, and may break."""

    def __init__(self, data: bytes, pieces: list[int], breaks_at: int | None = None) -> None:
        super().__init__()
        self._data = io.BytesIO(data)
        self._pieces = pieces
        self._breaks_at = breaks_at
        self._reads = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        most = self._pieces[self._reads % len(self._pieces)]
        self._reads += 1
        if self._breaks_at is not None and self._data.tell() >= self._breaks_at:
            raise SourceError("the line is dead")
        return self._data.readinto(memoryview(buffer)[:most])


def pieces(sizes: list[int]) -> list[Piece]:
    """Samples of these sizes."""
    return [Piece(np.full(size, i % 251, np.uint8)) for i, size in enumerate(sizes)]


def tar(samples: list[Piece]) -> bytes:
    """A shard of them."""
    return tar_of([(f"{p.key}.msgpack", p.payload) for p in packed(samples)])


def read(window: StreamChunks) -> list[Piece]:
    """Every sample of a window."""
    blocks = read_blocks(window, shard="x.tar", codec=codec_of(Piece))
    return [sample for block in blocks for sample in block.samples()]


SIZES = st.sampled_from([0, 1, 400, 40_000, 300_000, 1_500_000])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(SIZES, max_size=25),
    st.lists(st.sampled_from([1000, 4096, 70_000, 1 << 24]), min_size=1, max_size=3),
    st.booleans(),
)
def test_chunks_are_the_stream(sizes: list[int], reads: list[int], ahead: bool) -> None:
    """Samples of any size come whole out of a stream that gives what it likes."""
    samples = pieces(sizes)
    stream: Any = Trickle(tar(samples), reads)
    window = StreamChunks(stream, ahead=ahead)
    assert read(window) == samples
    window.close()


@pytest.mark.parametrize("ahead", [True, False])
def test_an_error_comes_after_what_was_read_before_it(ahead: bool) -> None:
    """An error comes where it occurs, after every sample of earlier chunks."""
    samples = pieces([40_000] * 100)
    stream: Any = Trickle(tar(samples), [1 << 24], breaks_at=1_000_000)
    window = StreamChunks(stream, ahead=ahead)
    found: list[Piece] = []
    blocks = read_blocks(window, shard="x.tar", codec=codec_of(Piece))
    with pytest.raises(SourceError, match="the line is dead"):
        found.extend(sample for block in blocks for sample in block.samples())
    assert found == samples[: len(found)]
    assert found


def test_what_is_read_no_more_is_closed() -> None:
    """A window that is closed in the middle closes its stream and ends its thread."""
    before = threading.active_count()
    stream: Any = Trickle(tar(pieces([40_000] * 400)), [1 << 24])
    window = StreamChunks(stream, ahead=True)
    next(read_blocks(window, shard="x.tar", codec=codec_of(Piece)))
    window.close()
    for thread in threading.enumerate():
        if thread.name.startswith("atdata-ahead"):
            thread.join(10)
    assert stream.closed
    assert threading.active_count() <= before


@pytest.mark.filterwarnings("error")
def test_files_are_let_go_of_after_modules_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the interpreter ends, names of modules are None before the last objects go."""
    path = tmp_path / "x.tar"
    path.write_bytes(bytes(1024))
    window = MappedFile(path)
    number = window.number
    with monkeypatch.context() as gone:
        for name in ("os", "mmap"):
            gone.setattr(module, name, None, raising=False)
        del window
        gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
