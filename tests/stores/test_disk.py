"""A folder as a store: atomic, never overwriting, never leading out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import atdata
from atdata.errors import OptionError, StoreError, UrlError
from atdata.stores.disk import DiskDataStore
from tests.stores.parts import Photo, Watched, photos


def test_written_and_read_by_its_paths(tmp_path: Path) -> None:
    """Shards have their prefix and number, are read by path, and by others of the system."""
    store = DiskDataStore(tmp_path / "store")
    urls = store.write_shards(photos(tmp_path), prefix="photos/v1")
    folder = tmp_path / "store" / "photos" / "v1"
    assert list(urls) == [str(folder / f"data-{n:06d}.tar") for n in range(3)]
    assert [sample.label for sample in atdata.Dataset[Photo](folder)] == list(range(60))
    probe = tmp_path / "probe"
    probe.touch()
    assert {Path(url).stat().st_mode for url in urls} == {probe.stat().st_mode}


def test_the_folder_is_made_when_needed_only(tmp_path: Path) -> None:
    """Making the store touches nothing."""
    DiskDataStore(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_folder_fails_at_once(tmp_path: Path) -> None:
    """A file, a URL or nothing in place of the folder says so when the store is made."""
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StoreError, match="is not a folder"):
        DiskDataStore(file)
    for wrong in ("", "s3://bucket", None):
        with pytest.raises(OptionError):
            DiskDataStore(wrong)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_made_is_found_before_anything_is_read(tmp_path: Path) -> None:
    """Where the folder cannot be, the error says so, and the dataset was not opened."""
    (tmp_path / "file").touch()
    source = Watched(photos(tmp_path).source)
    store = DiskDataStore(tmp_path / "file" / "below")
    with pytest.raises(StoreError, match="cannot be written"):
        store.write_shards(atdata.Dataset[Photo](source), prefix="p")
    assert source.opened == []


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    """The same shards are left as they are, to the time of change."""
    store = DiskDataStore(tmp_path / "store")
    first = store.write_shards(photos(tmp_path), prefix="p")
    times = [Path(url).stat().st_mtime_ns for url in first]
    assert store.write_shards(photos(tmp_path), prefix="p") == first
    assert [Path(url).stat().st_mtime_ns for url in first] == times


def test_several_writers_at_once_agree(tmp_path: Path) -> None:
    """Several writers of the same dataset under the same prefix end with the same shards."""
    store = DiskDataStore(tmp_path / "store")
    datasets = [photos(tmp_path / str(n)) for n in range(4)]
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(store.write_shards, ds, prefix="p") for ds in datasets]
    assert len({tuple(future.result()) for future in futures}) == 1


def test_after_a_bad_sample_nothing_stays(tmp_path: Path) -> None:
    """When a sample is at fault, neither shards nor half ones nor their folder are left."""

    def check(photo: Photo) -> Photo:
        if photo.label == 45:
            raise ArithmeticError("bad photo")
        return photo

    store = DiskDataStore(tmp_path / "store")
    with pytest.raises(ArithmeticError):
        store.write_shards(photos(tmp_path).map(check), prefix="p")
    assert [p for p in (tmp_path / "store").rglob("*") if p.is_file()] == []
    assert not (tmp_path / "store" / "p").exists()


PROGRAM = """
import os, sys
from pathlib import Path
from atdata.stores.disk import DiskDataStore
from tests.stores.parts import photos

def tell(photo):
    if photo.label == 65:
        print("at 65", flush=True)
        sys.stdin.read()
    return photo

DiskDataStore(sys.argv[1]).write_shards(photos(Path(sys.argv[2]), 80).map(tell), prefix="p")
"""


def test_a_killed_writer_leaves_whole_shards_only(tmp_path: Path) -> None:
    """Killed within the fourth shard, what is there is whole; a second run adds the rest."""
    writer = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "store"), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"at 65\n"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    folder = tmp_path / "store" / "p"
    done = sorted(p.name for p in folder.glob("*.tar"))
    assert done == [f"data-{number:06d}.tar" for number in range(len(done))]
    assert len(done) in (1, 2)
    assert [s.label for s in atdata.Dataset[Photo](folder)] == list(range(20 * len(done)))
    DiskDataStore(tmp_path / "store").write_shards(photos(tmp_path, 80), prefix="p")
    assert [sample.label for sample in atdata.Dataset[Photo](folder)] == list(range(80))


def test_what_a_dead_process_left_is_removed_a_day_later(tmp_path: Path) -> None:
    """Unfinished shards that nobody has touched for a day go; fresh ones stay."""
    store = DiskDataStore(tmp_path / "store")
    for name, age in (("old", 2 * 86_400), ("new", 60)):
        folder = store.path / ".unfinished" / name
        folder.mkdir(parents=True)
        then = time.time() - age
        for path in (folder / ".data-000000.tar.part", folder):
            path.touch()
            os.utime(path, (then, then))
    store.write_shards(photos(tmp_path), prefix="p")
    assert [p.name for p in (store.path / ".unfinished").iterdir()] == ["new"]


def test_only_its_own_files_are_resolved(tmp_path: Path) -> None:
    """read_url takes paths within the store and no others."""
    store = DiskDataStore(tmp_path / "store")
    assert store.read_url(str(tmp_path / "store" / "x.tar")) == str(tmp_path / "store" / "x.tar")
    for url in (tmp_path / "x.tar", tmp_path / "store" / ".." / "x.tar", "/etc/hosts"):
        with pytest.raises(UrlError):
            store.read_url(str(url))
