"""load_dataset opens paths and sorts shards into splits."""

from __future__ import annotations

from pathlib import Path

import pytest

import atdata
from atdata import DatasetDict, load_dataset, write_samples
from atdata.errors import OptionError


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


def test_without_a_recorded_type_samples_are_dicts(tmp_path: Path) -> None:
    """Shards that nothing was recorded of give DictSamples."""
    write_samples(items(1), tmp_path / "a.tar")
    (tmp_path / "a.tar.atdata.json").unlink()
    (sample,) = load_dataset(tmp_path, split="train")
    assert type(sample) is atdata.DictSample
    assert sample.n == 1


@pytest.mark.parametrize("name", ["nope.tar", "{a,nope}.tar", "folder/nope.tar"])
def test_a_path_that_does_not_exist_fails_at_once(name: str, tmp_path: Path) -> None:
    """load_dataset says which file is missing; a Dataset says so when it is read."""
    write_samples(items(1), tmp_path / "a.tar")
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*nope\.tar"):
        load_dataset(str(tmp_path / name))
    with pytest.raises(FileNotFoundError, match=r"nope\.tar"):
        list(atdata.Dataset[Item](str(tmp_path / name)))


def test_a_missing_shard_names_those_that_exist(tmp_path: Path) -> None:
    """Shards of this name with numbers, and how many of a range exist, are in the error."""
    write_samples([*items(1), *items(2), *items(3)], tmp_path / "a.tar", maxcount=1)
    numbered = r"'a-000000\.tar' to 'a-000002\.tar' \(3\).*'a-\*\.tar' names all"
    with pytest.raises(FileNotFoundError, match=numbered):
        load_dataset(str(tmp_path / "a.tar"))
    with pytest.raises(FileNotFoundError, match=numbered):
        list(atdata.Dataset[Item](str(tmp_path / "a.tar")))
    with pytest.raises(FileNotFoundError, match=numbered):
        atdata.URLSource(tmp_path / "a.tar").open_shard(str(tmp_path / "a.tar"))
    (tmp_path / "a-000001.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"a-000001\.tar'.* first missing one: 2 of 5 "):
        load_dataset(str(tmp_path / "a-{000000..000004}.tar"))


def test_a_bare_name_points_to_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset's name without its '@' is an error that says so."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError, match="'@local/photos' for a local index"):
        load_dataset("photos")


def test_numbered_names_of_webdataset_are_written(tmp_path: Path) -> None:
    """A path with -%06d gives the shards that it gives webdataset's writer; others are refused."""
    write_samples(items(1, 2, 3), tmp_path / "data-%06d.tar", maxcount=2)
    assert sorted(p.name for p in tmp_path.glob("*.tar")) == ["data-000000.tar", "data-000001.tar"]
    write_samples(items(4), tmp_path / "one-%06d.tar")
    assert [i.n for i in load_dataset(tmp_path / "one-000000.tar", Item, split="train")] == [4]
    with pytest.raises(OptionError, match=r"data-%06d\.tar"):
        write_samples(items(1), tmp_path / "data_%04d.tar")
    with pytest.raises(FileNotFoundError, match=r"data-\{000000\.\.000009\}\.tar"):
        load_dataset(tmp_path / "data-%06d.tar")


def test_home_folders_are_the_same_wherever_a_path_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written below ~ is read there; no folder of that name is made."""
    from atdata.local import DiskDataStore, LocalIndex

    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    dataset = write_samples(items(1), "~/a.tar")
    atdata.write_columns({"n": [2]}, "~/cols.tar", sample_type=Item)
    DiskDataStore("~/store").write_shards(dataset, prefix="p")
    LocalIndex("~/i.db").insert_dataset(dataset.cached("~/copies"), name="x")
    assert [i.n for i in atdata.Dataset[Item](Path("~/a.tar"))] == [1]
    assert [i.n for i in load_dataset("~/cols.tar", Item, split="train")] == [2]
    for variable, folder in (("ATDATA_CACHE_DIR", "cache"), ("ATDATA_DATA_DIR", "data")):
        monkeypatch.setenv(variable, f"~/{folder}")
    LocalIndex().insert_dataset(dataset, name="x")
    assert {p.name for p in home.iterdir()} >= {"a.tar", "cols.tar", "store", "i.db", "data"}
    assert not list(work.iterdir())


@pytest.mark.parametrize(
    "url", ["s3://bucket/x.tar", "https://host/x.tar?token=abc", "file:///tmp/x.tar", "at://a/b"]
)
def test_samples_are_written_to_paths(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL is refused, and no folder of its name is made."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match="URL") as caught:
        write_samples(items(1), url)
    assert "abc" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
