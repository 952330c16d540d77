"""Samples by position and by key: exact, in few reads, whatever the tables are like."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import warnings
from contextlib import suppress
from operator import length_hint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata import Dataset, write_samples
from atdata.errors import (
    DecodeError,
    IntegrityError,
    LengthError,
    OptionError,
    SampleNotFoundError,
    ShardError,
)
from atdata.shards.reader import scan_table
from atdata.shards.tar.table import SampleTable
from tests.shards.parts import tar_of
from tests.sources.web import web_server


@atdata.packable
class Point:
    place: NDArray[np.float32]
    number: int


@atdata.packable
class Number:
    number: int


def points(count: int) -> list[Point]:
    return [Point(np.full(3, i, np.float32), i) for i in range(count)]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset[Point]:
    return write_samples(points(25), tmp_path / "points.tar", maxcount=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.integers(-25, 24)
    | st.lists(st.integers(-25, 24), max_size=30)
    | st.slices(25)
    | st.builds(np.array, st.lists(st.integers(-25, 24), min_size=1))
)
def test_indexing_is_that_of_a_list(dataset: Dataset[Point], index: Any) -> None:
    """A number gives a sample; slices, lists and arrays of numbers a batch: as NumPy would."""
    expected = np.arange(25)[index if not isinstance(index, list) else np.array(index, int)]
    found = dataset[index]
    if isinstance(index, int):
        assert found == points(25)[index]
    else:
        assert found.samples == [points(25)[i] for i in expected]
        assert found.number == expected.tolist()


def test_what_is_not_there_is_told(dataset: Dataset[Point]) -> None:
    """Positions out of range are IndexErrors, unknown keys KeyErrors, other indices refused."""
    for index in (25, -26, [0, 25]):
        with pytest.raises(
            IndexError, match=r"dataset has 25.* 0 to 24.*-1 .* to -25 for the first"
        ):
            dataset[index]
    with pytest.raises(KeyError, match="000000000"):
        dataset.by_key("no such key")
    with pytest.raises(OptionError, match=r"dataset\[number\]"):
        dataset.by_key(3)  # type: ignore[arg-type]
    for wrong in ("000000001", 1.5, True, [True], np.bool_(0), [1, True], [0.0], [[1]], None, {1}):
        with pytest.raises(OptionError, match="by_key"):
            dataset[wrong]  # type: ignore[index]
    assert issubclass(SampleNotFoundError, LookupError)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from([2**31, 2**32, 2**63, 2**64, 2**65, 10**30]),
    st.integers(-26, 26),
    st.sampled_from([1, -1]),
    st.lists(st.integers(-25, 24), max_size=3),
)
def test_no_position_wraps(
    dataset: Dataset[Point], base: int, near: int, sign: int, others: list[int]
) -> None:
    """A number of any size that is out of range is an IndexError that names it, in any form."""
    far = sign * base + near
    forms: list[Any] = [far, [*others, far], [far, *others], (far, *others)]
    forms.append(np.array([far, *others], object))
    for kind in (np.int64, np.uint64, np.int32, np.uint32):
        if np.iinfo(kind).min <= far <= np.iinfo(kind).max:
            forms += [kind(far), np.array([far], kind), [kind(far)]]
    for index in forms:
        with pytest.raises(IndexError, match=f"no sample {far}:"):
            dataset[index]


def test_numbers_of_every_kind_are_positions(dataset: Dataset[Point]) -> None:
    """NumPy's integers of every size, and objects that are numbers, mean what they say."""
    for kind in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64):
        position: Any = kind(24)
        assert dataset[position].number == 24
        assert dataset[np.array([24, 3], kind)].number == [24, 3]
    assert dataset[np.array([2, -1], object)].number == [2, 24]


def test_a_key_leads_to_its_sample(dataset: Dataset[Point]) -> None:
    """by_key gives the sample that is stored under a key, through every step."""
    assert dataset.by_key("000000017") == points(25)[17]
    assert dataset.as_type(Number).by_key("000000003") == Number(3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.text("ab/0ä", min_size=1, max_size=5) | st.integers(90, 120).map("k".__mul__)),
    st.integers(0, 9),
)
def test_keys_of_any_length_stay_with_their_samples(
    tmp_path: Path, names: list[str], seed: int
) -> None:
    """Short, long and other keys of several lengths come with their samples, in every order."""
    names = list(dict.fromkeys(f"{name}x" for name in names if "//" not in name))
    names = [name for name in names if not name.startswith("/")] + [f"n{i}" for i in range(12)]
    pack = Number.__atdata_codec__.pack  # type: ignore[attr-defined]
    for number, part in enumerate((names[::2], names[1::2])):
        members = [(f"{name}.msgpack", pack(Number(names.index(name)))) for name in part]
        (tmp_path / f"{number}.tar").write_bytes(tar_of(members, format=tarfile.PAX_FORMAT))
    dataset = Dataset[Number]([tmp_path / "0.tar", tmp_path / "1.tar"])
    for batch in (dataset[:], *dataset.shuffled(5, seed=seed)):
        assert [names[number] for number in batch.number] == list(batch.keys)
    for name in names[:3]:
        assert names[dataset.by_key(name).number] == name


def test_steps_apply_to_positions(dataset: Dataset[Point]) -> None:
    """Positions are of a mapped or viewed dataset as well; a filtered one has none."""
    assert dataset.as_type(Number)[5] == Number(5)
    assert dataset.map(lambda p: p.number * 2, int)[-1] == 48
    with pytest.raises(LengthError):
        dataset.filter(lambda p: True)[0]


def test_without_tables_beside_them_shards_are_scanned(dataset: Dataset[Point]) -> None:
    """Shards that come without tables, or with damaged ones, are read by position all the same."""
    for path in Path(dataset.shard_list[0]).parent.glob("*.idx"):
        path.write_bytes(b"nonsense") if "3" in path.name else path.unlink()
    again = Dataset[Point](dataset.shard_list)
    assert len(again) == 25
    assert again[[24, 0]].number == [24, 0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_damaged_table_never_changes_an_answer(dataset: Dataset[Point], data: Any) -> None:
    """With any byte of a table changed, positions, keys and epochs are what they were."""
    path = Path(dataset.shard_list[2] + ".idx")
    whole = path.read_bytes()
    damaged = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=3)):
        damaged[at] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    try:
        again = Dataset[Point](dataset.shard_list)
        wanted = data.draw(st.lists(st.integers(0, 24), min_size=1, max_size=5))
        assert [again[i] for i in wanted] == [points(25)[i] for i in wanted]
        assert Dataset[Point](dataset.shard_list).by_key(f"{wanted[0]:09d}").number == wanted[0]
        batch = Dataset[Point](dataset.shard_list)[wanted]
        assert batch.number == wanted
        assert batch.keys == [f"{i:09d}" for i in wanted]
        epoch = list(Dataset[Point](dataset.shard_list).shuffled(7, seed=1))
        assert sorted(n for batch in epoch for n in batch.number) == list(range(25))
        assert all(batch.keys == [f"{n:09d}" for n in batch.number] for batch in epoch)
    finally:
        path.write_bytes(whole)


def test_tables_are_checked_before_many_samples_are_read(tmp_path: Path) -> None:
    """An epoch with a damaged table next to a shard has each sample once."""
    write_samples((Point(np.zeros(3, np.float32), i) for i in range(9000)), tmp_path / "a.tar")
    path = tmp_path / "a.tar.idx"
    damaged = bytearray(path.read_bytes())
    damaged[80 + 8 * 8000] ^= 1
    damaged[-5] ^= 1
    path.write_bytes(damaged)
    epoch = Dataset[Point](tmp_path / "a.tar").shuffled(256, seed=1)
    pairs = [pair for b in epoch for pair in zip(b.number, b.keys, strict=True)]
    assert sorted(pairs) == [(i, f"{i:09d}") for i in range(9000)]


def test_a_table_of_another_shard_is_never_used(tmp_path: Path) -> None:
    """Tables that disagree in size, in hash or in one header are found out, and shards read."""
    a = write_samples(points(9), tmp_path / "a.tar")
    b = write_samples([Point(np.zeros(4, np.float32), i) for i in range(9)], tmp_path / "b.tar")
    assert Path(a.shard_list[0]).stat().st_size == Path(b.shard_list[0]).stat().st_size
    shutil.copy(tmp_path / "b.tar.idx", tmp_path / "a.tar.idx")
    # Known hash: the table is not even opened; unknown: the headers tell.
    assert a[4] == points(9)[4]
    assert Dataset[Point](tmp_path / "a.tar")[[8, 4]].number == [8, 4]
    c = write_samples(points(40), tmp_path / "c.tar")
    shutil.copy(tmp_path / "c.tar.idx", tmp_path / "a.tar.idx")
    assert len(Dataset[Point](tmp_path / "a.tar")) == 9
    assert len(c) == 40


def test_a_shard_that_is_written_anew_is_an_error(tmp_path: Path) -> None:
    """A dataset that was opened before its shard was changed never mixes old and new."""
    opened = write_samples(points(9), tmp_path / "a.tar")
    assert opened[3].number == 3
    Path(opened.shard_list[0]).write_bytes(b"short")
    with pytest.raises(ShardError):
        opened[3]


def test_a_shard_that_is_cut_short_meanwhile_is_an_error(tmp_path: Path) -> None:
    """A shard that is truncated during an epoch, or after opening, is an error that names it."""
    opened = write_samples(points(300), tmp_path / "a.tar")
    reading = opened.shuffled(50, seed=1)
    assert len(next(reading).number) == 50
    os.truncate(opened.shard_list[0], 100 * 1024)
    with pytest.raises(ShardError, match="cut short"):
        list(reading)
    for wanted in ([299, 3, 250], 299):
        with pytest.raises(ShardError, match="cut short"):
            opened[wanted]


_LET_GO = """
import gc, sys
from pathlib import Path
from atdata import Dataset
gc.disable()
for _ in range(2):
    dataset = Dataset(sys.argv[1])
    assert len(list(dataset.shuffled(64, seed=0))) == 10
    assert dataset[[3, 1]].number == [3, 1]
    assert "points.tar" in Path("/proc/self/maps").read_text()
    del dataset
    assert "points.tar" not in Path("/proc/self/maps").read_text()
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
def test_no_shard_stays_mapped_when_its_dataset_is_gone(tmp_path: Path) -> None:
    """Maps of shards go with their dataset at once, not when cycles are collected."""
    write_samples(points(600), tmp_path / "points.tar")
    subprocess.run([sys.executable, "-c", _LET_GO, f"{tmp_path}/*.tar"], check=True)


def test_by_position_files_are_hashed_before_they_are_read(tmp_path: Path) -> None:
    """Fully verified, a changed shard is an error by position and by ranges, however often read."""
    dataset = write_samples(points(40), tmp_path / "a.tar").verified("full")
    assert dataset[7].number == 7
    assert dataset.verified("full")[7].number == 7
    shard = Path(dataset.shard_list[0])
    changed = bytearray(shard.read_bytes())
    changed[512 * 5 + 40] ^= 1
    shard.write_bytes(changed)
    for read in (lambda d: d[7], lambda d: d[[1, 2]], lambda d: list(d.shuffled(8, seed=0))):
        for _ in range(2):
            with pytest.raises(IntegrityError, match="SHA-256"):
                read(dataset.verified("full"))


_FEW_FILES = """
import resource, sys
from atdata import Dataset
resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
dataset = Dataset(sys.argv[1])
assert sorted(n for b in dataset.shuffled(64, seed=0) for n in b.number) == list(range(600))
assert dataset[::-1].number == list(range(600))[::-1]
"""


def test_more_shards_than_files_that_may_be_open(tmp_path: Path) -> None:
    """An epoch over more shards than a process may have files open has every sample once."""
    write_samples(points(600), tmp_path / "points.tar", maxcount=3)
    subprocess.run([sys.executable, "-c", _FEW_FILES, f"{tmp_path}/*.tar"], check=True)


def test_a_sample_of_another_type_is_named(tmp_path: Path) -> None:
    """Of many samples by position, the error names shard, offset and key of the one at fault."""
    write_samples(points(3), tmp_path / "0.tar")
    write_samples([Number(1)], tmp_path / "1.tar")
    both = Dataset[Point]([tmp_path / "0.tar", tmp_path / "1.tar"])
    with pytest.raises(DecodeError, match=r"1\.tar, byte 512, sample '000000000'"):
        _ = both[[0, 3, 1]].samples


def test_over_http_only_what_is_needed_is_read(dataset: Dataset[Point]) -> None:
    """A sample on a server is read by a range, and neighbours by one request together."""
    with web_server() as site:
        for path in Path(dataset.shard_list[0]).parent.iterdir():
            site.files[f"/{path.name}"] = path.read_bytes()
        urls = [f"{site.url}/{Path(shard).name}" for shard in dataset.shard_list]
        remote = Dataset[Point](urls)
        assert len(remote) == 25
        assert all(path.endswith(".idx") for path, _ in site.asked)
        site.asked.clear()
        assert remote[5] == points(25)[5]
        assert remote[8:12].number == [8, 9, 10, 11]
        assert [p for p, _ in site.asked] == ["/points-000001.tar", "/points-000002.tar"]
        assert all("range" in headers for _, headers in site.asked)


def test_a_server_without_ranges_or_tables_is_read_whole(dataset: Dataset[Point]) -> None:
    """Where a server has neither tables nor ranges, positions still lead to their samples."""
    with web_server() as site:
        site.ranges = False
        for shard in dataset.shard_list:
            site.files[f"/{Path(shard).name}"] = Path(shard).read_bytes()
        urls = [f"{site.url}/{Path(s).name}" for s in dataset.shard_list]
        assert Dataset[Point](urls)[[24, 3]].number == [24, 3]
        assert Dataset[Point](urls).count() == 25


@pytest.mark.parametrize("tables", [False, True])
@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_in_extended_headers_are_checked_on_a_server(
    tmp_path: Path, format: int, tables: bool
) -> None:
    """By position, by key and shuffled, as local; a header may have another short name."""
    names = [f"k\u00e9{i}" for i in range(20)] + [f"a{i}" for i in range(3)] + ["\u65e5\u672c"]
    if format != tarfile.USTAR_FORMAT:
        names += ["n" * 120, "\u00e9" * 60, "m" * 120]
    pack = Number.__atdata_codec__.pack  # type: ignore[attr-defined]
    members = [(f"{name}.msgpack", pack(Number(i))) for i, name in enumerate(names)]
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of(members, format=format))
    local = Dataset[Number](path)
    assert list(local[:].keys) == names
    with web_server() as site:
        site.files["/a.tar"] = path.read_bytes()
        if tables:
            table = scan_table(path, shard="a.tar", shard_bytes=path.stat().st_size)
            site.files["/a.tar.idx"] = table.to_bytes()

        def remote() -> Dataset[Number]:
            found = Dataset[Number](f"{site.url}/a.tar")
            assert found.count() == len(names)
            return found

        for number, name in enumerate(names):
            if number % 5 == 0 or number > 20:
                assert remote()[number].number == number
                assert remote().by_key(name).number == number
        assert list(remote()[::3].keys) == names[::3]
        for batch in remote().split(0, 2).shuffled(4, seed=1):
            assert [names[number] for number in batch.number] == list(batch.keys)
        site.asked.clear()
        assert remote()[:].number == list(range(len(names)))
        # What is between neighbours was read with them.
        assert len(site.asked) <= 5
        other = Number(99)
        if format == tarfile.PAX_FORMAT and tables:
            # Of a table that lies, only the extended header says that it does.
            members[5] = ("k\u00e8" + names[5][2:] + ".msgpack", pack(other))
            site.files["/a.tar"] = tar_of(members, format=format)
            with pytest.raises((IntegrityError, SampleNotFoundError)):
                remote().by_key(names[5])


@pytest.mark.parametrize("ranges", [False, True])
@pytest.mark.parametrize("tables", [False, True])
def test_counting_never_reads_a_server_twice(
    dataset: Dataset[Point], ranges: bool, tables: bool
) -> None:
    """list() and progress bars ask for the length: no shard is read for it, and each once."""
    with web_server() as site:
        site.ranges = ranges
        for path in Path(dataset.shard_list[0]).parent.iterdir():
            if tables or path.suffix != ".idx":
                site.files[f"/{path.name}"] = path.read_bytes()
        remote = Dataset[Point]([f"{site.url}/{Path(s).name}" for s in dataset.shard_list])

        def asked() -> list[str]:
            names = [path for path, _ in site.asked if path.endswith(".tar")]
            site.asked.clear()
            return names

        assert length_hint(remote, -1) == (25 if tables else -1)
        assert asked() == []
        assert list(remote) == points(25)
        assert asked() == [f"/{Path(s).name}" for s in dataset.shard_list]
        if tables:
            assert len(remote) == 25
        else:
            with pytest.raises(LengthError, match=r"dataset\.count\(\)"):
                len(remote)
            with pytest.raises(LengthError):
                len(remote.split(0, 2))
        assert site.asked == []
        assert remote.count() == len(remote) == remote.count() == 25
        assert remote.split(0, 2).count() == len(remote.split(0, 2)) == 13
        assert len(asked()) == (0 if tables else len(dataset.shard_list))


def test_no_room_for_a_copy_is_told(dataset: Dataset[Point]) -> None:
    """Where a shard has to be copied to be read by position, and cannot be, the error says so."""
    program = """
import resource, signal, sys
import atdata
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))  # as a full disk: EFBIG
try:
    atdata.Dataset(sys.argv[1])[0]
except atdata.errors.SourceError as error:
    print(error)
"""
    with web_server() as site:
        site.ranges = False
        site.files["/a.tar"] = Path(dataset.shard_list[0]).read_bytes()
        command = [sys.executable, "-c", program, f"{site.url}/a.tar"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.startswith(f"{site.url}/a.tar: there is no room for a temporary copy")
    assert "TMPDIR" in said


def test_a_remote_table_that_lies_is_not_believed(dataset: Dataset[Point]) -> None:
    """A server's table with wrong places or sizes is found out by the samples' own headers."""
    shard = Path(dataset.shard_list[0])
    true = SampleTable.parse(shard.with_name(shard.name + ".idx").read_bytes())
    lie = SampleTable.of(
        true.offsets,
        true.sizes - 1,
        [[true.key(i) for i in range(4)]],
        shard_bytes=shard.stat().st_size,
        sha256=None,
    )
    with web_server() as site:
        site.files = {"/a.tar": shard.read_bytes(), "/a.tar.idx": lie.to_bytes()}
        assert Dataset[Point](f"{site.url}/a.tar")[2] == points(25)[2]


def test_from_a_bucket(s3_server: Any, s3_bucket: str, dataset: Dataset[Point]) -> None:
    """An S3 store keeps tables next to its shards, and samples are read by ranges."""
    store = atdata.local.S3DataStore(s3_server.credentials(), bucket=s3_bucket)
    urls = store.write_shards(dataset, prefix="points")
    remote = Dataset[Point](list(urls))
    found = s3_server.client().list_objects_v2(Bucket=s3_bucket)["Contents"]
    assert sum(item["Key"].endswith(".tar.idx") for item in found) == len(urls)
    assert len(remote) == 25
    assert remote[[20, 3, 4]].number == [20, 3, 4]


def test_a_dataset_can_be_sent_to_another_process(dataset: Dataset[Point]) -> None:
    """Pickled and copied datasets read by position as the first one does."""
    assert dataset[1] == points(25)[1]
    for other in (pickle.loads(pickle.dumps(dataset)), copy.copy(dataset)):
        assert other[7] == points(25)[7]
        assert other.sample_type is Point


_IN_MID_EPOCH = """
import resource, sys
from atdata import Dataset
resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
kept = []
for _ in range(60):
    dataset = Dataset(sys.argv[1])
    reading = dataset.shuffled(50, seed=0)
    assert len(next(reading).number) == 50
    assert dataset[[0, 300, 599]].number == [0, 300, 599]
    kept.append((dataset, reading))
for dataset, reading in kept[::20]:
    assert sum(len(batch) for batch in reading) == 550
"""


def test_datasets_kept_in_mid_epoch_share_the_files_that_may_be_open(tmp_path: Path) -> None:
    """Any number of them is read on, with no more files open than one of them may have."""
    write_samples(points(600), tmp_path / "points.tar", maxcount=60)
    subprocess.run([sys.executable, "-c", _IN_MID_EPOCH, f"{tmp_path}/*.tar"], check=True)


READS: dict[str, Any] = {
    "one by one": lambda ds: next(iter(ds)),
    "in order": lambda ds: next(ds.ordered(batch_size=7)),
    "shuffled": lambda ds: next(ds.shuffled(7, seed=1)),
    "columns": lambda ds: next(ds.batches(7)),
    "one": lambda ds: ds[5],
    "some": lambda ds: ds[5:9],
    "by key": lambda ds: ds.by_key("000000007"),
}


@atdata.packable
class Other:
    place: str


@pytest.mark.parametrize("read", READS)
def test_no_file_of_a_dataset_that_is_dropped_is_warned_of(read: str, tmp_path: Path) -> None:
    """A dataset has nothing to close: its files are closed with it, left early or failed."""
    points = [Point(np.zeros(2, np.float32), i) for i in range(60)]
    where = write_samples(points, tmp_path / "x.tar", maxcount=20, fsync=False).shard_list
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        for sample_type in (Point, Other):
            dataset = Dataset[sample_type](where)  # type: ignore[valid-type]
            with suppress(DecodeError):
                READS[read](dataset)
            del dataset
            gc.collect()
    assert [str(warning.message) for warning in warned] == []
