"""Defaults that no schema has: stored in what is written, or a warning where nothing is."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any

import pytest
import webdataset

import atdata
from atdata.errors import LostDefaultWarning
from atdata.local import DiskDataStore, LocalIndex


@atdata.packable
class Old:
    """What was written."""

    txt: str


@atdata.packable
class Noted:
    """The same, and more."""

    txt: str
    note: Annotated[str, atdata.Member("note.txt")] = "none"


@atdata.packable
class Classed:
    """Another value than None, where a sample lacks it."""

    txt: str
    cls: int | None = 5
    level: float | None = None


def tar(path: Path, *, whole: bool = False) -> Path:
    """A WebDataset; without ``whole``, its second sample has a text alone."""
    with webdataset.TarWriter(str(path)) as sink:
        sink.write({"__key__": "0", "txt": "x", "note.txt": "n", "cls": b"1"})
        sink.write({"__key__": "1", "txt": "y"} | ({"note.txt": "m", "cls": b"2"} if whole else {}))
    return path


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(("made", "name"), [(Noted, "note"), (Classed, "cls")])
def test_default_that_others_do_not_have_is_a_warning(
    tmp_path: Path, made: Any, name: str, stored: bool
) -> None:
    store = DiskDataStore(tmp_path / "store") if stored else None
    index = LocalIndex(tmp_path / "index.db", data_store=store)
    with pytest.warns(LostDefaultWarning, match=rf"\.{name}: a sample lacks it"):
        index.insert_dataset(atdata.Dataset[made](tar(tmp_path / "a.tar")), name="a")

    again = atdata.write_samples(atdata.Dataset[made](tmp_path / "a.tar"), tmp_path / "b.tar")
    with warnings.catch_warnings():
        warnings.simplefilter("error", LostDefaultWarning)
        index.insert_dataset(atdata.Dataset[Old](tmp_path / "a.tar"), name="old")
        index.insert_dataset(atdata.Dataset[made](tar(tmp_path / "c.tar", whole=True)), name="c")
        index.insert_dataset(again, name="b")
    others = atdata.load_dataset("@local/b", split="train", index=index)
    assert [getattr(s, name) for s in others] == [getattr(s, name) for s in again]


@pytest.mark.parametrize("layout", ["msgpack", "members"])
@pytest.mark.parametrize("made", [Noted, Classed])
def test_store_writes_the_defaults(tmp_path: Path, made: Any, layout: Any) -> None:
    """Samples of an older class are written anew: others read the same values by the schema."""
    atdata.write_samples([Old("x"), Old("y")], tmp_path / "old.tar", layout=layout)
    (tmp_path / "old.tar.schema.json").unlink(missing_ok=True)
    index = LocalIndex(tmp_path / "index.db", data_store=DiskDataStore(tmp_path / "store"))
    mine = atdata.Dataset[made](tmp_path / "old.tar")
    index.insert_dataset(mine, name="new", maxcount=1)
    others = atdata.load_dataset("@local/new", split="train", index=index)
    assert [vars(sample) for sample in others] == [vars(sample) for sample in mine]
