"""write_samples(layout="members"): what WebDataset reads, and what is read back here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata import DictSample, Member
from atdata.errors import EncodeError, OptionError
from atdata.samples.codec import codec_of
from atdata.testing import strategies

JPEG = b"\xff\xd8\xff\xe0 jpeg"
PNG = b"\x89PNG\r\n\x1a\n png"


@atdata.packable
class Meta:
    width: int
    tags: list[str]


@atdata.packable
class Pair:
    image: Annotated[atdata.Image, Member("jpg", "png")]
    caption: Annotated[str, Member("txt")]
    meta: Annotated[Meta, Member("json")]
    label: Annotated[int, Member("cls")]
    vector: NDArray[np.float32]
    note: str | None = None


def pairs(count: int) -> list[Pair]:
    return [
        Pair(
            atdata.Image(PNG if n % 3 else JPEG),
            f"größe {n}",
            Meta(n, ["a"] * n),
            n,
            np.arange(n, dtype=np.float32),
            "seen" if n % 2 else None,
        )
        for n in range(count)
    ]


def of_webdataset(path: Path) -> list[dict[str, Any]]:
    rows = webdataset.WebDataset(str(path), shardshuffle=False)
    return [
        {k: v for k, v in row.items() if k not in ("__url__", "__local_path__")} for row in rows
    ]


def test_what_is_written_is_read_by_both(tmp_path: Path) -> None:
    """Samples come back the same in every way of reading; WebDataset sees their members."""
    written = atdata.write_samples(pairs(9), tmp_path / "x.tar", layout="members")
    assert list(written) == pairs(9)
    assert len(written) == 9
    assert (written[4], written.by_key("000000007")) == (pairs(9)[4], pairs(9)[7])
    assert list(atdata.Dataset[Pair](tmp_path / "x.tar")) == pairs(9)
    (tmp_path / "x.tar.idx").unlink()
    assert list(atdata.Dataset[Pair](tmp_path / "x.tar")) == pairs(9)
    row = of_webdataset(tmp_path / "x.tar")[1]
    assert {name: row[name] for name in ("__key__", "png", "txt", "cls", "note.txt")} == {
        "__key__": "000000001",
        "png": PNG,
        "txt": "größe 1".encode(),
        "cls": b"1",
        "note.txt": b"seen",
    }
    assert json.loads(row["json"]) == {"width": 1, "tags": ["a"]}
    assert row["vector.npy"].startswith(b"\x93NUMPY")


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    """Writing is deterministic, and several shards have as many samples as asked for."""
    for name in ("a", "b"):
        atdata.write_samples(pairs(9), tmp_path / name, layout="members", maxcount=4)
    for number in range(3):
        one, two = (tmp_path / n / f"{n}-{number:06d}.tar" for n in ("a", "b"))
        assert one.read_bytes() == two.read_bytes()
    assert list(atdata.Dataset[Pair](tmp_path / "a")) == pairs(9)


def test_shards_of_webdataset_are_written_again_member_for_member(tmp_path: Path) -> None:
    """Read without a type and written, a shard has the members that webdataset put into it."""
    path = tmp_path / "theirs.tar"
    with webdataset.TarWriter(str(path)) as sink:
        for n in range(20):
            made = {"jpg": JPEG * n, "txt": b"t", "cls": b"%d" % n, "left.png": PNG, "x.bin": b"b"}
            sink.write({"__key__": f"{n:09d}", **made})
    atdata.write_samples(atdata.Dataset(path), tmp_path / "ours.tar", layout="members")
    assert of_webdataset(tmp_path / "ours.tar") == of_webdataset(path)


@atdata.packable
class Keyed:
    __key__: str
    txt: str


def test_keys_are_given_by_a_field(tmp_path: Path) -> None:
    """A field __key__ names the sample; a key that could not be read back is refused."""
    samples = [Keyed("train/a", "x"), Keyed("train/b", "y")]
    written = atdata.write_samples(samples, tmp_path / "x.tar", layout="members")
    assert list(written) == samples
    assert [row["__key__"] for row in of_webdataset(tmp_path / "x.tar")] == ["train/a", "train/b"]
    for key in ("a.b", "", "a/"):
        with pytest.raises(atdata.errors.ShardError, match="key"):
            atdata.write_samples([Keyed(key, "x")], tmp_path / "y.tar", layout="members")
    with pytest.raises(atdata.errors.ShardError, match="two samples have this key"):
        atdata.write_samples([samples[0]] * 2, tmp_path / "y.tar", layout="members")
    assert not (tmp_path / "y.tar").exists()


VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=5).filter(lambda b: not b.startswith(b"\x93NUMPY")),
    st.builds(np.arange, st.integers(0, 4)),
    st.lists(st.integers(0, 9) | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(0, 9) | st.none(), max_size=2),
)
NAMES = st.sampled_from(["a", "json", "txt", "cls", "npy", "left.jpg", "x.json.gz", "mp", "b.bin"])


@given(st.lists(st.dictionaries(NAMES, VALUES, min_size=1, max_size=4), min_size=1, max_size=4))
def test_any_untyped_sample_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    """Every value comes back under its name, or under it and an ending that says what it is."""
    path = tmp_path_factory.mktemp("w") / "x.tar"
    try:
        written = atdata.write_samples(map(DictSample, rows), path, layout="members")
    except atdata.errors.ShardError:
        # A sample of msgpack alone is of the other layout.
        return
    for sample, row in zip(written, rows, strict=True):
        assert len(sample) == len(row)
        for name, value in row.items():
            [read_as] = [
                n for n in DictSample.keys(sample) if n == name or n.startswith(f"{name}.")
            ]
            found = sample[read_as]
            plain = found.bytes if isinstance(found, atdata.Image | atdata.Audio) else found
            assert DictSample(x=plain) == DictSample(x=value)


@given(st.data())
def test_any_typed_sample_comes_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Samples of any type come back the same."""
    sample_type = data.draw(strategies.sample_types())
    samples = data.draw(st.lists(strategies.samples_of(sample_type), min_size=1, max_size=3))
    path = tmp_path_factory.mktemp("w") / "x.tar"
    if not codec_of(sample_type).fields:
        return
    try:
        written = atdata.write_samples(samples, path, layout="members")
    except (EncodeError, atdata.errors.ShardError):
        return
    assert list(written) == samples


def test_what_members_cannot_hold_is_refused(tmp_path: Path) -> None:
    """Another layout, and two fields of one member, are errors, and nothing is written."""

    @atdata.packable
    class Twice:
        a: Annotated[str, Member("txt")]
        b: Annotated[str, Member("txt")]

    with pytest.raises(EncodeError, match=r"sample 0: Twice .*'txt'"):
        atdata.write_samples([Twice("x", "y")], tmp_path / "x.tar", layout="members")
    with pytest.raises(OptionError, match="layout='wds'"):
        atdata.write_samples(pairs(1), tmp_path / "x.tar", layout="wds")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
