"""write_samples killed at any step: all samples of one call or of the other, and nothing left."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.errors import AtdataError, IntegrityError, NoDataUrlsError, SourceError
from atdata.shards.replacing import UNFINISHED


@atdata.packable
@dataclass
class Sample:
    """Which call wrote it, and its number."""

    call: int
    number: int


@atdata.packable
@dataclass
class Large:
    """The same with an array of some megabytes."""

    call: int
    number: int
    array: NDArray[np.uint8]


def write(folder: Path, call: int, samples: int, *, fsync: bool = False) -> atdata.Dataset[Sample]:
    """Write a dataset in shards of five samples."""
    made = [Sample(call, number) for number in range(samples)]
    return atdata.write_samples(made, folder / "x.tar", maxcount=5, fsync=fsync)


def in_child(work: Callable[[], object], *, killed_at: int | None = None) -> bool:
    """Run in a forked child, killed before its nth step on files; whether it came to the end."""
    pid = os.fork()
    if not pid:
        steps = count()

        def hook(event: str, arguments: object) -> None:
            changes = event.startswith("os.") and event != "os.listdir" and event != "os.scandir"
            if changes and next(steps) == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status) == 0


def read(path: Path | str) -> tuple[int, int] | None:
    """The call whose samples are read, all of them, and their number; None: there are none."""
    try:
        samples = list(atdata.Dataset[Sample](path))
    except NoDataUrlsError:
        return None
    (call,) = {sample.call for sample in samples}
    assert [sample.number for sample in samples] == list(range(len(samples)))
    return call, len(samples)


WAYS = ["x-*.tar", "", "x-{000000..%06d}.tar"]


@pytest.mark.parametrize(("old", "new"), [(0, 15), (15, 15), (10, 20)])
def test_killed_at_any_step_all_samples_are_old_or_new(old: int, new: int, tmp_path: Path) -> None:
    """However the folder is opened; and the next call leaves only its shards."""
    seen = set()
    for step in count():
        folder = tmp_path / str(step)
        if old:
            write(folder, 1, old)
        done = in_child(lambda folder=folder: write(folder, 2, new), killed_at=step)  # type: ignore[misc]
        way = WAYS[step % 3] % (new // 5 - 1) if step % 3 == 2 else WAYS[step % 3]
        if step % 3 == 2 and not (folder / f"x-{new // 5 - 1:06d}.tar").exists():
            way = "x-*.tar"
        found = read(folder / way)
        assert found in ((1, old) if old else None, (2, new))
        seen.add(found)
        write(folder, 3, 20)
        assert read(folder) == (3, 20)
        names = {f"x-{n:06d}.tar{end}" for n in range(4) for end in ("", ".idx")}
        names.add("x.atdata.json")
        assert {path.name for path in folder.iterdir()} == names
        shutil.rmtree(folder)
        if done:
            break
    assert len(seen) == 2


def stopped_half_way(folder: Path) -> None:
    """A dataset of three shards, of which one is new."""
    for step in count():
        shutil.rmtree(folder, ignore_errors=True)
        write(folder, 1, 15)
        assert not in_child(lambda: write(folder, 2, 15), killed_at=step)
        mixed = {path.stat().st_ino for path in folder.glob("*.tar")}
        if (folder / ".x.replacing").is_symlink() and len(
            [*folder.glob(f"{UNFINISHED}/*/.x-*.part")]
        ) == 2:
            assert len(mixed) == 3
            return


def test_what_cannot_be_completed_is_an_error(tmp_path: Path) -> None:
    """Copied without its scratch folder, a mixture is named as one, and can be written again."""
    stopped_half_way(tmp_path / "a")
    shutil.rmtree(tmp_path / "a" / UNFINISHED)
    for path in (tmp_path / "a", tmp_path / "a" / "x-000001.tar"):
        with pytest.raises(SourceError, match=r"old and new shards x-… are mixed"):
            read(path)
    write(tmp_path / "a", 3, 15)
    assert read(tmp_path / "a") == (3, 15)


def test_nothing_that_a_link_of_others_names_is_moved(tmp_path: Path) -> None:
    """A planted link, or list of names, moves no file from or to elsewhere."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "moves.json").write_text('{"link": ".x.replacing", "moves": {"key": "x-key"}}')
    (secret / "key").write_text("mine")
    write(tmp_path / "a", 1, 15)
    (tmp_path / "a" / ".x.replacing").symlink_to(secret)
    with pytest.raises(SourceError, match="leads elsewhere"):
        read(tmp_path / "a")
    stopped_half_way(tmp_path / "b")
    (moves,) = (tmp_path / "b" / UNFINISHED).glob("*/moves.json")
    moves.write_text('{"moves": {"../../../secret/key": "x-key"}}')
    with pytest.raises(SourceError, match="names other files"):
        read(tmp_path / "b")
    assert (secret / "key").read_text() == "mine"


def test_scratch_folders_of_killed_writers_are_removed_and_no_others(tmp_path: Path) -> None:
    """Of writers that run at the same time none loses its folder, and what the dead left goes."""
    there: list[int] = []

    def large(call: int, number: int) -> Large:
        return Large(call, number, np.zeros(2 << 20, np.uint8))

    def killed() -> None:
        def samples() -> Iterator[Large]:
            yield from (large(0, number) for number in range(5))
            os.kill(os.getpid(), signal.SIGKILL)

        atdata.write_samples(samples(), tmp_path / "y.tar", maxcount=1)

    def look() -> None:
        there.append(sum(path.is_dir() for path in (tmp_path / UNFINISHED).iterdir()))

    def alive() -> Iterator[Large]:
        for number in range(10):
            if number == 5:
                look()
                assert not in_child(killed)
                look()
                assert not in_child(killed)
                look()
                write(tmp_path, 1, 10)
                look()
            yield large(2, number)

    atdata.write_samples(alive(), tmp_path / "z.tar", maxcount=1)
    assert there == [1, 2, 2, 1]
    assert read(tmp_path / "x-*.tar") == (1, 10)
    assert [sample.number for sample in atdata.Dataset[Large](tmp_path / "z-*.tar")] == [*range(10)]
    assert not (tmp_path / UNFINISHED).exists()


def test_a_reader_gets_one_of_the_datasets_that_a_writer_writes(tmp_path: Path) -> None:
    """Opened while another process writes the path again and again: one of them, or an error."""
    write(tmp_path, 0, 15)
    pid = os.fork()
    if not pid:
        for call in range(1, 10**6):
            write(tmp_path, call, 15)
            if (tmp_path / "stop").exists():
                os._exit(0)
    outcomes = {"read": 0, "reported": 0}
    end = time.monotonic() + 1.5
    try:
        while time.monotonic() < end:
            try:
                found = read(tmp_path)
                assert found is not None
                assert found[1] == 15
                outcomes["read"] += 1
            except AtdataError:
                outcomes["reported"] += 1
    finally:
        (tmp_path / "stop").touch()
        os.waitpid(pid, 0)
    assert outcomes["read"]


def test_a_dataset_that_was_opened_before_is_not_read_on_with_others(tmp_path: Path) -> None:
    """Shards that are replaced while a reader is between two of them are an error."""
    write(tmp_path, 1, 15)
    dataset = atdata.Dataset[Sample](tmp_path)
    reading = iter(dataset)
    assert next(reading).call == 1
    write(tmp_path, 2, 15)
    with pytest.raises(IntegrityError, match="changed since it was opened"):
        assert {sample.call for sample in reading} == {1}
    assert read(tmp_path) == (2, 15)
