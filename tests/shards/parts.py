"""What the tests of shards share: a sink, sample types, tars of any form."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import atdata._shardlist as shardlist
from atdata.samples.codec import codec_of
from atdata.samples.packable import PackableSample
from atdata.shards.reader import read_blocks
from atdata.shards.writer import PackedSample, write_keyed


class Digit(PackableSample):
    """Image, label and a word."""

    image: NDArray[np.uint8]
    label: int
    word: str = ""


class FolderSink:
    """A folder that takes shards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.placed: list[Path] = []
        (folder / "scratch").mkdir(parents=True, exist_ok=True)

    def scratch(self) -> Path:
        return self.folder / "scratch"

    def accept(self, name: str, file: Path, info: shardlist.ShardInfo) -> str:
        target = self.folder / name
        shutil.move(file, target)
        self.placed.append(target)
        return str(target)

    def discard(self) -> None:
        for path in self.placed:
            path.unlink()
        self.placed.clear()


def digits(count: int) -> list[Digit]:
    """Samples with fields that differ from one to the next."""
    rng = np.random.default_rng(7)
    return [
        Digit(rng.integers(0, 256, (4, 4), dtype=np.uint8), i * 37, f"word {i}")
        for i in range(count)
    ]


def packed(samples: Iterable[Any]) -> list[PackedSample]:
    """Samples under numbered keys."""
    return [PackedSample(f"{i:06d}", codec_of(type(s)).pack(s)) for i, s in enumerate(samples)]


def shard_of(samples: Iterable[Any], folder: Path) -> Path:
    """One shard of samples."""
    sink = FolderSink(folder)
    write_keyed(packed(samples), sink, stem="data", maxcount=10**9)
    return sink.placed[0]


def tar_of(
    members: Sequence[tuple[str, bytes]], *, format: int = tarfile.USTAR_FORMAT, **fields: Any
) -> bytes:
    """A tar as Python writes it; ``fields`` are set on every member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def read_all(data: bytes | Path, sample_type: type[Any] = Digit) -> list[tuple[str, Any]]:
    """Keys and samples of a shard, read from a path or as a stream."""
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    blocks = read_blocks(source, shard="data-000000.tar", codec=codec_of(sample_type))
    return [pair for block in blocks for pair in zip(block.keys, block.samples(), strict=True)]
