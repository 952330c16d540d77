"""Tables that lie: whatever one leaves out or renames, no sample is lost and none is wrong."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import atdata
from atdata import Dataset, write_samples
from atdata.errors import IntegrityError, ShardError
from atdata.local import DiskDataStore, LocalIndex
from atdata.shards.reader import scan_table
from atdata.shards.tar.table import SampleTable
from tests.shards.parts import tar_of
from tests.sources.web import web_server

COUNT = 12


@atdata.packable
class Item:
    number: int
    word: str


def items(count: int = COUNT) -> list[Item]:
    """Samples whose payloads have one size."""
    return [Item(i, f"{i:05d}" * 8) for i in range(count)]


def keys_of(length: int) -> list[str]:
    """Keys that differ at their ends, so that the beginning of a long one tells nothing."""
    return [f"{'k' * length}{i:03d}" for i in range(COUNT)]


@contextmanager
def placed(keys: list[str]) -> Iterator[tuple[Path, SampleTable]]:
    """A shard with these keys and what is true of it; its folder goes afterwards."""
    folder = Path(tempfile.mkdtemp())
    try:
        pack = Item.__atdata_codec__.pack  # type: ignore[attr-defined]
        path = folder / "x.tar"
        members = [(f"{k}.msgpack", pack(item)) for k, item in zip(keys, items(), strict=True)]
        path.write_bytes(tar_of(members, format=tarfile.GNU_FORMAT))
        yield path, scan_table(path, shard="x", shard_bytes=path.stat().st_size)
    finally:
        shutil.rmtree(folder)


def lie(true: SampleTable, rows: list[int], keys: list[str], stretch: dict[int, int]) -> bytes:
    """A table of some rows with other keys and sizes, its checksums right."""
    sizes = [int(true.sizes[row]) + stretch.get(row, 0) for row in rows]
    table = SampleTable.of(
        [int(true.offsets[row]) for row in rows],
        sizes,
        [keys],
        shard_bytes=true.head.shard_bytes,
        sha256=None,
    )
    return table.to_bytes()


WAYS: dict[str, Callable[[Dataset[Item], list[str]], Any]] = {
    "iterated": lambda ds, keys: [s.number for s in ds],
    "batches": lambda ds, keys: [n for b in ds.ordered(5) for n in b.number],
    "keys of batches": lambda ds, keys: [keys.index(k) for b in ds.ordered(5) for k in b.keys],
    "positions": lambda ds, keys: [ds[i].number for i in range(COUNT)],
    "slices": lambda ds, keys: ds[:].number,
    "keys of slices": lambda ds, keys: [keys.index(k) for k in ds[:].keys],
    "by key": lambda ds, keys: [ds.by_key(k).number for k in keys],
    "shuffled": lambda ds, keys: sorted(n for b in ds.shuffled(4, seed=1) for n in b.number),
    "parts": lambda ds, keys: sorted(s.number for r in (0, 1) for s in ds.split(r, 2)),
}


def hold(open_dataset: Callable[[], Dataset[Item]], keys: list[str]) -> None:
    """Every way of reading gives every sample, or an error."""
    for way, read in WAYS.items():
        try:
            found = read(open_dataset(), keys)
        except ShardError:
            continue
        assert found == list(range(COUNT)), way


@st.composite
def lies(draw: st.DrawFn) -> tuple[int, list[int], list[int], dict[int, int]]:
    """Length of keys, rows that are left, whose keys they get, and by how much they are longer."""
    length = draw(st.sampled_from([2, 60, 99, 130]))
    rows = sorted(draw(st.sets(st.integers(0, COUNT - 1))))
    named = draw(st.just(rows) | st.permutations(range(COUNT)).map(lambda p: list(p[: len(rows)])))
    stretch = draw(st.dictionaries(st.integers(0, COUNT - 1), st.sampled_from([1, 512, 1024])))
    return length, rows, named, draw(st.just({}) | st.just(stretch))


@settings(max_examples=60, deadline=None)
@given(lies(), st.booleans())
def test_no_lie_is_believed(claims: Any, full: bool) -> None:
    """Local, with any rows left out, renamed or longer than they are: all samples, or an error."""
    length, rows, named, stretch = claims
    keys = keys_of(length)
    with placed(keys) as (path, true):
        table_path = path.with_name("x.tar.idx")
        table_path.write_bytes(lie(true, rows, [keys[n] for n in named], stretch))
        whole = Dataset[Item](path).verified("full") if full else Dataset[Item](path)
        hold(lambda: whole.verified("full") if full else Dataset[Item](path), keys)
        if full or not stretch:
            assert len(whole) == COUNT


@pytest.mark.parametrize(
    "rows", [range(0, COUNT, 2), range(1, COUNT), range(COUNT - 1), range(0), [3]]
)
def test_over_http_a_table_that_leaves_samples_out_is_not_used(rows: Any) -> None:
    """Wherever a table omits samples, len and every way of reading are complete."""
    keys = keys_of(2)
    with placed(keys) as (path, true), web_server() as site:
        table = lie(true, list(rows), [keys[r] for r in rows], {})
        site.files = {"/x.tar": path.read_bytes(), "/x.tar.idx": table}
        url = f"{site.url}/x.tar"
        assert Dataset[Item](url)[:].number == list(range(COUNT))
        assert Dataset[Item](url).by_key(keys[-1]).number == COUNT - 1
        assert sorted(s.number for s in Dataset[Item](url).shuffled(seed=3)) == list(range(COUNT))
        hold(lambda: Dataset[Item](url), keys)


@pytest.mark.parametrize("length", [2, 60, 99, 130])
@pytest.mark.parametrize("remote", [False, True])
def test_keys_of_a_table_are_compared_with_headers(length: int, remote: bool) -> None:
    """A table that swaps keys leads each key to its own sample, one by one and in a batch."""
    keys = keys_of(length)
    swapped = [keys[1], keys[0], *keys[2:]]
    with placed(keys) as (path, true), web_server() as site:
        table = lie(true, list(range(COUNT)), swapped, {})
        path.with_name("x.tar.idx").write_bytes(table)
        site.files = {"/x.tar": path.read_bytes(), "/x.tar.idx": table}
        where = f"{site.url}/x.tar" if remote else path
        assert Dataset[Item](where).by_key(keys[0]).number == 0
        assert Dataset[Item](where)[[1, 0]].keys == [keys[1], keys[0]]
        assert Dataset[Item](where)[0].number == 0


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_shard_rewritten_in_another_order_is_read_as_it_is(
    tmp_path: Path, keep_times: bool
) -> None:
    """A table of before, of the same size, leads to no other sample; whichever file is newer.

    A dataset that was opened before says so, where the time of the change tells.
    """
    with placed(keys_of(2)) as (path, true):
        shard = tmp_path / "x.tar"
        shutil.copy(path, shard)
        (tmp_path / "x.tar.idx").write_bytes(true.to_bytes())
        before = shard.stat()
        assert Dataset[Item](shard)[5].number == 5
        opened = Dataset[Item](shard)
        assert len(opened) == COUNT
        data = bytearray(path.read_bytes())
        first, other = (slice(int(true.offsets[n]) - 512, true.end_of(n)) for n in (0, 5))
        data[first], data[other] = data[other], data[first]
        shard.write_bytes(data)
        if keep_times:
            os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
        if not keep_times:
            with pytest.raises(IntegrityError, match="Open the dataset again"):
                opened.by_key("kk000")
        for ds in (opened, Dataset[Item](shard))[not keep_times :]:
            assert ds.by_key("kk000").number == 0
            assert ds.by_key("kk005").number == 5
        assert [Dataset[Item](shard)[n].number for n in (0, 5)] == [5, 0]
        assert next(iter(Dataset[Item](shard).ordered(4))).keys[0] == "kk005"


def test_a_damaged_header_is_an_error_in_all_ways(tmp_path: Path) -> None:
    """Also a byte that says nothing of a sample, and whether there is a table or not."""
    shard = Path(write_samples(items(), tmp_path / "x.tar", fsync=False).shard_list[0])
    data = bytearray(shard.read_bytes())
    data[1024 + 182] ^= 1
    times = shard.stat()
    shard.write_bytes(data)
    os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))
    for read in WAYS.values():
        opened = Dataset[Item](shard)
        with pytest.raises(ShardError, match="byte 1024"):
            read(opened, [f"{n:09d}" for n in range(COUNT)])


def test_no_record_is_made_of_a_lie(tmp_path: Path) -> None:
    """An index, a copy in a store and a full check count the samples, not the table's."""
    dataset = write_samples(items(), tmp_path / "x.tar", fsync=False)
    table_path = tmp_path / "x.tar.idx"
    true = SampleTable.parse(table_path.read_bytes())
    table_path.write_bytes(lie(true, [0, 2], [true.key(0), true.key(2)], {}))
    opened = Dataset[Item](dataset.shard_list[0])
    assert [s.number for s in opened.verified("full")] == list(range(COUNT))
    for store in (None, DiskDataStore(tmp_path / "store")):
        index = LocalIndex(tmp_path / f"{store is None}.db", data_store=store)
        entry = index.insert_dataset(Dataset[Item](opened.shard_list[0]), name="x")
        assert entry.shards[0].samples == COUNT
        assert len(list(Dataset[Item](entry))) == len(Dataset[Item](entry)[:].number) == COUNT


@st.composite
def members_taken(draw: st.DrawFn) -> tuple[bool, str, set[int]]:
    """Whether keys have one length, another suffix, and which of 300 samples a table takes it for.

    Those whose headers are compared when a table is opened keep their own.
    """
    alike, suffix = draw(st.booleans()), draw(st.sampled_from(["old", "xmsgpack", "msgpack2"]))
    opened = {n * 299 // 7 for n in range(8)} | {0, 149, 299}
    taken = draw(st.sets(st.integers(0, 299), min_size=1) | st.just(set(range(300))))
    return alike, suffix, (taken - opened) or {1}


@pytest.mark.filterwarnings("ignore::atdata.errors.UnreadMembersWarning")
@settings(max_examples=30, deadline=None)
@given(members_taken(), st.booleans())
def test_no_other_member_is_taken_for_a_sample(claims: Any, recorded: bool) -> None:
    """In a shard too large for all headers to be compared when it is opened, with members that
    decode as the type: whatever a table says, every way gives the samples, or an error."""
    alike, suffix, taken = claims
    keys = [f"{i:05d}" if alike else f"{'k' * (i % 3)}{i:05d}" for i in range(300)]
    pack = Item.__atdata_codec__.pack  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.tar"
        words = "w" * 700
        own = [(f"{k}.msgpack", pack(Item(i, words))) for i, k in enumerate(keys)]
        other = [(f"{k}.{suffix}", pack(Item(1000 + i, words))) for i, k in enumerate(keys)]
        # A shard that begins with k.msgpack and k.json is one of another layout.
        mixed = [m for pair in zip(own[1:], other[1:], strict=True) for m in pair]
        path.write_bytes(tar_of([own[0], *mixed, other[0]]))
        info = Dataset[Item](path).describe_shards()
        with tarfile.open(path) as tar:
            at = {member.name: (member.offset_data, member.size) for member in tar}
        rows = [at[(other if i in taken else own)[i][0]] for i in range(300)]
        table = SampleTable.of(
            [offset for offset, _ in rows],
            [size for _, size in rows],
            [keys],
            shard_bytes=path.stat().st_size,
            sha256=info[0].sha256,
        )
        path.with_name("x.tar.idx").write_bytes(table.to_bytes())
        for way, read in IN_ORDER.items():
            try:
                found = read(Dataset.of(Item, path, shards=info if recorded else ()))
            except ShardError:
                continue
            assert found == list(range(300)), way


IN_ORDER: dict[str, Callable[[Dataset[Item]], Any]] = {
    "iterated": lambda ds: [s.number for s in ds],
    "batches": lambda ds: [n for b in ds.ordered(5) for n in b.number],
    "columns": lambda ds: [n for b in ds.batches(64) for n in b["number"].tolist()],
    "filtered": lambda ds: [s.number for s in ds.filter(lambda s: True)],
    "mapped": lambda ds: list(ds.map(lambda s: s.number)),
    "slices": lambda ds: list(ds[:].number),
    "shuffled": lambda ds: sorted(s.number for s in ds.shuffled(seed=1)),
}
