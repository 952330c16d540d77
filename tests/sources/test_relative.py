"""A relative path means what it meant when the dataset was opened."""

from __future__ import annotations

import copy
import io
import multiprocessing
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, ClassVar

import pytest

import atdata
from atdata import Dataset, URLSource, load_dataset, write_samples
from tests.shards.parts import tar_of


@atdata.packable
class Number:
    number: int


def numbers(dataset: Dataset[Number]) -> list[int]:
    return [sample.number for sample in dataset]


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Folders with shards of the same names; the first one is the working directory.

    Its own name has what braces and globs are made of.
    """
    here, there = tmp_path / "a{0..1}[x]*", tmp_path / "b"
    for first, folder in ((0, here), (100, there)):
        samples = [Number(first + i) for i in range(3)]
        (folder / "sub").mkdir(parents=True)
        write_samples(samples, folder / "data" / "x.tar", maxcount=1, fsync=False)
        write_samples(samples, folder / "one.tar", fsync=False)
    monkeypatch.chdir(here)
    return here, there


FORMS: list[Any] = [
    "data",
    Path("data"),
    "data/",
    "./data",
    "sub/../data",
    "data/*.tar",
    "d*/x-00000[0-2].tar",
    "**/x-*.tar",
    "data/x-{000000..000002}.tar",
    ["data/x-000000.tar", Path("data/x-000001.tar"), "data/x-000002.tar"],
    "one.tar",
    "./one.tar",
]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("kind", ["dataset", "source", "load", "settings"])
def test_where_a_dataset_is_does_not_change(
    two: tuple[Path, Path], tmp_path: Path, form: Any, kind: str
) -> None:
    """After chdir, as it is, copied, pickled and in another process: the samples of before."""
    opened: Dataset[Number] = {
        "dataset": lambda: Dataset[Number](form),
        "source": lambda: Dataset[Number](URLSource(form)),
        "load": lambda: Dataset[Number](load_dataset(form, Number, split="train").source),
        "settings": lambda: Dataset[Number](form).cached("kept").verified("full").split(0, 1),
    }[kind]()
    sent = pickle.dumps(opened)
    os.chdir(two[1])
    for dataset in (opened, copy.copy(opened), pickle.loads(sent)):
        assert numbers(dataset) == [0, 1, 2]
        assert sorted(s.number for s in dataset.shuffled(seed=0)) == [0, 1, 2]
    assert numbers(Dataset[Number](form)) == [100, 101, 102]


def _read(dataset: Dataset[Number]) -> list[int]:
    return numbers(dataset)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_reads_where_its_parent_was(two: tuple[Path, Path], method: str) -> None:
    """A process that is started after chdir, by fork or spawn, reads the same shards."""
    opened = Dataset[Number]("data")
    os.chdir(two[1])
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(_read, (opened,)) == [0, 1, 2]


def test_nothing_is_looked_at_before_it_is_used(two: tuple[Path, Path]) -> None:
    """What comes to a folder after the dataset was made, and before it is used, is read."""
    later = Dataset[Number]("later")
    with_source = Dataset[Number](URLSource("later"))
    write_samples([Number(7)], two[0] / "later" / "x.tar")
    os.chdir(two[1])
    assert numbers(later) == numbers(with_source) == [7]


def test_a_source_is_not_asked_before_it_is_used() -> None:
    """Making a dataset of a source, with settings and steps, asks it for nothing."""

    class Asked:
        asked: ClassVar[list[str]] = []

        @property
        def shard_list(self) -> list[str]:
            self.asked.append("shard_list")
            return ["a"]

        def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
            self.asked.append("shards")
            yield "a", self.open_shard("a")

        def open_shard(self, shard_id: str) -> IO[bytes]:
            self.asked.append(shard_id)
            return io.BytesIO(tar_of([]))

    dataset = Dataset[Number](Asked())
    dataset.verified("full").split(0, 2).map(lambda n: n).filter(bool)
    dataset.ordered(3)
    assert Asked.asked == []
