"""A stranger's URL stays one on every way that a program takes it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import atdata
from atdata import Dataset, DictSample, IndexEntry, URLSource
from atdata._refs import AtUri
from atdata._shardlist import LocatedUrl
from atdata.atmosphere.parsing import read_entry
from atdata.atproto.reader import Record
from atdata.errors import UnsafeUrlError
from atdata.local import LocalIndex
from tests.hostile.items import DID, RECORD, record


@atdata.packable
class _Sample:
    x: int


@pytest.fixture
def entry() -> IndexEntry:
    """An entry of the network whose shards are in the private net."""
    value = record("https://127.0.0.1:9999/{a,b}.tar")
    return read_entry(Record(AtUri(DID, RECORD, "a"), "cid", value))


def ways(entry: IndexEntry) -> dict[str, Dataset[DictSample]]:
    """The ways from an entry to a dataset, by name."""
    shards = entry.shards  # type: ignore[attr-defined]
    return {
        "entry": Dataset(entry),
        "url": Dataset(entry.data_urls[0]),
        "urls": Dataset(entry.data_urls),
        "shard": Dataset(shards[0].url),
        "shards": Dataset([shard.url for shard in shards]),
        "source": Dataset(URLSource(entry.data_urls)),
        "pickled": pickle.loads(pickle.dumps(Dataset(entry))),
        "pickled url": Dataset(pickle.loads(pickle.dumps(entry.data_urls[0]))),
        "filtered": Dataset(entry).filter(lambda sample: True),
    }


def test_every_way_meets_the_gate(entry: IndexEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a dataset is made of an entry, its private addresses are not opened."""
    monkeypatch.delenv("ATDATA_ALLOW_PRIVATE", raising=False)
    for name, dataset in ways(entry).items():
        with pytest.raises(UnsafeUrlError):
            list(dataset.ordered())
        with pytest.raises(UnsafeUrlError):
            list(dataset.shuffled(batch_size=2))
        assert name


def test_an_index_keeps_the_mark(
    entry: IndexEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Indexed by URL on this machine, a stranger's dataset stays a stranger's."""
    monkeypatch.delenv("ATDATA_ALLOW_PRIVATE", raising=False)
    index = LocalIndex(tmp_path / "index.db")
    schema = index.publish_schema(_Sample)
    index.insert_dataset(Dataset[_Sample](entry.data_urls[0]), name="copy", schema_ref=schema)
    again = LocalIndex(tmp_path / "index.db").get_dataset("copy")
    for dataset in ways(again).values():
        with pytest.raises(UnsafeUrlError):
            list(dataset.ordered())


def test_a_plain_url_of_the_user_is_not_gated() -> None:
    """What the user typed has no mark."""
    assert not isinstance(Dataset("https://127.0.0.1:9999/a.tar").shard_list[0], LocatedUrl)
