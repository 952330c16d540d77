"""Where the shards of an inserted dataset are: what nothing can read is not recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

import atdata
from atdata.errors import UrlError
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
