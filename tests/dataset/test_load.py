"""load_dataset opens paths and sorts shards into splits."""

from __future__ import annotations

from pathlib import Path

import pytest

import atdata
from atdata import DatasetDict, load_dataset, write_samples


@atdata.packable
class Item:
    n: int


def items(*numbers: int) -> list[Item]:
    return [Item(n) for n in numbers]


def test_splits_come_from_file_names(tmp_path: Path) -> None:
    """Shards named after a split make a dataset each."""
    write_samples(items(1, 2, 3), tmp_path / "mnist-train.tar", maxcount=2)
    write_samples(items(4), tmp_path / "mnist-val-000000.tar")
    loaded = load_dataset(tmp_path, Item)
    assert isinstance(loaded, DatasetDict)
    assert set(loaded) == {"train", "validation"}
    assert [i.n for i in loaded["train"]] == [1, 2, 3]
    assert loaded.num_samples == {"train": 3, "validation": 1}
    assert [i.n for i in load_dataset(tmp_path, Item, split="validation")] == [4]
    with pytest.raises(KeyError, match="There are: train, validation"):
        load_dataset(tmp_path, Item, split="test")


def test_splits_come_from_folders(tmp_path: Path) -> None:
    """Folders named after a split tell shards of the same name apart."""
    for split, number in (("train", 1), ("test", 2)):
        write_samples(items(number), tmp_path / split / "data.tar")
    loaded = load_dataset(str(tmp_path / "{train,test}" / "data.tar"), Item)
    assert [i.n for i in loaded["test"]] == [2]


def test_words_of_shared_folders_do_not_count(tmp_path: Path) -> None:
    """A folder called dev above everything does not make the data a validation split."""
    write_samples(items(1), tmp_path / "dev" / "project" / "latest.tar")
    assert set(load_dataset(tmp_path / "dev" / "project", Item)) == {"train"}
    write_samples(items(1), tmp_path / "test" / "a.tar")
    assert set(load_dataset(tmp_path / "test", Item)) == {"test"}


def test_without_a_type_samples_are_dicts(tmp_path: Path) -> None:
    """A path without a type gives DictSamples."""
    write_samples(items(1), tmp_path / "a.tar")
    (sample,) = load_dataset(tmp_path, split="train")
    assert sample.n == 1
