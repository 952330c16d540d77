"""Samples that are gathered are written as they were when they were given."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atdata.errors import EncodeError, NoDataUrlsError, SampleTypeError
from atdata.samples.codec import codec_of
from atdata.shards.row_sources import SampleRows
from atdata.shards.tar.ustar import number_key
from atdata.shards.writer import write_numbered
from tests.shards.parts import Digit, FolderSink, digits, read_all


def write(samples: Any, folder: Path, **options: Any) -> list[tuple[str, Any]]:
    """Write samples of Digit and read them back."""
    sink = FolderSink(folder)
    write_numbered(SampleRows(samples, codec_of(Digit)), sink, stem="x", **options)
    return [found for path in sink.placed for found in read_all(path)]


@pytest.mark.parametrize("side", [4, 300])
def test_an_array_may_be_used_again_for_the_next_sample(side: int, tmp_path: Path) -> None:
    """A stream that fills one array again and again gives each sample as it was."""

    def frames() -> Iterator[Digit]:
        frame = np.zeros((side, side), np.uint8)
        for number in range(150):
            frame[:] = number
            yield Digit(frame, number)

    found = write(frames(), tmp_path, maxcount=40)
    assert [key for key, _ in found] == [number_key(number) for number in range(150)]
    assert all((sample.image == sample.label).all() for _, sample in found)


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_sample_that_does_not_fit_is_named(stream: bool, tmp_path: Path) -> None:
    """Of several invalid values, the first is reported, with sample number and path."""
    samples = digits(2500)
    samples[2200].image = np.zeros(3)  # type: ignore[assignment]
    samples[2100].label = "x"  # type: ignore[assignment]
    with pytest.raises(EncodeError, match=r"^sample 2100: Digit \$\.label: expected int"):
        write(iter(samples) if stream else samples, tmp_path, maxcount=100)
    assert not list(tmp_path.rglob("*.*"))


def test_the_first_is_named_where_several_shards_are_filled_at_once(tmp_path: Path) -> None:
    """An invalid sample at the end of a shard is reported before one in the next."""
    samples = digits(12_000)
    samples[2999].label = "x"  # type: ignore[assignment]
    samples[3000].label = "y"  # type: ignore[assignment]
    samples[9000].word = 5  # type: ignore[assignment]
    with pytest.raises(EncodeError, match=r"^sample 2999: "):
        write(samples, tmp_path, maxcount=3000, fsync=False)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("stream", [False, True])
def test_a_sample_of_another_type_is_named(stream: bool, tmp_path: Path) -> None:
    """What is no sample of the type is refused with its number; nothing is left."""
    samples = [*digits(1500), 5]
    with pytest.raises(SampleTypeError, match=r"Sample 1500: expected Digit .* found int"):
        write(iter(samples) if stream else samples, tmp_path)
    assert not list(tmp_path.rglob("*.*"))


def test_odd_samples_are_written_among_others(tmp_path: Path) -> None:
    """Other shapes and NumPy's own numbers in some samples change nothing for the rest."""
    samples = digits(300)
    samples[7].image = np.zeros((0, 3), np.uint8)
    samples[90].image = np.asfortranarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    samples[91].image = np.arange(40, dtype=np.uint8)[::2]
    samples[150].label = np.int64(5)  # type: ignore[assignment]
    samples[151].label = 2**64 - 1
    samples[200].word = "é" * 300
    found = [sample for _, sample in write(samples, tmp_path)]
    assert found == samples


def test_nothing_to_write_is_an_error(tmp_path: Path) -> None:
    """An empty list makes no shard, and says so."""
    with pytest.raises(NoDataUrlsError):
        write([], tmp_path)


def test_an_interrupt_ends_the_threads(tmp_path: Path) -> None:
    """After Ctrl-C in the middle of large shards, no thread and no file is left."""

    def interrupted() -> Iterator[Digit]:
        for number in range(40):
            yield Digit(np.full(1 << 20, number, np.uint8), number)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(interrupted(), tmp_path, maxcount=7)
    assert not [thread for thread in threading.enumerate() if "atdata-write" in thread.name]
    assert not list(tmp_path.rglob("*.*"))


FULL_DISK = """
import resource, sys
import numpy as np
import atdata
from atdata.stores.disk import DiskDataStore
from tests.shards.parts import Digit
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))  # as a full disk: EFBIG
samples = [Digit(np.zeros(10_000, np.uint8), n) for n in range(700)]
columns = {"image": np.zeros((700, 10_000), np.uint8), "label": np.arange(700)}
ways = {
    "list": lambda: atdata.write_samples(samples, sys.argv[2]),
    "stream": lambda: atdata.write_samples(iter(samples), sys.argv[2]),
    "list, at once": lambda: atdata.write_samples(
        samples, sys.argv[2], maxcount=350, fsync=False
    ),
    "columns": lambda: atdata.write_columns(columns, sys.argv[2], sample_type=Digit),
    "columns, at once": lambda: atdata.write_columns(
        columns, sys.argv[2], sample_type=Digit, maxcount=350, fsync=False
    ),
    "packed": lambda: DiskDataStore(sys.argv[2]).write_shards(
        atdata.write_samples(samples, sys.argv[2] + "-in", maxcount=100), prefix="p", maxcount=700
    ),
}
try:
    ways[sys.argv[1]]()
except atdata.errors.StoreError as error:
    print(error)
"""


WAYS = ["list", "list, at once", "stream", "columns", "columns, at once", "packed"]


@pytest.mark.parametrize("way", WAYS)
def test_a_full_disk_is_told_with_the_shard(way: str, tmp_path: Path) -> None:
    """A disk that takes no more is a StoreError that names the shard; nothing is left of it."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, way, str(tmp_path / "data")],
        capture_output=True,
        text=True,
    )
    expected = r"-00000[01]\.tar: the disk cannot take it \(File too large\)"
    assert re.search(expected, done.stdout), done.stderr
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
