"""Where the shards of an inserted dataset are: what nothing can read is not recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

import atdata
from atdata.atmosphere import AtmosphereClient, PDSBlobStore
from atdata.errors import StoreError, UrlError
from atdata.indexing.placement import copied_shards
from atdata.local import DiskDataStore, LocalIndex


@atdata.packable
class Word:
    """A sample."""

    text: str


class OnlyStore:
    """A store whose URLs have a scheme that no source reads."""

    def __init__(self, folder: Path) -> None:
        self._folder = DiskDataStore(folder)

    def write_shards(
        self,
        ds: atdata.Dataset[Any],
        *,
        prefix: str,
        maxcount: int | None = None,
        maxsize: int | None = None,
    ) -> atdata.ShardUrls:
        """Write to the folder, and name it otherwise."""
        written = self._folder.write_shards(ds, prefix=prefix)
        return atdata.ShardUrls(shard.at(f"only:/{shard.url}") for shard in written.shards)

    def read_url(self, url: str) -> str:
        """The same."""
        return url

    def supports_streaming(self) -> bool:
        """It does not."""
        return False


class OnlySource:
    """A program's own source of shards with such URLs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def shard_list(self) -> list[str]:
        """One shard."""
        return [f"only:/{self._path}"]

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        """It, open."""
        for shard in self.shard_list:
            yield shard, self.open_shard(shard)

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """A file of this machine."""
        return Path(shard_id.removeprefix("only:/")).open("rb")


def test_shards_that_nothing_reads_are_not_recorded(tmp_path: Path) -> None:
    """A store or source of another package that has no registered reader is refused at insertion,
    not when the dataset is read, and the error says how to register one."""
    dataset = atdata.write_samples([Word("a"), Word("b")], tmp_path / "words.tar")
    stored = LocalIndex(tmp_path / "index.db", data_store=OnlyStore(tmp_path / "store"))
    with pytest.raises(UrlError, match=r"OnlyStore wrote .*only://.*'atdata\.source'"):
        stored.insert_dataset(dataset, name="words")
    source = OnlySource(tmp_path / "words.tar")
    in_place = LocalIndex(tmp_path / "index.db")
    with pytest.raises(UrlError, match=r"only OnlySource reads.*'atdata\.source'"):
        in_place.insert_dataset(atdata.Dataset[Word](source), name="words")
    assert not list(in_place.list_datasets())


class Saying(OnlyStore):
    """A store that writes and copies, and then returns what it is told to make of the URLs."""

    def __init__(self, folder: Path, said: Callable[[atdata.ShardUrls], Any]) -> None:
        super().__init__(folder)
        self._said = said

    def write_shards(self, ds: atdata.Dataset[Any], **placing: Any) -> Any:
        """Write to the folder, at most two samples a shard."""
        return self._said(self._folder.write_shards(ds, prefix=placing["prefix"], maxcount=2))


WRONG: dict[str, Callable[[atdata.ShardUrls], Any]] = {
    "fewer": lambda urls: atdata.ShardUrls(urls.shards[:1]),
    "more": lambda urls: atdata.ShardUrls((*urls.shards, *urls.shards)),
    "repeated": lambda urls: [urls[0]] * len(urls),
    "one text": lambda urls: urls[0],
    "nothing": lambda urls: None,
    "no texts": lambda urls: [None] * len(urls),
    "empty texts": lambda urls: [""] * len(urls),
}


@pytest.fixture
def words(tmp_path: Path) -> atdata.Dataset[Word]:
    """Six samples in three shards."""
    samples = [Word(str(n)) for n in range(6)]
    return atdata.write_samples(samples, tmp_path / "words.tar", maxcount=2)


@pytest.mark.parametrize("said", WRONG.values(), ids=WRONG)
def test_what_a_store_cannot_have_written_is_not_recorded(
    tmp_path: Path, words: atdata.Dataset[Word], said: Callable[[atdata.ShardUrls], Any]
) -> None:
    """A store that returns other than the shards of all samples is an error, and no entry."""
    index = LocalIndex(tmp_path / "i.db", data_store=Saying(tmp_path / "copies", said))
    with pytest.raises(StoreError, match=r"Saying .*not recorded"):
        index.insert_dataset(words, name="words")
    assert not list(index.list_datasets())


def test_copies_are_one_for_each_with_the_same_content(words: atdata.Dataset[Word]) -> None:
    """Copies differ in their URLs alone; one URL stands for two shards only of the same content."""
    shards = words.describe_shards()
    store: Any = PDSBlobStore(AtmosphereClient())
    moved = [shard.at(f"https://host/{n}.tar") for n, shard in enumerate(shards)]
    assert copied_shards(store, atdata.ShardUrls(moved), shards) == tuple(moved)
    plain = [shard.url for shard in moved]
    assert [shard.url for shard in copied_shards(store, plain, shards)] == plain
    twice = [moved[0], moved[0]]
    assert copied_shards(store, atdata.ShardUrls(twice), [shards[0], shards[0]]) == tuple(twice)
    wrong = [said(atdata.ShardUrls(moved)) for said in WRONG.values()]
    changed: list[dict[str, Any]] = [{"bytes": 1}, {"sha256": "0" * 64}, {"samples": 1}]
    wrong += [atdata.ShardUrls([replace(moved[0], **one), *moved[1:]]) for one in changed]
    for urls in wrong:
        with pytest.raises(StoreError, match="PDSBlobStore"):
            copied_shards(store, urls, shards)
