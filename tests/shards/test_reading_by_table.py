"""A shard read by its table gives what a scan of it gives, or an error; never anything else."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atdata.errors import DecodeError, ShardError
from atdata.samples.codec import codec_of
from atdata.samples.packable import packable
from atdata.shards.columns.column import copied_column
from atdata.shards.columns.decode import Block
from atdata.shards.reader import read_blocks, scan_table
from atdata.shards.tar.table import SampleTable
from atdata.shards.tar.window import MappedFile
from tests.shards.columns.test_decode import Wide, check_columns, identical, one_by_one, wide_shards
from tests.shards.parts import Digit, digits, packed, read_all, shard_of, tar_of


@packable
class Picture:
    """Large enough to be read from the file itself."""

    pixels: NDArray[np.uint8]
    label: int


def pictures(count: int, side: int = 300) -> list[Picture]:
    """Pictures that differ in every byte."""
    rng = np.random.default_rng(3)
    return [Picture(rng.integers(0, 256, (side, side), np.uint8), i) for i in range(count)]


def as_numpy_saves(picture: Picture) -> bytes:
    """A sample whose array has the order in the shard that it has in memory."""
    out = io.BytesIO()
    np.save(out, picture.pixels)
    return bytes(msgpack.packb({"pixels": out.getvalue(), "label": picture.label}))


FIRST_OF_FIVE = {"rows": 10_000, "first": 5}
"""The first block has five samples, the second one all others."""


def blocks_by(
    path: Path, table: SampleTable, sample_type: type[Any], **options: Any
) -> list[Block[Any]]:
    """The blocks that a table leads to."""
    codec = codec_of(sample_type)
    file = MappedFile(path)
    return list(read_blocks(file, table=table, shard="x.tar", codec=codec, **options))


def table_of(path: Path) -> SampleTable:
    """The table of a shard."""
    return scan_table(path, shard="x.tar", shard_bytes=path.stat().st_size)


@pytest.mark.filterwarnings("ignore::atdata.errors.UnknownFieldWarning")
@settings(max_examples=100, deadline=None)
@given(wide_shards(), st.booleans(), st.none() | st.integers(1, 9))
def test_a_table_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, shard: dict[str, Any], copy: bool, rows: int | None
) -> None:
    """Keys, samples and columns of any mix of layouts are what tarfile and the codec give."""
    path = tmp_path_factory.mktemp("tabled") / "x.tar"
    data = tar_of(**shard)
    path.write_bytes(data)
    expected = one_by_one(data, Wide)
    at = 0
    for block in blocks_by(path, table_of(path), Wide, rows=rows, copy=copy):
        part = expected[at : at + len(block)]
        assert list(block.keys) == [key for key, _ in part]
        assert identical(block.samples(), [sample for _, sample in part])
        for name, column in block.columns().items():
            check_columns(column, [getattr(sample, name) for _, sample in part], copy=copy)
        at += len(block)
    assert at == len(expected)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_wrong_table_is_never_believed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A table with other places or sizes gives the shard's own samples, or an error."""
    path = tmp_path_factory.mktemp("wrong") / "x.tar"
    path.write_bytes(tar_of([(f"{p.key}.msgpack", p.payload) for p in packed(digits(40))]))
    right = table_of(path)
    offsets, sizes = right.offsets.copy(), right.sizes.copy()
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, 39))
        if data.draw(st.booleans()):
            sizes[row] = max(0, int(sizes[row]) + data.draw(st.integers(-9, 9)))
        else:
            offsets[row] += 512 * data.draw(st.integers(-2, 2))
    wrong = SampleTable.of(
        offsets,
        sizes,
        [right.keys(np.arange(40))],
        shard_bytes=right.head.shard_bytes,
        sha256=None,
    )
    expected = [sample for _, sample in read_all(path)]
    try:
        wrong.check()
        found = [s for block in blocks_by(path, wrong, Digit) for s in block.samples()]
        columns = [block.columns() for block in blocks_by(path, wrong, Digit)]
    except (ShardError, DecodeError):
        return
    assert all(any(identical(sample, right) for right in expected) for sample in found)
    assert sum(len(column["label"]) for column in columns) == len(found)


def test_a_table_of_another_shard_is_not_used(tmp_path: Path) -> None:
    """The table of a shard of the same size, with other samples, leads to a scan."""
    path = shard_of(digits(30), tmp_path / "a")
    other = tar_of([(f"other/{p.key}.msgpack", p.payload) for p in packed(digits(30))])
    (tmp_path / "b.tar").write_bytes(other.ljust(path.stat().st_size, b"\0"))
    stale = table_of(tmp_path / "b.tar").for_shard(path.stat().st_size, None)
    (block,) = blocks_by(path, stale, Digit)
    assert list(block.keys) == [f"{i:06d}" for i in range(30)]
    assert block.samples() == digits(30)


def test_a_shard_shorter_than_its_table_says_is_cut_short(tmp_path: Path) -> None:
    """A file that was truncated is an error, also when its table has seen it whole."""
    path = shard_of(digits(30), tmp_path)
    table = table_of(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ShardError, match="cut short"):
        blocks_by(path, table, Digit)


def test_a_damaged_sample_is_named(tmp_path: Path) -> None:
    """A sample that cannot be decoded is named with its key, as without a table."""
    path = shard_of(digits(30), tmp_path)
    table = table_of(path)
    data = bytearray(path.read_bytes())
    data[int(table.offsets[17])] = 0xC1
    path.write_bytes(data)
    (block,) = blocks_by(path, table, Digit)
    named = rf"x\.tar, byte {table.offsets[17]}, sample '000017'"
    with pytest.raises(DecodeError, match=named):
        block.columns()
    with pytest.raises(DecodeError, match=named):
        block.samples()


def test_a_payload_without_a_header_is_no_sample(tmp_path: Path) -> None:
    """A table that leads to something else is not used, or the error says at which sample."""
    path = shard_of(digits(30), tmp_path)
    right = table_of(path)
    offsets = right.offsets.copy()
    offsets[17] -= 512
    keys = right.keys(np.arange(30))
    size = right.head.shard_bytes
    wrong = SampleTable.of(offsets, right.sizes, [keys], shard_bytes=size, sha256=None)
    (block,) = blocks_by(path, wrong, Digit)
    assert block.samples() == digits(30)
    with pytest.raises(ShardError, match=r"disagree at sample 17: .*remove the \.idx file"):
        blocks_by(path, wrong, Digit, **FIRST_OF_FIVE)


def test_a_damaged_name_is_blamed_on_neither_file(tmp_path: Path) -> None:
    """Which of a shard and its table was changed is not known: the error names both, the sample,
    and what checks the shard."""
    path = shard_of(digits(30), tmp_path)
    table = table_of(path)
    with path.open("r+b") as file:
        file.seek(int(table.offsets[17]) - 512)
        file.write(b"x")
    (block,) = blocks_by(path, table, Digit)
    with pytest.raises(ShardError, match=r"disagree at sample 17: .*atdata verify") as caught:
        list(block.keys)
    assert caught.value.offset == int(table.offsets[17]) - 512


@pytest.mark.parametrize("count", [3, 60])
def test_large_arrays_are_read_whole(tmp_path: Path, count: int) -> None:
    """Arrays read from the file itself, by one thread or two, are those that were written."""
    path = shard_of(pictures(count), tmp_path)
    for block in blocks_by(path, table_of(path), Picture, rows=256):
        column = copied_column(block.columns()["pixels"])
        assert isinstance(column, np.ndarray)
        assert column.flags.writeable
        assert all((a == p.pixels).all() for a, p in zip(column, pictures(count), strict=True))
        for found, expected in zip(block.each(), pictures(count), strict=True):
            assert found == expected
            assert found.pixels.flags.writeable


def test_arrays_in_fortran_order_are_read_as_they_are(tmp_path: Path) -> None:
    """Others write arrays in Fortran order: each is what it says, copied or viewed."""
    for side in (5, 300):
        samples = [Picture(np.asfortranarray(p.pixels[:, :-1]), p.label) for p in pictures(9, side)]
        path = tmp_path / f"{side}.tar"
        path.write_bytes(tar_of([(f"{s.label}.msgpack", as_numpy_saves(s)) for s in samples]))
        for copy in (True, False):
            (block,) = blocks_by(path, table_of(path), Picture, rows=256, copy=copy)
            column = copied_column(block.columns()["pixels"])
            assert (np.asarray(column) == np.stack([s.pixels for s in samples])).all()
        assert block.samples() == samples


def test_a_large_shard_cut_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    """What was cut off after the shard was opened is missed by the read, which says so."""
    path = shard_of(pictures(8), tmp_path)
    (block,) = blocks_by(path, table_of(path), Picture, rows=256)
    column = block.columns()["pixels"]
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ShardError, match="cut short while it was read"):
        copied_column(column)


def test_views_are_of_the_shard_and_cannot_be_changed(tmp_path: Path) -> None:
    """Without a copy, arrays are read-only and stay what they are when all else is gone."""
    path = shard_of(digits(30), tmp_path)
    (block,) = blocks_by(path, table_of(path), Digit, copy=False)
    images = block.columns()["image"]
    assert isinstance(images, np.ndarray)
    assert not images.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        images[0, 0, 0] = 1
    del block
    assert (images == np.stack([digit.image for digit in digits(30)])).all()


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_streams_give_views_as_well(format: int) -> None:
    """A stream's arrays are views of the piece that they were read in."""
    members = [(f"{p.key}.msgpack", p.payload) for p in packed(digits(40))]
    data = io.BytesIO(tar_of(members, format=format, mtime=1.5))
    codec = codec_of(Digit)
    for block in read_blocks(data, shard="x.tar", codec=codec, copy=False):
        images = block.columns()["image"]
        assert isinstance(images, np.ndarray)
        expected = [sample.image for sample in block.samples()]
        assert (images == np.stack(expected)).all()
