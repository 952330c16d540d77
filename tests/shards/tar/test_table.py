"""A sample table says where samples are, and is believed only where it is right."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.errors import ShardError
from atdata.shards.reader import scan_table
from atdata.shards.tar.check import headers_agree, plain_headers_agree
from atdata.shards.tar.table import SampleTable, parse_head
from atdata.shards.writer import write_keyed
from tests.shards.parts import FolderSink, digits, packed, shard_of, tar_of


class TableSink(FolderSink):
    """A folder that takes tables as well."""

    def accept_table(self, name: str, table: bytes) -> None:
        (self.folder / f"{name}.idx").write_bytes(table)


def table_of(path: Path) -> SampleTable:
    return scan_table(path, shard=path.name, shard_bytes=path.stat().st_size)


def test_the_written_table_is_that_of_a_scan(tmp_path: Path) -> None:
    """The table next to a shard agrees with its headers and with tarfile."""
    sink = TableSink(tmp_path)
    shards = write_keyed(packed(digits(50)), sink, stem="data", maxcount=30).shards
    for info in shards:
        path = Path(info.url)
        table = SampleTable.parse(path.with_name(path.name + ".idx").read_bytes())
        scanned = table_of(path)
        assert table.head.fits(path.stat().st_size, info.sha256)
        assert table.offsets.tolist() == scanned.offsets.tolist()
        assert table.sizes.tolist() == scanned.sizes.tolist()
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        assert [m.offset_data for m in members] == table.offsets.tolist()
        assert [f"{table.key(i)}.msgpack" for i in range(len(table))] == [m.name for m in members]


def test_keys_are_found(tmp_path: Path) -> None:
    """A key leads to its sample, and parts of keys, several keys in one and no key to none."""
    names = ["ab", "a", "b", "ba", "folder/ä", "aab"]
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of([(f"{name}.msgpack", b"\x80") for name in names]))
    table = SampleTable.parse(table_of(path).to_bytes())
    assert [table.find(name) for name in names] == list(range(6))
    assert [table.key(row) for row in range(6)] == names
    for other in ("", "aa", "abab", "folder", "ä", "\ud800"):
        assert table.find(other) is None


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_tables_of_all_forms_agree_with_their_shards(tmp_path: Path, form: int) -> None:
    """Headers of every kind, and long names, are those that the table was made of."""
    names = ["short", "folder/" + "y" * 90, "z"]
    if form != tarfile.USTAR_FORMAT:
        names.append("x" * 150)
    data = tar_of([(f"{n}.msgpack", bytes(i)) for i, n in enumerate(names)], format=form)
    table = scan_table(io.BytesIO(data), shard="s", shard_bytes=len(data))
    array = np.frombuffer(data, np.uint8)
    assert headers_agree(array, table.offsets, table.sizes)
    for row, name in enumerate(names):
        at, sizes = table.offsets[row : row + 1], table.sizes[row : row + 1]
        keys = table.key_matrix(np.array([row]))
        if keys is None:
            assert len(name) > 100
            continue
        assert plain_headers_agree(array, at, sizes, keys) or len(name) > 90
        assert not plain_headers_agree(array, at, sizes + 1, keys)
        keys[0, -1] ^= 1
        assert not plain_headers_agree(array, at, sizes, keys)
    assert not headers_agree(array, table.offsets, table.sizes + 1)
    assert not headers_agree(array, table.offsets[1:] - 512, table.sizes[1:])


@given(st.data())
def test_a_damaged_table_is_an_error(data: st.DataObject) -> None:
    """No changed, missing or added byte of a table goes unseen."""
    whole = SampleTable.of([512, 2048], [3, 4], [["a", "b"]], shard_bytes=4096, sha256=None)
    raw = bytearray(whole.to_bytes())
    kind = data.draw(st.sampled_from(["flip", "cut", "add"]))
    at = data.draw(st.integers(0, len(raw) - 1))
    if kind == "flip":
        raw[at] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del raw[at:]
    else:
        raw += bytes(at + 1)
    with pytest.raises(ShardError):
        SampleTable.parse(bytes(raw))


@pytest.mark.parametrize(
    ("offsets", "sizes"),
    [
        ([512, 1024], [600, 3]),  # overlapping
        ([1024, 512], [3, 3]),  # out of order
        ([0], [3]),  # no room for a header
        ([513], [3]),  # not where a payload can begin
        ([512], [2**40]),  # larger than any sample
        ([512], [4000]),  # after the end
        ([512], [-1]),
        ([-512], [1]),
        ([2**62], [512]),
    ],
)
def test_impossible_tables_are_refused(offsets: list[int], sizes: list[int]) -> None:
    """A table whose checksums hold, and whose claims cannot be, is refused."""
    keys = [str(n) for n in range(len(offsets))]
    table = SampleTable.of(offsets, sizes, [keys], shard_bytes=4096, sha256=None)
    with pytest.raises(ShardError):
        SampleTable.parse(table.to_bytes())


def test_a_table_cannot_claim_more_than_it_has() -> None:
    """A head that claims a billion samples is refused before anything is reserved for them."""
    raw = SampleTable.of([512], [3], [["a"]], shard_bytes=4096, sha256="00" * 32).to_bytes()
    head = bytearray(raw[:80])
    struct.pack_into("<Q", head, 56, 10**9)
    struct.pack_into("<I", head, 76, zlib.crc32(head[:76]))
    with pytest.raises(ShardError, match="claims 1,000,000,000 samples"):
        SampleTable.parse(bytes(head) + raw[80:])
    with pytest.raises(ShardError, match="not a sample table"):
        parse_head(b"PK\x03\x04" + bytes(100), 104)


def test_writing_without_a_place_for_tables_works(tmp_path: Path) -> None:
    """A sink that takes shards alone gets shards alone."""
    shard = shard_of(digits(3), tmp_path)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == [shard.name]
