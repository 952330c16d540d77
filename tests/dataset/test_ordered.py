"""Reading in order: by tables or without, the same; views where they are asked for."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata import Dataset, write_samples
from atdata.errors import ShardError


@atdata.packable
class Item:
    """A vector, a number, a word."""

    vector: NDArray[np.float32]
    number: int
    word: str


@atdata.packable
class Vector:
    """A part of it."""

    vector: NDArray[np.float32]


def items(count: int, length: int = 4) -> list[Item]:
    """Samples that differ in every field."""
    return [Item(np.full(length, i, np.float32), i, f"word {i}") for i in range(count)]


def older(path: Path, than: Path, seconds: int) -> None:
    """Set the time of change of a file to so many seconds before that of another."""
    stat = than.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - seconds * 10**9))


@pytest.mark.parametrize("length", [4, 3000, 20_000])
@pytest.mark.parametrize("size", [None, 1, 7, 64])
def test_tables_and_views_change_nothing(tmp_path: Path, length: int, size: int | None) -> None:
    """With tables, without, copied or viewed: the same samples in the same batches."""
    expected = items(50, length)
    dataset = write_samples(expected, tmp_path / "data.tar", maxcount=17)
    bare = [tmp_path / f"bare-{n}.tar" for n in range(3)]
    for shard, path in zip(dataset.shard_list, bare, strict=True):
        path.write_bytes(Path(shard).read_bytes())
    for source in (dataset.shard_list, bare):
        if size is None:
            assert list(Dataset[Item](source).ordered()) == expected
            continue
        for copy in (True, False):
            batches = list(Dataset[Item](source).ordered(size, copy=copy))
            assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
            assert [s for batch in batches for s in batch.samples] == expected
            found = np.concatenate([batch.vector for batch in batches])
            assert (found == np.stack([item.vector for item in expected])).all()
            assert [k for b in batches for k in b.keys] == [k.key for k in dataset.packed()]


def test_views_are_read_only_and_copies_are_not(tmp_path: Path) -> None:
    """A batch within one shard is a view of it; one that spans two is a copy. Lenses keep views."""
    dataset = write_samples(items(40), tmp_path / "data.tar", maxcount=20)
    viewed = list(dataset.ordered(8, copy=False))
    assert [b.vector.flags.writeable for b in viewed] == [False, False, True, False, False]
    assert all(batch.vector.flags.writeable for batch in dataset.ordered(8))
    first = next(dataset.as_type(Vector).ordered(8, copy=False))
    assert not first.vector.flags.writeable


def test_an_old_table_is_not_believed(tmp_path: Path) -> None:
    """A shard changed after its table was written is scanned, whatever the table says."""
    path = tmp_path / "data.tar"
    write_samples(items(20), path)
    table = path.with_name("data.tar.idx").read_bytes()
    write_samples([Item(i.vector, i.number + 1, i.word) for i in items(20)], tmp_path / "b.tar")
    (tmp_path / "b.tar").replace(path)
    path.with_name("data.tar.idx").write_bytes(table)
    older(path.with_name("data.tar.idx"), path, 5)
    assert [item.number for item in Dataset[Item](path).ordered()] == list(range(1, 21))


@pytest.mark.parametrize("damage", ["cut", "nonsense", "flipped", "of another"])
def test_damaged_tables_are_passed_over(tmp_path: Path, damage: str) -> None:
    """A table that is damaged, or of another shard, changes nothing."""
    path = tmp_path / "data.tar"
    write_samples(items(20), path)
    write_samples(items(21), tmp_path / "other.tar")
    place = path.with_name("data.tar.idx")
    table = bytearray(place.read_bytes())
    table[200] ^= 1
    place.write_bytes(
        {
            "cut": bytes(table[:100]),
            "nonsense": b"nonsense",
            "flipped": bytes(table),
            "of another": (tmp_path / "other.tar.idx").read_bytes(),
        }[damage]
    )
    assert list(Dataset[Item](path).ordered()) == items(20)


def test_a_dataset_that_is_open_sees_what_was_written_since(tmp_path: Path) -> None:
    """A second pass reads the shards, and their tables, as they are then."""
    path = tmp_path / "data.tar"
    dataset: Any = write_samples(items(20), path)
    assert len(list(dataset.ordered(8))) == 3
    path.unlink()
    path.with_name("data.tar.idx").unlink()
    write_samples(items(30, 5), path)
    dataset = Dataset[Item](path)
    assert [len(batch) for batch in dataset.ordered(16)] == [16, 14]


def test_a_shard_cut_short_is_an_error_beside_its_table(tmp_path: Path) -> None:
    """A table does not hide that its shard is not whole."""
    path = tmp_path / "data.tar"
    write_samples(items(20), path)
    os.truncate(path, path.stat().st_size - 2048)
    with pytest.raises(ShardError, match="cut short"):
        list(Dataset[Item](path).ordered(8))


def test_batches_go_to_other_processes(tmp_path: Path) -> None:
    """A batch is pickled with its keys and columns, whatever it was made of."""
    dataset = write_samples(items(20), tmp_path / "data.tar")
    for copy in (True, False):
        for batch in dataset.ordered(8, copy=copy):
            again = pickle.loads(pickle.dumps(batch))
            assert again.keys == batch.keys
            assert again.samples == batch.samples
            assert again.word == batch.word


def test_texts_are_arrays_without_a_list_between(tmp_path: Path) -> None:
    """A column of str is NumPy's strings or a list, as asked for; ends of NUL need the list."""
    texts = ["a", "bc", "", "d" * 30, "é", "z\0"]
    for chosen in (texts[:4], texts[:5], texts, ["same", "size"] * 10, ["a\0", "b\0"] * 10):
        path = tmp_path / f"{len(chosen)}{len(chosen[0])}.tar"
        samples = [Item(np.zeros(1, np.float32), 0, word) for word in chosen * 3]
        batch = next(write_samples(samples, path).ordered(len(samples)))
        if any(word.endswith("\0") for word in chosen):
            with pytest.raises(ValueError, match="word"):
                batch.column("word")
        else:
            column = batch.column("word")
            assert column.dtype.kind == "U"
            assert column.tolist() == chosen * 3
        assert batch.word == chosen * 3


def test_a_child_goes_on_reading_large_samples(tmp_path: Path) -> None:
    """A process that is forked in the middle of a pass reads on, without the parent's threads."""
    expected = items(30, 40_000)
    samples = write_samples(expected, tmp_path / "data.tar", maxcount=25).ordered()
    first = [next(samples) for _ in range(3)]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, pickle.dumps([item.number for item in samples]))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pickle.loads(pipe.read()) == list(range(3, 30))
    os.waitpid(child, 0)
    assert [*first, *samples] == expected


@pytest.mark.parametrize("shuffle", [False, True])
def test_loops_and_next_share_one_place(tmp_path: Path, shuffle: bool) -> None:
    """Wherever a loop over a reading stops, the next loop, or next(), continues there."""
    dataset = write_samples(items(30), tmp_path / "data.tar", maxcount=11)
    expected, reading = (
        dataset.shuffled(seed=1) if shuffle else dataset.ordered() for _ in range(2)
    )
    numbers = [item.number for item in expected]
    got = [next(reading).number]
    for item in reading:
        got.append(item.number)
        if len(got) == 3:
            break
    got.append(next(reading).number)
    assert reading.state_dict()["taken"] == 4
    got += [item.number for item in reading]
    assert got == numbers
    assert list(reading) == []


def test_a_loop_follows_what_is_done_to_its_reading(tmp_path: Path) -> None:
    """A state that is loaded in a loop moves the loop, and closing the reading ends it."""
    reading = write_samples(items(10), tmp_path / "data.tar").ordered()
    begin, got = reading.state_dict(), []
    for item in reading:
        got.append(item.number)
        if len(got) == 4:
            reading.load_state_dict(begin)
        if len(got) == 9:
            reading.close()
    assert got == [0, 1, 2, 3, 0, 1, 2, 3, 4]


def test_a_loop_goes_on_in_a_child(tmp_path: Path) -> None:
    """A process that is forked in a loop over small samples has the rest of them, and so has its
    parent.
    """
    reading = write_samples(items(300), tmp_path / "data.tar", maxcount=70).shuffled(seed=2)
    got, pipe, child = [], os.pipe(), -1
    try:
        for item in reading:
            got.append(item.number)
            if len(got) == 10:
                child = os.fork()
    finally:
        if child == 0:
            os.write(pipe[1], pickle.dumps(got))
            os._exit(0)
    os.close(pipe[1])
    with os.fdopen(pipe[0], "rb") as theirs:
        assert pickle.loads(theirs.read()) == got
    os.waitpid(child, 0)
    assert sorted(got) == list(range(300))
