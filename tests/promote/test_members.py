"""A WebDataset is promoted in place: its tars are copied as they are, and read typed elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import webdataset

import atdata
from atdata import Dataset, Member, load_dataset
from atdata._digest import sha256_of
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.local import LocalIndex
from atdata.promote import promote_to_atmosphere


@atdata.packable
class Caption:
    """A picture and its words."""

    picture: Annotated[atdata.Image, Member("jpg", "png")]
    words: Annotated[str, Member("txt")]


def test_a_webdataset_is_promoted_in_place(client: AtmosphereClient, tmp_path: Path) -> None:
    """The published schema names the members, so a reader without the class reads the same."""
    path = tmp_path / "pairs-000000.tar"
    with webdataset.TarWriter(str(path)) as sink:
        for n in range(20):
            picture = "png" if n % 2 else "jpg"
            sink.write({"__key__": f"{n:04d}", picture: b"x" * n, "txt": f"w {n}"})
    before = path.read_bytes()
    index = LocalIndex(tmp_path / "index.db")
    entry = index.insert_dataset(Dataset[Caption](path), name="pairs")
    uri = promote_to_atmosphere(entry, index, client, data_store=PDSBlobStore(client))
    assert path.read_bytes() == before
    assert [shard.layout for shard in entry.shards] == ["members"]
    assert [shard.layout for shard in AtmosphereIndex(client).get_dataset(uri).shards] == [
        "members"
    ]
    found = load_dataset(uri, split="train")
    assert [(s.picture.bytes, s.words) for s in found] == [(b"x" * n, f"w {n}") for n in range(20)]
    with found.source.open_shard(found.shard_list[0]) as stream, path.open("rb") as file:
        assert sha256_of(stream) == sha256_of(file)
