"""A dataset reads one version of each shard: what was, or what is, or an error; never of both."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import atdata
from atdata import Dataset, write_samples
from atdata.dataset.reading.shards import shards_by_name
from atdata.errors import IntegrityError, ShardError, SourceError
from atdata.shards.tar.window import MappedFile
from tests.sources.web import web_server


@atdata.packable
class Row:
    number: int
    pad: bytes


LAYOUTS = [
    [100] * 4 + [1500],
    # As many bytes as the first one, and one sample more.
    [100] * 4 + [100, 400],
    [1500] + [100] * 4,
    [100] * 3,
    [100] * 7,
]

WAYS: dict[str, Callable[[Dataset[Row]], Any]] = {
    "count": lambda ds: ds.count(),
    "first": lambda ds: [ds[0].number],
    "positions": lambda ds: [ds[n].number for n in range(ds.count())],
    "slice": lambda ds: [s.number for s in ds[:]],
    "by key": lambda ds: [ds.by_key(f"{n:09d}").number for n in range(3)],
    "ordered": lambda ds: [s.number for s in ds.ordered()],
    "batches": lambda ds: [n for b in ds.ordered(2) for n in b.number],
    "columns": lambda ds: [n for b in ds.batches(2) for n in b["number"].tolist()],
    "shuffled": lambda ds: sorted(s.number for s in ds.shuffled(seed=1)),
    "parts": lambda ds: sorted(s.number for r in (0, 1) for s in ds.split(r, 2).ordered()),
    "sent": lambda ds: [s.number for s in pickle.loads(pickle.dumps(ds))[:]],
}
"""Of those that give samples, in the order they are stored in."""


def version(sizes: list[int], base: int, name: str = "x.tar") -> dict[str, bytes]:
    """A shard and its table: file name → bytes."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [Row(base + n, bytes(size)) for n, size in enumerate(sizes)]
        write_samples(rows, Path(folder) / "x.tar", fsync=False)
        return {f"{name}{end}": Path(folder, f"x.tar{end}").read_bytes() for end in ("", ".idx")}


@dataclass
class Change:
    """What is done to a shard between two uses."""

    layout: int
    table: str
    """Its "own" table, the "old" one, or "none"."""
    time: str
    """Its time of change: "now", "past", or "kept"."""
    in_place: bool


changes = st.builds(
    Change,
    layout=st.integers(0, len(LAYOUTS) - 1),
    table=st.sampled_from(["own", "old", "none"]),
    time=st.sampled_from(["now", "past", "kept"]),
    in_place=st.booleans(),
)


def put(folder: Path, files: dict[str, bytes], how: Change) -> None:
    before = (folder / "x.tar").stat()
    for name, data in files.items():
        place = folder / name if how.in_place else folder / "new"
        place.write_bytes(data)
        if name == "x.tar" and how.time != "now":
            time = 10**18 if how.time == "past" else before.st_mtime_ns
            os.utime(place, ns=(time, time))
        place.replace(folder / name)
    if how.table == "none":
        (folder / "x.tar.idx").unlink()


def outcome(way: str, dataset: Dataset[Row]) -> Any:
    """What a way gives; its error where that is one that tells."""
    try:
        return WAYS[way](dataset)
    except (ShardError, SourceError) as error:
        return error


def right(way: str, numbers: list[int]) -> Any:
    return {"count": len(numbers), "first": numbers[:1], "by key": numbers[:3]}.get(way, numbers)


def check(
    dataset: Dataset[Row],
    first: str,
    then: list[str],
    change: Callable[[], Any],
    old: list[int],
    new: list[int],
) -> None:
    """Use a dataset, change what it is of, and use it again."""
    assert outcome(first, dataset) == right(first, old)
    change()
    for way in then:
        found = outcome(way, dataset)
        if isinstance(found, Exception):
            assert isinstance(outcome(way, dataset), Exception), (way, "an error only once", found)
        else:
            wanted = [right(way, old), right(way, new)]
            if way in ("positions", "by key"):
                # Each of them is a use of its own.
                assert all(n in pair for n, *pair in zip(found, *wanted, strict=False)), found
            else:
                assert found in wanted, (way, found)


two = st.tuples(st.sampled_from(sorted(WAYS)), st.lists(st.sampled_from(sorted(WAYS)), max_size=3))
NEIGHBOUR = version([100] * 4, 500, "y.tar")


@settings(max_examples=80, deadline=None)
@given(st.integers(0, len(LAYOUTS) - 1), changes, two, st.booleans())
def test_a_local_shard_that_changes_is_read_as_it_was_or_is_or_not(
    layout: int, change: Change, uses: tuple[str, list[str]], alone: bool
) -> None:
    """Between any two uses, any change of a shard: no sample is lost, doubled or another's."""
    old, new = version(LAYOUTS[layout], 0), version(LAYOUTS[change.layout], 100)
    if change.table == "old":
        del new["x.tar.idx"]
    with tempfile.TemporaryDirectory() as folder:
        neighbours = {} if alone else NEIGHBOUR
        for name, data in {**old, **neighbours}.items():
            (Path(folder) / name).write_bytes(data)
        check(
            Dataset[Row](Path(folder)),
            uses[0],
            uses[1],
            lambda: put(Path(folder), new, change),
            *(
                [*range(base, base + len(LAYOUTS[n])), *([] if alone else range(500, 504))]
                for base, n in ((0, layout), (100, change.layout))
            ),
        )
        # Whoever opens it now gets what is there, in all ways.
        for way in WAYS:
            there = [*range(100, 100 + len(LAYOUTS[change.layout]))]
            there += [] if alone else range(500, 504)
            assert outcome(way, Dataset[Row](Path(folder))) == right(way, there), way


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(LAYOUTS) - 1), changes, two, st.booleans(), st.booleans())
def test_a_shard_that_changes_on_its_server_is_read_as_it_was_or_is_or_not(
    layout: int, change: Change, uses: tuple[str, list[str]], ranges: bool, etags: bool
) -> None:
    """The same over http, with and without ranges and ETags."""
    old, new = version(LAYOUTS[layout], 0), version(LAYOUTS[change.layout], 100)
    with web_server() as site:
        site.ranges, site.etags = ranges, etags
        site.files = {f"/{name}": data for name, data in old.items()}

        def put() -> None:
            site.files["/x.tar"] = new["x.tar"]
            if change.table == "own":
                site.files["/x.tar.idx"] = new["x.tar.idx"]
            elif change.table == "none":
                del site.files["/x.tar.idx"]

        check(
            Dataset[Row](f"{site.url}/x.tar"),
            uses[0],
            uses[1],
            put,
            *(
                [*range(base, base + len(LAYOUTS[n]))]
                for base, n in ((0, layout), (100, change.layout))
            ),
        )


def test_the_error_names_the_shard_and_says_what_to_do(tmp_path: Path) -> None:
    """On a server without ranges it is the URL, not the copy that was made of the shard."""
    with web_server() as site:
        site.ranges = False
        site.files = {f"/{n}": data for n, data in version([100] * 6, 0).items()}
        dataset = Dataset[Row](f"{site.url}/x.tar")
        assert len(dataset) == 6
        site.files = {f"/{n}": data for n, data in version([100] * 4, 0).items()}
        for _ in range(2):
            with pytest.raises(IntegrityError, match=rf"{site.url}/x\.tar.*Open the dataset again"):
                _ = dataset[:].samples


def test_a_dataset_sent_elsewhere_is_of_what_was_counted(tmp_path: Path) -> None:
    """A worker that finds other numbers of samples does not take its part of them."""
    write_samples([Row(n, b"") for n in range(6)], tmp_path / "x.tar", fsync=False)
    dataset = Dataset[Row](tmp_path / "x.tar")
    assert len(dataset) == 6
    sent = pickle.dumps(dataset.split(0, 2))
    write_samples([Row(n, b"") for n in range(4)], tmp_path / "x.tar", fsync=False)
    with pytest.raises(IntegrityError, match="Open the dataset again"):
        list(pickle.loads(sent).shuffled(seed=1))


LARGE_BYTES = 1 << 14


def large(where: Path, base: int) -> Path:
    """A shard of more than one block of samples, none of whose times is of now."""
    rows = (Row(base + n, bytes(LARGE_BYTES)) for n in range(300))
    path = Path(write_samples(rows, where / "x.tar", fsync=False).shard_list[0])
    for place in (path, path.with_name("x.tar.idx")):
        os.utime(place, ns=(10**18, 10**18))
    return path


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("way", ["ordered", "batches", "packed", "positions"])
def test_a_shard_overwritten_while_it_is_read_is_an_error(
    tmp_path: Path, table: bool, full: bool, way: str
) -> None:
    """Samples of two versions never come without an error, however the shard is read."""
    path, other = large(tmp_path / "old", 0), large(tmp_path / "new", 100)
    if not table:
        path.with_name("x.tar.idx").unlink()
    dataset = Dataset[Row](path)
    if full:
        dataset = Dataset.of(Row, path, shards=dataset.describe_shards()).verified("full")
    ways: dict[str, Callable[[], Any]] = {
        "ordered": lambda: (s.number for s in dataset.ordered()),
        "batches": lambda: (n for b in dataset.ordered(4) for n in b.number),
        "packed": lambda: (sample.key for sample in dataset.packed()),
        "positions": lambda: (n for at in range(0, 300, 4) for n in dataset[at : at + 4].number),
    }
    found = ways[way]()
    next(found)
    with path.open("r+b") as file:
        file.write(other.read_bytes())
    with pytest.raises(IntegrityError, match="Open the dataset again"):
        list(found)


def test_one_sample_of_a_hashed_shard_is_of_what_was_hashed(tmp_path: Path) -> None:
    """With verified("full"), a shard overwritten between two positions is an error at the next."""
    path, other = (
        Path(write_samples([Row(base + n, b"") for n in range(9)], tmp_path / name).shard_list[0])
        for base, name in ((0, "old/x.tar"), (100, "new/x.tar"))
    )
    known = Dataset[Row](path).describe_shards()
    dataset = Dataset.of(Row, path, shards=known).verified("full")
    assert dataset[0].number == 0
    with path.open("r+b") as file:
        file.write(other.read_bytes())
    os.utime(path, ns=(10**18, 10**18))
    reads: list[Callable[[], Any]] = [lambda: dataset[1], lambda: dataset.by_key("000000003")]
    for read in reads:
        with pytest.raises(IntegrityError, match="Open the dataset again"):
            read()


def test_what_is_hashed_is_what_is_opened(tmp_path: Path) -> None:
    """A file put in a shard's place after its hash was taken, alike in size and time of change, is
    not read."""
    path, other = large(tmp_path / "old", 0), large(tmp_path / "new", 100)
    dataset = Dataset.of(Row, path, shards=Dataset[Row](path).describe_shards())
    known = {str(path): dataset.describe_shards()[0]}
    [shard] = shards_by_name([str(path)], dataset.source, known, "full")
    shard.opened(MappedFile)

    def replaced(path: Path) -> MappedFile:
        other.replace(path)
        return MappedFile(path)

    with pytest.raises(IntegrityError, match="Open the dataset again"):
        shard.opened(replaced)
