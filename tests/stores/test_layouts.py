"""The layout of shards that are written to a store: kept, unless another one is asked for."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Annotated, Any

import pytest
import webdataset

import atdata
from atdata import Member
from atdata._shardlist import ShardInfo
from atdata.errors import OptionError
from atdata.local import DiskDataStore, LocalIndex
from tests.dataset.test_odd_members import linked_tar


@atdata.packable
class Row:
    text: Annotated[str, Member("txt")]
    label: Annotated[int, Member("cls")]


@atdata.packable
class Text:
    text: Annotated[str, Member("txt")]


def rows(folder: Path, shards: int = 2) -> atdata.Dataset[Row]:
    for n in range(shards):
        with webdataset.TarWriter(str(folder / f"w-{n:06d}.tar")) as sink:
            for i in range(20):
                sink.write({"__key__": f"{i:04d}", "txt": f"t{n}-{i}", "cls": str(20 * n + i)})
    return atdata.Dataset[Row](str(folder / "w-*.tar"))


def names(path: str) -> list[str]:
    with tarfile.open(path) as tar:
        return [member.name for member in tar]


def test_an_insert_copies_webdatasets_byte_for_byte(tmp_path: Path) -> None:
    """A WebDataset that is inserted into a store has there the bytes, keys and type that it had."""
    dataset = rows(tmp_path)
    index = LocalIndex(tmp_path / "i.db", data_store=DiskDataStore(tmp_path / "store"))
    entry = index.insert_dataset(dataset, name="rows")
    copies = [Path(shard.url) for shard in entry.shards]
    assert [c.read_bytes() for c in copies] == [
        Path(url).read_bytes() for url in dataset.shard_list
    ]
    assert [shard.samples for shard in entry.shards] == [20, 20]
    assert list(atdata.Dataset[Row](entry)) == list(dataset)
    # Who has only the folder finds the type as well.
    read = atdata.load_dataset(str(copies[0].parent), split="train")
    assert read.sample_type.__name__ == "Row"
    assert [sample.label for sample in read] == list(range(40))
    assert index.insert_dataset(dataset, name="rows") == entry


def test_the_index_records_the_layout(tmp_path: Path) -> None:
    """Of shards in place, of copies and of those that are written, and after it is opened again."""
    dataset = rows(tmp_path)
    msgpack = atdata.write_samples(dataset, tmp_path / "plain.tar")
    place = tmp_path / "i.db"
    for name, store in (("here", None), ("copied", DiskDataStore(tmp_path / "store"))):
        index = LocalIndex(place, data_store=store)
        index.insert_dataset(dataset, name=name)
        index.insert_dataset(msgpack, name=f"plain-{name}")
        for written, layout in ((name, "members"), (f"plain-{name}", None)):
            found = LocalIndex(place).get_dataset(written).shards
            assert {shard.layout for shard in found} == {layout}
            assert {shard.to_dict().get("layout") for shard in found} == {layout}
    some = index.insert_dataset(dataset.filter(lambda row: row.label > 30), name="some")
    assert {shard.layout for shard in some.shards} == {"members"}


def test_a_layout_of_a_later_version_is_looked_up_in_the_shard() -> None:
    """An entry may name one that this version does not know."""
    known = ShardInfo.from_dict({"url": "a.tar", "layout": "columns"})
    assert known == ShardInfo("a.tar")
    assert known.layout is None


@pytest.mark.parametrize("limits", [{}, {"maxcount": 30}, {"maxsize": 20_000}])
def test_samples_that_are_written_again_keep_their_members(limits: Any, tmp_path: Path) -> None:
    """Cut otherwise, filtered or mapped, samples of members stay samples of members."""
    dataset = rows(tmp_path)
    store = DiskDataStore(tmp_path / "store")
    ways: dict[str, Any] = {
        "plain": dataset,
        "filtered": dataset.filter(lambda row: row.label % 2 == 0),
        "mapped": dataset.map(lambda row: Text(row.text), sample_type=Text),
        "rank": dataset.split(0, 3),
    }
    for way, made in ways.items():
        urls = store.write_shards(made, prefix=way, **limits)
        found = list(atdata.Dataset.of(made.sample_type, list(urls)))
        assert [s.text for s in found] == [s.text for s in made]
        assert all(name.endswith((".txt", ".cls")) for url in urls for name in names(url))
        read = [
            row["txt"] for url in urls for row in webdataset.WebDataset(url, shardshuffle=False)
        ]
        assert read == [sample.text.encode() for sample in found]


def test_another_layout_is_written_when_it_is_asked_for(tmp_path: Path) -> None:
    """layout= decides, in both directions; a word that is no layout is refused."""
    dataset = rows(tmp_path)
    store = DiskDataStore(tmp_path / "store")
    index = LocalIndex(tmp_path / "i.db", data_store=store)
    fast = index.insert_dataset(dataset, name="fast", layout="msgpack")
    assert names(fast.shards[0].url)[0] == "0000.msgpack"
    assert list(atdata.Dataset[Row](fast)) == list(dataset)
    assert index.insert_dataset(dataset, name="fast").data_urls != fast.data_urls
    back = store.write_shards(atdata.Dataset[Row](fast), prefix="back", layout="members")
    assert names(back[0])[:2] == ["0000.txt", "0000.cls"]
    assert list(atdata.Dataset[Row](list(back))) == list(dataset)
    wrong: Any = "tar"
    for write in (
        lambda: index.insert_dataset(dataset, name="x", layout=wrong),
        lambda: store.write_shards(dataset, prefix="x", layout=wrong),
        lambda: LocalIndex(tmp_path / "j.db").insert_dataset(dataset, name="x", layout="msgpack"),
    ):
        with pytest.raises(OptionError, match="layout"):
            write()


def test_shards_of_both_layouts_keep_them(tmp_path: Path) -> None:
    """Each sample of a mixed dataset keeps its layout, in shards of their own."""
    dataset = rows(tmp_path, 1)
    other = atdata.write_samples(list(dataset), tmp_path / "m.tar")
    mixed = atdata.Dataset[Row]([*dataset.shard_list, *other.shard_list])
    urls = DiskDataStore(tmp_path / "store").write_shards(mixed, prefix="m", maxcount=100)
    assert [names(url)[0] for url in urls] == ["0000.cls", "000000000.msgpack"]
    assert list(atdata.Dataset[Row](list(urls))) == [*dataset, *dataset]


def test_links_are_written_as_files(tmp_path: Path) -> None:
    """Samples that are written to other shards do not leave behind what their links lead to."""
    path = linked_tar(tmp_path / "x.tar", [("d/900.jpg", tarfile.LNKTYPE, "d/001.jpg")])
    dataset = atdata.Dataset(path)
    store = DiskDataStore(tmp_path / "store")
    urls = store.write_shards(dataset, prefix="x", maxcount=2)
    assert [s.to_dict() for s in atdata.Dataset(list(urls))] == [s.to_dict() for s in dataset]
    with tarfile.open(urls[-1]) as tar:
        assert all(member.isreg() for member in tar)
