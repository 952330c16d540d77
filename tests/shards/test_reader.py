"""Reading shards: what is there, or an error."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata.errors import DecodeError, ShardError, ShardNotFoundError, UnreadMembersWarning
from atdata.samples.codec import codec_of
from atdata.shards.reader import count_samples, read_blocks
from tests.shards.parts import Digit, digits, packed, read_all, shard_of, tar_of

FORMS = {
    "ustar": (tarfile.USTAR_FORMAT, {}),
    "gnu": (tarfile.GNU_FORMAT, {}),
    "pax": (tarfile.PAX_FORMAT, {}),
    "pax before every member": (tarfile.PAX_FORMAT, {"mtime": 1700000000.25}),
}


def members(count: int = 5) -> list[tuple[str, bytes]]:
    """Members of a small shard."""
    return [(f"{p.key}.msgpack", p.payload) for p in packed(digits(count))]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_header_is_read(form: str, tmp_path: Path) -> None:
    """A tar of ustar, GNU or PAX headers gives the same samples, from a file and a stream."""
    format, fields = FORMS[form]
    data = tar_of(members(), format=format, **fields)
    (tmp_path / "x.tar").write_bytes(data)
    expected = [(f"{i:06d}", digit) for i, digit in enumerate(digits(5))]
    assert read_all(data) == expected
    assert read_all(tmp_path / "x.tar") == expected


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_keys(format: int) -> None:
    """Names over 100 bytes are read whole, in both ways that tars have for them."""
    name = "folder/" * 40 + "é" * 20
    [(_, payload)] = members(1)
    assert read_all(tar_of([(name + ".msgpack", payload)], format=format))[0][0] == name


def test_a_key_is_the_name_without_its_ending() -> None:
    """Whatever its dots, a file is a sample by its ending alone, read as a run or one by one."""
    payload = members(1)[0][1]
    names = ["a.b/c.mp", "./d.msg", "e.MSGPACK", "f.seg.msgpack", "._e.msgpack", ".hidden.msgpack"]
    names += [f"{i:02d}.{i:02d}.msgpack" for i in range(40)]
    found = read_all(tar_of([(name, payload) for name in names]))
    assert [key for key, _ in found] == [name.rpartition(".")[0] for name in names]


def test_a_sample_without_a_key_is_an_error() -> None:
    """A file that is nothing but an ending could be found by no key."""
    for name in (".msgpack", "folder/.mp"):
        with pytest.raises(ShardError, match="without a key"):
            read_all(tar_of([*members(40), (name, b"")]))


def test_one_warning_counts_what_is_not_read() -> None:
    """Members that are not samples are reported at the end of a reading, or where it is left."""
    mixed = [m for name, data in members(3) for m in ((name, data), (f"p{name[:6]}.png", b"x"))]
    mixed += [("labels.json", b"{}"), ("000009.msgpack.gz", b"x"), ("README", b"")]
    with pytest.warns(UnreadMembersWarning) as warned:
        assert len(read_all(tar_of(mixed))) == 3
    [one] = warned
    found = "6 members are not samples and were not read: 3 .png, 1 .json, 1 .msgpack.gz"
    assert f"data-000000.tar: {found}, 1 without an ending" in str(one.message)
    blocks: Any = read_blocks(
        io.BytesIO(tar_of(mixed)), shard="x.tar", codec=codec_of(Digit), rows=1
    )
    assert len(next(blocks)) > 0
    with pytest.warns(UnreadMembersWarning, match=r"x\.tar: .*\.png"):
        blocks.close()


def test_what_macos_adds_is_no_sample() -> None:
    """The attribute files that macOS's tar adds are counted, not decoded."""
    apple = b"\0\x05\x16\x07" + bytes(100)
    pairs = [m for name, data in members(40) for m in ((f"._{name}", apple), (name, data))]
    with pytest.warns(UnreadMembersWarning, match="40 of macOS"):
        assert len(read_all(tar_of(pairs))) == 40


def test_other_members_alone_are_an_error() -> None:
    """A shard of other data says what it holds instead of giving nothing."""
    with pytest.raises(ShardError, match=r"holds 2 without an ending, 1 \.env members, no samples"):
        read_all(tar_of([("README", b"x"), ("LICENSE", b"{}"), (".env", b"y")]))


def test_empty_tar_has_no_samples() -> None:
    """A tar without members is a shard of zero samples."""
    assert read_all(tar_of([])) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"hello " * 200, "not a tar"),
        (b"hello", "text, not a tar"),
        (gzip.compress(tar_of(members())), "gzip"),
        (gzip.compress(b"", mtime=0), "gzip"),
    ],
)
def test_files_that_are_no_tar_are_refused(data: bytes, message: str, tmp_path: Path) -> None:
    """An empty file, a compressed tar and other data are distinct errors that name the shard."""
    (tmp_path / "x.tar").write_bytes(data)
    for source in (data, tmp_path / "x.tar"):
        with pytest.raises(ShardError, match=message) as caught:
            read_all(source)
        assert caught.value.shard == "data-000000.tar"


def test_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    """A path without a file is a ShardNotFoundError, which is a FileNotFoundError."""
    with pytest.raises(ShardNotFoundError, match="no-such"):
        read_all(tmp_path / "no-such.tar")


def test_two_samples_with_one_key_are_an_error() -> None:
    """A key that appears twice is an error, however far apart."""
    twice = [*members(5), members(1)[0]]
    with pytest.raises(ShardError, match="two samples") as caught:
        read_all(tar_of(twice))
    assert caught.value.key == "000000"


@settings(max_examples=60, deadline=None)
@given(data=st.data(), form=st.sampled_from(sorted(FORMS)))
def test_a_cut_shard_never_looks_whole(data: st.DataObject, form: str) -> None:
    """A shard cut anywhere, even between members, is an error or still has every sample."""
    format, fields = FORMS[form]
    whole = tar_of(members(4), format=format, **fields)
    # The archive is padded with zeros, of which the first block alone is the marker.
    marker = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    cut = data.draw(st.integers(0, marker - 1) | st.sampled_from(range(0, marker, 512)))
    with pytest.raises(ShardError):
        read_all(whole[:cut])
    with pytest.raises(ShardError):
        count_samples(io.BytesIO(whole[:cut]), shard="x")


def test_data_behind_the_end_is_an_error() -> None:
    """Two tars in one file, of which other readers see the first alone, are an error."""
    with pytest.raises(ShardError, match="after the end-of-archive marker"):
        read_all(tar_of(members(2)) + tar_of(members(3)))


def test_a_name_of_100_kb_is_refused() -> None:
    """A name far beyond any file system's limit is not taken for a key."""
    name = "n" * 100_000 + ".msgpack"
    with pytest.raises(ShardError, match="a name of 100,008 bytes"):
        read_all(tar_of([(name, b"\x80")], format=tarfile.PAX_FORMAT))


def test_a_header_that_lies_about_its_size_is_an_error() -> None:
    """A member that claims a terabyte is cut short, and no memory is taken for it."""
    info = tarfile.TarInfo("000000.msgpack")
    info.size = 2**31
    data = info.tobuf(tarfile.USTAR_FORMAT) + bytes(4096)
    with pytest.raises(ShardError, match="2,147,483,648 with padding; 4,096 are there"):
        read_all(data)
    info.size = 2**40
    with pytest.raises(ShardError, match="a sample of 1,099,511,627,776 bytes"):
        read_all(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))


def test_a_decode_error_says_where() -> None:
    """The error for a bad sample names shard, offset, key and path of the field."""
    bad = {"image": "no array", "label": 1, "word": ""}
    import msgpack

    with pytest.raises(
        DecodeError, match=r"^data-000000.tar, byte 512, sample '7': Digit \$\.image"
    ):
        read_all(tar_of([("7.msgpack", msgpack.packb(bad))]))


@settings(max_examples=20, deadline=None)
@given(count=st.integers(0, 40), chunk=st.sampled_from([1, 7, 511, 512, 4000, 1 << 20]))
def test_streams_may_come_in_pieces_of_any_size(count: int, chunk: int) -> None:
    """A stream that gives few bytes at a time holds the same samples."""
    data = tar_of(members(count))

    class Slow(io.RawIOBase):
        def __init__(self) -> None:
            self.inner = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, target: Any) -> int:
            return self.inner.readinto(memoryview(target)[:chunk])

    blocks = read_blocks(Slow(), shard="x", codec=codec_of(Digit))  # type: ignore[arg-type]
    assert [s for b in blocks for s in b.samples()] == digits(count)


def test_samples_larger_than_a_chunk_stream(tmp_path: Path) -> None:
    """Samples larger than any buffer come through a stream whole."""
    large = [Digit(np.full((3000, 4000 + i), i, np.uint8), i) for i in range(3)]
    path = shard_of(large, tmp_path)
    with path.open("rb") as stream:
        blocks = list(read_blocks(stream, shard="x", codec=codec_of(Digit)))
    assert [s for b in blocks for s in b.samples()] == large


def test_count_samples(tmp_path: Path) -> None:
    """Samples are counted without being decoded, from a file and from a stream."""
    path = shard_of(digits(9), tmp_path)
    assert count_samples(path, shard="x") == 9
    assert count_samples(io.BytesIO(path.read_bytes()), shard="x") == 9


def test_take_keeps_keys_and_samples_together(tmp_path: Path) -> None:
    """Part of a block has the keys and samples asked for, in that order."""
    [block] = read_blocks(shard_of(digits(9), tmp_path), shard="x", codec=codec_of(Digit))
    part = block.take(np.array([7, 2, 2]))
    assert list(part.keys) == ["000007", "000002", "000002"]
    assert part.samples() == [digits(9)[i] for i in (7, 2, 2)]
    assert list(block.take(slice(3, 5)).keys) == ["000003", "000004"]
    assert [bytes(p) for p in part.stored()] == [packed(digits(9))[i].payload for i in (7, 2, 2)]
