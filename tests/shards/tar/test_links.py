"""Links and other members: what unpacking a shard would give is read, or reported."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import atdata
from atdata.dataset.reading.verify import verify_shards
from atdata.errors import AtdataError, ShardError, UnreadMembersWarning
from atdata.shards.reader import scan_table

Made = Sequence[tuple[str, Any]]
"""Names, each with a payload, or with the type and the target of a link, or the type of another."""


def tar_at(path: Path, members: Made, form: int = tarfile.PAX_FORMAT) -> Path:
    """A tar as Python's tarfile writes it."""
    with tarfile.open(path, "w", format=form) as tar:
        for name, what in members:
            info = tarfile.TarInfo(name)
            if isinstance(what, bytes):
                info.size = len(what)
                tar.addfile(info, io.BytesIO(what))
            elif isinstance(what[1], bytes):
                info.type, info.size = what[0], len(what[1])
                tar.addfile(info, io.BytesIO(what[1]))
            else:
                info.type, info.linkname = what
                tar.addfile(info)
    return path


def payload(number: int) -> bytes:
    """A sample."""
    packed: bytes = msgpack.packb({"number": number})
    return packed


@atdata.packable
class Number:
    """What the members hold."""

    number: int


class Streams:
    """A source that gives streams alone, as servers do, or parts as well."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def shard_list(self) -> list[str]:
        """One shard."""
        return ["x.tar"]

    def shards(self) -> Any:
        """It."""
        return iter([("x.tar", self.open_shard("x.tar"))])

    def open_shard(self, shard_id: str) -> Any:
        """Its bytes, a few at a time."""
        return self.path.open("rb", buffering=0)


class Parts(Streams):
    """The same, with parts by position."""

    def ranges(self, shard_id: str) -> Any:
        """Parts of the file."""
        from atdata.sources.byte_ranges import FileBytes

        return FileBytes(self.path)


def in_order(dataset: Any) -> list[Any]:
    """One by one."""
    return [sample["number"] for sample in dataset.ordered()]


WAYS: dict[str, Callable[[Any], list[Any]]] = {
    "in order": in_order,
    "batches": lambda ds: [n for b in ds.ordered(3) for n in np.asarray(b.number).tolist()],
    "positions": lambda ds: [ds[i]["number"] for i in range(ds.count())],
    "one batch": lambda ds: list(ds[:].number) if ds.count() else [],
    "shuffled": lambda ds: [sample["number"] for sample in ds.shuffled(seed=1)],
    "packed": lambda ds: [msgpack.unpackb(sample.payload)["number"] for sample in ds.packed()],
}


def sources(path: Path) -> list[Any]:
    """The ways to a shard: a file, a stream, and a stream with parts."""
    return [str(path), Streams(path), Parts(path)]


LINKED: Made = [
    ("b/later.msgpack", (tarfile.SYMTYPE, "../deep/a.msgpack")),
    ("deep/a.msgpack", payload(1)),
    ("hard.mp", (tarfile.LNKTYPE, "deep/a.msgpack")),
    ("data.bin", payload(2)),
    ("of-data.msgpack", (tarfile.SYMTYPE, "./data.bin")),
    ("chain.msgpack", (tarfile.SYMTYPE, "b/later.msgpack")),
    ("folder", (tarfile.SYMTYPE, "deep")),
    ("through.msgpack", (tarfile.SYMTYPE, "folder/a.msgpack")),
    *((f"{i:03d}.msgpack", payload(i)) for i in range(100, 150)),
    ("again.msgpack", (tarfile.LNKTYPE, "100.msgpack")),
]
NUMBERS = [1, 1, 1, 2, 1, 1, *range(100, 150), 100]


@pytest.mark.filterwarnings("ignore::atdata.errors.UnreadMembersWarning")
@pytest.mark.parametrize("way", WAYS)
def test_links_are_followed_within_the_shard(way: str, tmp_path: Path) -> None:
    """A link is a sample with the payload that it leads to, in every way of reading."""
    path = tar_at(tmp_path / "x.tar", LINKED)
    for source in sources(path):
        found = WAYS[way](atdata.Dataset(source))
        assert found == NUMBERS if way != "shuffled" else sorted(found) == sorted(NUMBERS)


@pytest.mark.filterwarnings("ignore::atdata.errors.UnreadMembersWarning")
def test_links_of_a_long_stream_are_followed(tmp_path: Path) -> None:
    """Of a stream that was read past what a link leads to, the link is followed all the same."""
    big = msgpack.packb({"number": 5, "fill": bytes(100_000)})
    many = [(f"{i:03d}.msgpack", big) for i in range(40)]
    members = [*many, ("first.msgpack", (tarfile.LNKTYPE, "000.msgpack"))]
    path = tar_at(tmp_path / "x.tar", members)
    dataset = atdata.Dataset(Streams(path))
    assert in_order(dataset) == [5] * 41
    assert [len(batch) for batch in dataset.ordered(7)] == [7, 7, 7, 7, 7, 6]
    assert dataset.count() == 41
    [verdict] = verify_shards(dataset.source, dataset.known_shards())
    assert (verdict.samples, verdict.bytes) == (41, path.stat().st_size)


def test_a_copy_in_a_store_has_what_links_led_to(tmp_path: Path) -> None:
    """Inserted into a store, a link becomes a sample like any other, found by its key."""
    from atdata.local import DiskDataStore, LocalIndex

    path = tar_at(tmp_path / "x.tar", [m for m in LINKED if m[0] not in ("data.bin", "folder")][:3])
    index = LocalIndex(tmp_path / "i.db", data_store=DiskDataStore(tmp_path / "store"))
    entry = index.insert_dataset(atdata.Dataset[Number](path), name="linked")
    copy = atdata.Dataset[Number](entry.data_urls)
    assert copy.by_key("hard") == copy.by_key("b/later") == Number(1)


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([("a.msgpack", (tarfile.SYMTYPE, "/etc/passwd"))], "outside of the shard"),
        ([("a.msgpack", (tarfile.SYMTYPE, "../b.msgpack"))], "outside of the shard"),
        ([("a.msgpack", (tarfile.SYMTYPE, "a.msgpack"))], "in a circle"),
        (
            [("a.msgpack", (tarfile.SYMTYPE, "b.mp")), ("b.mp", (tarfile.SYMTYPE, "a.msgpack"))],
            "in a circle",
        ),
        ([("a.msgpack", (tarfile.SYMTYPE, "none"))], "which is nothing in the shard"),
        (
            [("d", (tarfile.DIRTYPE, "")), ("a.msgpack", (tarfile.SYMTYPE, "d"))],
            "which is a folder",
        ),
        # A hard link leads to what is there already.
        (
            [("a.msgpack", (tarfile.LNKTYPE, "b.msgpack")), ("b.msgpack", payload(1))],
            "no file before it",
        ),
        ([("a.msgpack", (tarfile.LNKTYPE, "/etc/passwd"))], "outside of the shard"),
    ],
)
def test_links_that_lead_nowhere_are_errors(members: Made, problem: str, tmp_path: Path) -> None:
    """A link out of the shard, in a circle or to no file is an error that names it."""
    path = tar_at(tmp_path / "x.tar", [("0.msgpack", payload(0)), *members])
    for source in sources(path):
        for way in (in_order, atdata.Dataset.count):
            with pytest.raises(ShardError, match=rf"the link '.*' leads to .*{problem}"):
                way(atdata.Dataset(source))
    [verdict] = verify_shards(atdata.Dataset(path).source, atdata.Dataset(path).known_shards())
    assert verdict.status == "failed"


@pytest.mark.parametrize("name", ["a/../z.msgpack", "../z.msgpack", "/z.msgpack"])
def test_a_hard_link_finds_a_member_by_its_very_name(name: str, tmp_path: Path) -> None:
    """Also one that unpacking would put elsewhere, and that was itself linked to before."""
    members: Made = [
        (name, payload(1)),
        ("y.msgpack", (tarfile.LNKTYPE, name)),
        (f"{name[:-9]}x.msgpack", (tarfile.LNKTYPE, "y.msgpack")),
        ("w.msgpack", (tarfile.LNKTYPE, f"{name[:-9]}x.msgpack")),
    ]
    path = tar_at(tmp_path / "x.tar", members)
    with tarfile.open(path) as tar:
        linked: Any = tar.extractfile("y.msgpack")
        assert linked.read() == payload(1)
    for source in sources(path):
        for read in WAYS.values():
            assert read(atdata.Dataset(source)) == [1] * 4
    missing = tar_at(tmp_path / "m.tar", [("y.msgpack", (tarfile.LNKTYPE, name)), *members[:1]])
    with pytest.raises(ShardError, match=r"leads to .*outside of the shard"):
        list(atdata.Dataset(missing))


def test_devices_are_not_read_but_reported(tmp_path: Path) -> None:
    """A pipe or device that is named like a sample holds nothing, and is not opened."""
    kinds = [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
    devices = [(f"{i}.msgpack", (kind, "")) for i, kind in enumerate(kinds)]
    path = tar_at(tmp_path / "x.tar", [*devices, ("a.msgpack", payload(7))])
    with pytest.warns(UnreadMembersWarning, match="3 device"):
        assert in_order(atdata.Dataset(path)) == [7]


def test_reading_and_inserting_and_verifying_warn_alike(tmp_path: Path) -> None:
    """What is not read is reported once, with its kinds, whatever is done with the shards."""
    from atdata.local import DiskDataStore, LocalIndex

    for name in ("a", "b"):
        pairs = [(f"{i}.msgpack", payload(i)) for i in range(3)]
        pairs += [(f"{i}.png", b"x") for i in range(2)]
        tar_at(tmp_path / f"{name}.tar", [*pairs, ("k.json", b"{}")])
    index = LocalIndex(tmp_path / "i.db")
    store = LocalIndex(tmp_path / "s.db", data_store=DiskDataStore(tmp_path / "store"))

    def inserted(into: LocalIndex, dataset: Any) -> None:
        into.insert_dataset(dataset, name="x")

    ways: list[Callable[[Any], Any]] = [
        list,
        len,
        lambda ds: ds[0],
        lambda ds: list(ds.shuffled()),
        lambda ds: list(verify_shards(ds.source, ds.known_shards())),
        lambda ds: inserted(index, ds),
        lambda ds: inserted(store, ds),
    ]
    paths = [tmp_path / "a.tar", tmp_path / "b.tar"]
    for way in ways:
        with pytest.warns(UnreadMembersWarning) as warned:
            way(atdata.Dataset[Number](paths))
        [one] = [one for one in warned if one.category is UnreadMembersWarning]
        assert "a.tar and 1 more shard: 6 members are not samples" in str(one.message)
        assert "4 .png, 2 .json" in str(one.message)
        assert one.filename == __file__
    [first, _] = verify_shards(atdata.Dataset(paths).source, atdata.Dataset(paths).known_shards())
    assert first.unread == {".png": 2, ".json": 1}


FOLDERS = ["", "d/", "d.e/", "./", "d/f/", ".h/"]
STEMS = ["a", "b", "a.b", ".a", "2.0", "ü"]
ENDINGS = [".msgpack", ".msgpack", ".mp", ".MSG", ".json", ".msgpack.gz", "", ".msgpack/x"]
NAMES = st.builds(
    lambda folder, stem, ending: folder + stem + ending,
    st.sampled_from(FOLDERS),
    st.sampled_from(STEMS),
    st.sampled_from(ENDINGS),
)
TARGETS = NAMES | st.builds(lambda up, name: up + name, st.sampled_from(["../", "../../"]), NAMES)
MEMBERS = st.lists(
    st.tuples(
        NAMES,
        st.sampled_from(["file", "file", "volume"])
        | st.tuples(st.sampled_from([tarfile.LNKTYPE, tarfile.SYMTYPE]), TARGETS)
        | st.just((tarfile.DIRTYPE, "")),
    ),
    max_size=12,
)


def extracted(path: Path) -> Counter[bytes] | None:
    """What samples there are once tarfile has unpacked a tar; None: it cannot."""
    found: Counter[bytes] = Counter()
    with tempfile.TemporaryDirectory() as folder, tarfile.open(path) as tar:
        names = set()
        for member in tar.getmembers():
            names.add(os.path.normpath(member.name))
        try:
            tar.extractall(folder, filter="tar")
        except (tarfile.TarError, OSError, KeyError, RecursionError):
            return None
        for name in names:
            place = Path(folder) / name
            if is_sample(name) and (place.is_symlink() or place.is_file()):
                try:
                    target = place.resolve(strict=True)
                except (OSError, RuntimeError):
                    return None
                inside = target.is_relative_to(Path(folder).resolve())
                if not target.is_file() or not inside:
                    return None
                found[target.read_bytes()] += 1
    return found


def is_plain(made: Made) -> bool:
    """Whether a tar begins with a sample, its samples have different keys, and what else it has
    are files and folders.
    """
    kinds = {"link" if isinstance(what, tuple) and what[1] else "other" for _, what in made}
    keys = [
        name.rpartition(".")[0] for name, what in made if isinstance(what, str) and is_sample(name)
    ]
    return (
        "link" not in kinds
        and bool(keys)
        and is_sample(made[0][0])
        and len({name for name, _ in made}) == len(made)
        and (len(set(keys)) == len(keys))
    )


def is_sample(name: str) -> bool:
    """Whether a file of this name is a sample."""
    return name.lower().endswith((".msgpack", ".mp", ".msg"))


def made_of(what: Any, number: int) -> Any:
    """A member: a file, one of a type that only GNU tar knows, or what was drawn."""
    if what == "file":
        return payload(number)
    return (b"V", payload(number)) if what == "volume" else what


@settings(max_examples=100, deadline=None)
@given(
    made=MEMBERS,
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    ways=st.sets(
        st.tuples(st.sampled_from(sorted(WAYS)), st.integers(0, 2)), min_size=4, max_size=4
    ),
)
def test_no_member_is_lost_without_a_word(
    made: Made, form: int, ways: set[tuple[str, int]]
) -> None:
    """Of any tar, what tarfile would unpack as samples is read, by every way, or nothing is."""
    with tempfile.TemporaryDirectory() as folder:
        members = [(name, made_of(what, i)) for i, (name, what) in enumerate(made)]
        path = tar_at(Path(folder) / "x.tar", members, form)
        others = [n for n, what in made if isinstance(what, str) and not is_sample(n)]
        expected = extracted(path)
        if others and len(others) == len([n for n, what in made if isinstance(what, str)]):
            # These are WebDataset's own samples; what is a link is reported.
            linked = any(isinstance(what, tuple) and what[1] for _, what in made)
            with suppress(AtdataError), warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                list(atdata.Dataset(path))
                assert warned or not linked
            return
        with suppress(AtdataError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if scan_table(path, shard="x", shard_bytes=0).head.layout == "members":
                # A file of another kind comes first, and is of the same sample as a .msgpack.
                return
        for way, source in ways:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                try:
                    found = WAYS[way](atdata.Dataset(sources(path)[source]))
                except AtdataError:
                    assert not is_plain(made), way
                    continue
            assert not others or warned, way
            read = Counter(payload(number) for number in found)
            if expected is None:
                # As where a folder and a file have one name: then every file is there.
                files = [i for i, (n, what) in enumerate(made) if isinstance(what, str)]
                assert not Counter(payload(i) for i in files if is_sample(made[i][0])) - read, way
            else:
                # Of a.msgpack and ./a.msgpack, which have two keys, unpacking leaves the later.
                twice = len({os.path.normpath(name) for name, _ in made}) < len(made)
                assert not expected - read if twice else read == expected, way
