"""WebDataset shards of several members a sample, read in place: typed, untyped, in every order."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import webdataset
from numpy.typing import NDArray

import atdata
from atdata import Member
from atdata.errors import (
    DecodeError,
    EncodeError,
    LengthError,
    ShardError,
    SkippedSamplesWarning,
    UnknownFieldWarning,
    UnreadMembersWarning,
)
from atdata.shards.reader import scan_table
from atdata.shards.tar.inside import Inside
from atdata.shards.tar.table import SampleTable


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
    vector: NDArray[np.int64]
    note: Annotated[str | None, Member("note.txt")] = None


def npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def members(number: int) -> dict[str, bytes]:
    made = {
        "png" if number % 7 == 3 else "jpg": bytes([number % 256]) * (number * 37 % 3000),
        "txt": f"größe {number}".encode(),
        "json": json.dumps({"width": number, "tags": ["a"] * (number % 3)}).encode(),
        "cls": b"%d\n" % number,
        "emb.npy": npy(np.arange(3) + number),
    }
    return made | ({"note.txt": b"seen"} if number % 5 == 0 else {})


def written(folder: Path, samples: int = 90, shards: int = 3) -> list[Path]:
    """Shards written by webdataset, with times in extended headers as it writes them."""
    paths = [folder / f"w-{n:06d}.tar" for n in range(shards)]
    for n, path in enumerate(paths):
        with webdataset.TarWriter(str(path)) as sink:
            for i in range(n, samples, shards):
                sink.write({"__key__": f"train/{i:05d}", **members(i)})
    return paths


def tar_at(path: Path, files: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def pair(number: int) -> Pair:
    made = members(number)
    return Pair(
        atdata.Image(made.get("jpg", made.get("png", b""))),
        f"größe {number}",
        Meta(number, ["a"] * (number % 3)),
        number,
        np.arange(3) + number,
        "seen" if number % 5 == 0 else None,
    )


ORDER = [i for n in range(3) for i in range(n, 90, 3)]


def test_typed_in_every_way(tmp_path: Path) -> None:
    """In order, by position, by key, shuffled, in batches and split: the samples of the members."""
    expected = [pair(i) for i in ORDER]
    dataset = atdata.Dataset[Pair](written(tmp_path))
    assert list(dataset) == expected
    assert len(dataset) == 90
    assert [dataset[i] for i in (0, 31, -1)] == [expected[i] for i in (0, 31, -1)]
    assert list(dataset[10:50:7]) == expected[10:50:7]
    assert dataset.by_key("train/00044") == pair(44)
    shuffled = list(dataset.shuffled(seed=1))
    assert shuffled != expected
    assert sorted(shuffled, key=lambda p: p.label) == [pair(i) for i in range(90)]
    assert [sample for batch in dataset.ordered(32) for sample in batch] == expected
    assert [sample for batch in dataset.shuffled(32, seed=1) for sample in batch] == shuffled
    ranks = [sample for rank in range(4) for sample in dataset.split(rank, 4)]
    assert sorted(p.label for p in ranks) == list(range(90))


def test_untyped_members_are_decoded(tmp_path: Path) -> None:
    """Without a type, a sample has its members, each decoded by its ending."""
    dataset = atdata.Dataset(written(tmp_path))
    sample = dataset[0]
    assert sample["jpg"] == atdata.Image(b"")
    assert (sample["txt"], sample["cls"], sample["note.txt"]) == ("größe 0", 0, "seen")
    assert sample["json"] == {"width": 0, "tags": []}
    assert sample["emb.npy"].tolist() == [0, 1, 2]
    assert list(next(iter(dataset.ordered(8))).cls) == ORDER[:8]


def test_a_reading_is_resumed(tmp_path: Path) -> None:
    """A state saved in the middle of an epoch continues it, shuffled or not."""
    dataset = atdata.Dataset[Pair](written(tmp_path))
    makes: list[Callable[[], Any]] = [
        partial(dataset.shuffled, 8, seed=3),
        partial(dataset.ordered, 8),
    ]
    for make in makes:
        whole = [list(batch.label) for batch in make()]
        reading = make()
        iterator = iter(reading)
        begun = [list(next(iterator).label) for _ in range(4)]
        resumed = make()
        resumed.load_state_dict(reading.state_dict())
        assert begun + [list(batch.label) for batch in resumed] == whole


def test_steps_and_rewriting(tmp_path: Path) -> None:
    """Filters, maps and writing see samples as of any other shard."""
    dataset = atdata.Dataset[Pair](written(tmp_path))
    assert [p.label for p in dataset.filter(lambda p: p.label % 2 == 0)][:3] == [0, 6, 12]
    ours = atdata.write_samples(dataset, tmp_path / "ours.tar")
    assert list(ours) == list(dataset)


def test_a_table_of_ours_is_used_and_a_foreign_one_left_alone(tmp_path: Path) -> None:
    """A table next to the shard serves if it is ours; another program's file stays as it is."""
    [path] = written(tmp_path, shards=1)
    expected = list(atdata.Dataset[Pair](path))
    index = path.with_name(path.name + ".idx")
    index.write_bytes(b"\x01\0\0\0energon")
    assert list(atdata.Dataset[Pair](path)) == expected
    assert len(atdata.Dataset(path)) == 90
    assert index.read_bytes() == b"\x01\0\0\0energon"
    table = scan_table(path, shard=path.name, shard_bytes=path.stat().st_size)
    assert SampleTable.parse(table.to_bytes()).head.layout == "members"
    # Readers that know no layouts must not take it for a table of theirs.
    assert int.from_bytes(table.to_bytes()[8:12], "little") == 2
    index.write_bytes(table.to_bytes())
    assert list(atdata.Dataset[Pair](path)) == expected
    assert atdata.Dataset[Pair](path)[17] == expected[17]


@pytest.mark.parametrize("count", [4, 400])
def test_a_table_that_cuts_a_sample_in_two_is_not_used(tmp_path: Path, count: int) -> None:
    """A sample is all its members, whatever a table says; tables of large shards are sampled."""
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for i in range(count):
            for ending, data in (("json", b"{}"), ("txt", b"caption" + b" " * 2000)):
                info = tarfile.TarInfo(f"{i:06d}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    table = scan_table(path, shard=path.name, shard_bytes=path.stat().st_size)
    starts, ends = table.offsets, table.offsets + table.sizes
    # The second sample in two: its json member, and its txt member under the same key.
    half = starts[1] + 512
    cut = SampleTable.of(
        np.insert(starts, 2, half + 512),
        np.insert(ends, 1, half) - np.insert(starts, 2, half + 512),
        [[f"{i:06d}" for i in (0, 1, *range(1, count))]],
        shard_bytes=path.stat().st_size,
        sha256=None,
        inside=Inside.unknown(count + 1),
    )
    path.with_name("x.tar.idx").write_bytes(cut.to_bytes())
    dataset = atdata.Dataset(path)
    assert [sample.keys() for sample in dataset.shuffled(seed=1)] == [{"json", "txt"}] * count
    assert dataset.by_key("000001").keys() == {"json", "txt"}
    assert len(list(dataset)) == len(dataset) == count


def test_key_and_url_are_fields(tmp_path: Path) -> None:
    """Fields __key__ and __url__ hold the sample's key and its shard."""

    @atdata.packable
    class Named:
        __key__: str
        __url__: str
        cls: int

    paths = written(tmp_path)
    dataset = atdata.Dataset[Named](paths)
    with pytest.warns(UnknownFieldWarning, match="'emb.npy', 'jpg'"):
        got = list(dataset)
    assert got[40].__key__ == f"train/{ORDER[40]:05d}"
    assert [s.__url__ for s in got] == [str(paths[i // 30]) for i in range(90)]
    assert [s.__url__ for s in dataset.shuffled(seed=1)] == [
        str(paths[s.cls % 3]) for s in dataset.shuffled(seed=1)
    ]
    batch = next(dataset.ordered(4))
    assert batch.__key__ == [sample.__key__ for sample in got[:4]]
    assert batch.__url__ == [sample.__url__ for sample in got[:4]]


def test_fields_find_their_members(tmp_path: Path) -> None:
    """Without Member, a field is the member of its name, or the only one of its kind."""

    @atdata.packable
    class Found:
        left: bytes
        right: bytes
        caption: str
        info: dict[str, int]
        score: float = 0.5

    files = [
        ("a.left.png", b"l"),
        ("a.Right.PNG", b"r"),
        ("a.txt", b"hello"),
        ("a.json.gz", gzip.compress(b'{"x": 1}')),
    ]
    path = tar_at(tmp_path / "x.tar", files)
    assert list(atdata.Dataset[Found](path)) == [Found(b"l", b"r", "hello", {"x": 1})]
    assert atdata.Dataset(path)[0]["json.gz"] == {"x": 1}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"jpg": b"", "txt": b""}, r"x\.tar, byte \d+, sample 'k1': .*\$\.meta: .*'json'.*'jpg'"),
        ({"jpg": b"", "json": b"{"}, r"sample 'k1': .*\$\.meta.*expected JSON.*member 'json'"),
        ({"jpg": b"", "json": b"[" * 9000}, "nested more than"),
        ({"jpg": b"", "json": b'{"width": "w", "tags": []}'}, r"\$\.meta\.width: expected int"),
        ({"json": b'{"width": 1, "tags": []}'}, r"\$\.image: expected a member 'jpg' or 'png'"),
    ],
)
def test_wrong_members_are_one_clear_error(
    files: dict[str, bytes], message: str, tmp_path: Path
) -> None:
    """A missing or broken member is an error with shard, offset, key and field."""

    @atdata.packable
    class Small:
        image: Annotated[bytes, Member("jpg", "png")]
        meta: Annotated[Meta, Member("json")]

    whole = {"jpg": b"", "json": b'{"width": 1, "tags": []}'}
    rows = [
        (f"k{n}.{name}", data) for n in range(3) for name, data in (whole, files, whole)[n].items()
    ]
    path = tar_at(tmp_path / "x.tar", rows)
    for read in (list, lambda ds: list(ds.shuffled()), lambda ds: ds[1]):
        with pytest.raises(DecodeError, match=message):
            read(atdata.Dataset[Small](path))


def test_other_layouts_and_reserved_names_are_errors(tmp_path: Path) -> None:
    """Both layouts in one shard, or a name that readers use for themselves: an error."""
    cases = {
        "one msgpack member": [("a.jpg", b"1"), ("b.jpg", b""), ("c.msgpack", b"\x80")],
        "readers use for themselves": [("a.jpg", b"1"), ("b.__key__", b"x")],
    }
    for message, files in cases.items():
        path = tar_at(tmp_path / "x.tar", files)
        for read in (list, len):
            with pytest.raises(ShardError, match=rf"x\.tar, byte \d+.*{message}"):
                read(atdata.Dataset(path))


def test_nothing_is_unpickled_or_unpacked_without_end(tmp_path: Path) -> None:
    """Arrays of objects are refused, pickles stay bytes, and a bomb meets a limit."""
    path = tar_at(tmp_path / "a.tar", [("a.npy", npy(np.array([{}], object)))])
    with pytest.raises(DecodeError, match="'npy'"):
        list(atdata.Dataset(path))
    path = tar_at(tmp_path / "b.tar", [("a.pyd", b"cos\nsystem\n"), ("a.pkl", b"x")])
    assert atdata.Dataset(path)[0].to_dict() == {"pyd": b"cos\nsystem\n", "pkl": b"x"}
    path = tar_at(tmp_path / "c.tar", [("a.txt.gz", gzip.compress(bytes(3_000_000)))])
    with (
        atdata.limits.set(unpacked_bytes=1_000_000),
        pytest.raises(DecodeError, match="more than 1,000,000 bytes"),
    ):
        list(atdata.Dataset(path))


@pytest.mark.parametrize("count", [1, 40])
def test_packed_members_of_a_sample_have_one_limit(tmp_path: Path, count: int) -> None:
    """Many small bombs in one sample are as large as a big one, read one by one or many at once."""
    half = gzip.compress(bytes(600_000))
    members = [(f"{i}.{name}.bin.gz", half) for i in range(count) for name in "ab"]
    path = tar_at(tmp_path / "x.tar", members)
    assert len(atdata.Dataset(path)[0]["a.bin.gz"]) == 600_000
    with (
        atdata.limits.set(unpacked_bytes=1_000_000),
        pytest.raises(DecodeError, match="more than 1,000,000 bytes in a sample"),
    ):
        list(atdata.Dataset(path))
    with atdata.limits.set(unpacked_bytes=1_200_000):
        assert len(list(atdata.Dataset(path))) == count


def test_json_members_have_a_limit_of_lists(tmp_path: Path) -> None:
    """A small document can be millions of lists; what is not read is not written either."""
    path = tar_at(tmp_path / "x.tar", [("a.json", b"[" + b"[]," * 200 + b"0]")])
    sample = atdata.DictSample(json=[[]] * 200)
    with atdata.limits.set(containers=100):
        with pytest.raises(DecodeError, match=r"more than 100 brackets .* limits\.containers"):
            list(atdata.Dataset(path))
        with pytest.raises(EncodeError, match="100"):
            atdata.write_samples([sample], tmp_path / "y.tar", layout="members")
    atdata.write_samples([sample], tmp_path / "y.tar", layout="members")
    assert list(atdata.Dataset(tmp_path / "y.tar")) == [sample]


def test_integers_of_json_fit_their_field_or_are_refused(tmp_path: Path) -> None:
    """A field of int has 64 bits; without a type, any integer is read."""

    @atdata.packable
    class Counted:
        n: Annotated[int, Member("json")]

    for value in (2**64 - 1, -(2**63), 10**18):
        path = tar_at(tmp_path / "x.tar", [("a.json", b"%d" % value)])
        assert atdata.Dataset[Counted](path)[0].n == value
    for value in (2**64, -(2**63) - 1, 10**400):
        path = tar_at(tmp_path / "x.tar", [("a.json", b"%d" % value)])
        with pytest.raises(DecodeError, match="at most 64 bits"):
            list(atdata.Dataset[Counted](path))
        assert atdata.Dataset(path)[0]["json"] == value


def test_files_between_samples_are_reported(tmp_path: Path) -> None:
    """What belongs to no sample is counted in a warning, and the samples are all there."""
    files = [("README", b""), ("a.jpg", b"1"), ("a.txt", b"t"), (".hidden", b""), ("b.jpg", b"2")]
    path = tar_at(tmp_path / "x.tar", files)
    with pytest.warns(UnreadMembersWarning, match="2 members .* 1 .hidden, 1 without an ending"):
        assert [s["jpg"].bytes for s in atdata.Dataset(path)] == [b"1", b"2"]


def test_no_other_member_stands_for_one_that_is_named(tmp_path: Path) -> None:
    """A named member that is nowhere is an error, or the default, whatever else would fit."""

    @atdata.packable
    class Needs:
        image: Annotated[atdata.Image, Member("tiff")]

    @atdata.packable
    class May:
        note: Annotated[str | None, Member("note.txt")] = None

    path = tar_at(tmp_path / "x.tar", [("a.jpg", b"1"), ("a.txt", b"t")])
    with pytest.raises(DecodeError, match=r"\$\.image: expected a member 'tiff', found .*'jpg'"):
        list(atdata.Dataset[Needs](path))
    with pytest.warns(UnknownFieldWarning, match="'jpg', 'txt'"):
        assert [sample.note for sample in atdata.Dataset[May](path)] == [None]


def test_member_names_are_checked() -> None:
    """A Member without a name, or with a path, is refused where it is written."""
    for wrong in ((), ("a/b",), (".jpg",), ("",)):
        with pytest.raises(atdata.errors.OptionError, match="Member"):
            Member(*wrong)
    assert Member("JPG") == Member("jpg")


def test_broken_samples_are_skipped_and_counted(tmp_path: Path) -> None:
    """With on_error="skip", samples that cannot be read are left out, and counted in a warning."""

    @atdata.packable
    class Small:
        txt: str
        cls: int

    rows = [(f"k{n:03d}", n) for n in range(60)]
    files = [
        part
        for key, n in rows
        for part in ((f"{key}.txt", b"t"), (f"{key}.cls", b"x" if n % 20 == 7 else b"%d" % n))
        if n != 33 or part[0].endswith("cls")
    ]
    path = tar_at(tmp_path / "x.tar", files)
    expected = [n for _, n in rows if n % 20 != 7 and n != 33]
    dataset = atdata.Dataset[Small](path, on_error="skip")
    found = "4 of 60 samples .* skipped. The first: .*x.tar, byte .*, sample 'k0.7'.*expected int"
    with pytest.warns(SkippedSamplesWarning, match=found):
        assert [s.cls for s in dataset] == expected
    with pytest.warns(SkippedSamplesWarning):
        assert sorted(s.cls for s in dataset.shuffled(seed=1)) == expected
    with pytest.warns(SkippedSamplesWarning):
        assert [n for batch in dataset.ordered(16) for n in batch.cls] == expected
    with pytest.raises(LengthError):
        len(dataset)
    with pytest.raises(DecodeError):
        list(atdata.Dataset[Small](path, on_error="raise"))
    with pytest.raises(atdata.errors.OptionError, match="on_error='ignore'"):
        atdata.Dataset[Small](path, on_error="ignore")  # type: ignore[arg-type]


def test_a_type_is_inferred_with_its_members(tmp_path: Path) -> None:
    """The inferred type of such shards reads them as they are read without a type."""
    from atdata.cli.infer_type import infer_type

    files = [(f"a.{name}", b"7") for name in ("left.png", "cls", "class", "wav", "2.bin")]
    dataset = atdata.Dataset(tar_at(tmp_path / "x.tar", files))
    found = infer_type(dataset.source, "x")
    fields = {field.name: field.members for field in atdata.schema_of(found).fields}
    assert fields["left_png"] == ("left.png",)
    assert fields["m_2_bin"] == ("2.bin",)
    assert fields["m_class"] == ("class",)
    [typed] = atdata.Dataset.of(found, dataset.source)
    for name, (member,) in fields.items():
        assert getattr(typed, name) == dataset[0][member]


class Level(IntEnum):
    LOW = 1


@atdata.packable
class Rich:
    label: Annotated[int, atdata.ClassLabel("cat", "dog"), Member("cls")]
    meta: Annotated[atdata.Json, Member("json")]
    day: Annotated[date, Member("day.txt")]
    level: Annotated[Level, Member("count")]
    tags: Annotated[set[str], Member("tags.json")]
    size: Annotated[tuple[int, int], Member("size.json")]
    value: Annotated[int | str, Member("value.json")]


def test_members_are_read_as_every_kind(tmp_path: Path) -> None:
    """Numbers are class labels and enums, text is a date, and JSON is what the field says."""
    files = {
        "cls": b"1\n",
        "json": b'{"a": [1, null]}',
        "day.txt": b"2024-02-29\n",
        "count": b"1",
        "tags.json": b'["b", "a"]',
        "size.json": b"[3, 4]",
        "value.json": b'"auto"',
    }
    tar = tar_at(tmp_path / "x.tar", [(f"0.{name}", data) for name, data in files.items()])
    rich = Rich(1, {"a": [1, None]}, date(2024, 2, 29), Level.LOW, {"a", "b"}, (3, 4), "auto")
    assert list(atdata.Dataset[Rich](str(tar)).ordered()) == [rich]
    again = atdata.write_samples([rich], tmp_path / "again.tar", layout="members")
    assert list(again.ordered()) == [rich]
    bad = {**files, "cls": b"2"}
    tar = tar_at(tmp_path / "y.tar", [(f"0.{name}", data) for name, data in bad.items()])
    with pytest.raises(DecodeError, match=r"label.*0 to 1.*found 2"):
        list(atdata.Dataset[Rich](str(tar)).ordered())


def _swapped(inside: Inside) -> Inside:
    """The same members under each other's names."""
    return replace(inside, forms=tuple(form[::-1] for form in inside.forms))


def _longer(inside: Inside) -> Inside:
    """A first member that takes the second one's header and data."""
    [group] = inside.groups()
    starts, ends = group.starts[:, :1], group.ends[:, -1:]
    return Inside.of_groups([replace(group, fields=("json",), starts=starts, ends=ends)], 400)


@pytest.mark.parametrize("lie", [_swapped, _longer])
def test_what_a_table_says_of_members_is_compared_with_their_headers(
    tmp_path: Path, lie: Callable[[Inside], Inside]
) -> None:
    """A table whose members are others is not used, whichever way samples are read."""
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for i in range(400):
            for ending, data in (("json", b"%d" % i), ("txt", b"caption" + b" " * 2000)):
                info = tarfile.TarInfo(f"{i:06d}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    table = scan_table(path, shard=path.name, shard_bytes=path.stat().st_size)
    inside = table.inside(np.arange(400), table.sizes)
    assert inside is not None
    keys = table.keys(np.arange(400))
    facts: dict[str, Any] = {"shard_bytes": path.stat().st_size, "sha256": None}
    wrong = SampleTable.of(table.offsets, table.sizes, [keys], inside=lie(inside), **facts)
    path.with_name("x.tar.idx").write_bytes(wrong.to_bytes())
    ways: list[Callable[[atdata.Dataset], list[Any]]] = [
        list,
        lambda dataset: list(dataset.shuffled(seed=1)),
        lambda dataset: [dataset[i] for i in range(400)],
        lambda dataset: [dataset.by_key(f"{i:06d}") for i in range(400)],
    ]
    for way in ways:
        found = way(atdata.Dataset(path))
        assert sorted(sample["json"] for sample in found) == list(range(400))
        assert {sample["txt"] for sample in found} == {"caption" + " " * 2000}


def test_shards_of_both_layouts_are_read_in_every_order(tmp_path: Path) -> None:
    """Shards of members and of msgpack are one dataset: by position, shuffled, split, resumed."""
    paths = written(tmp_path)
    ours = atdata.write_samples([pair(i) for i in range(90, 150)], tmp_path / "ours.tar")
    files = [paths[0], Path(ours.shard_list[0]), *paths[1:]]
    numbers = [*ORDER[:30], *range(90, 150), *ORDER[30:]]
    expected = [pair(i) for i in numbers]
    dataset = atdata.Dataset[Pair](files)
    assert list(dataset) == expected
    assert [dataset[i] for i in (0, 35, 149)] == [expected[i] for i in (0, 35, 149)]
    assert list(dataset[20:120:3]) == expected[20:120:3]
    assert list(dataset[[100, 3, 40, 3]]) == [expected[i] for i in (100, 3, 40, 3)]
    assert dataset.by_key("000000001") == pair(91)
    shuffled = list(dataset.shuffled(seed=4))
    assert shuffled != expected
    assert sorted(shuffled, key=lambda p: p.label) == [pair(i) for i in range(150)]
    assert [s for batch in dataset.shuffled(16, seed=4) for s in batch] == shuffled
    ranks = [sample for rank in range(3) for sample in dataset.split(rank, 3).ordered()]
    assert sorted(p.label for p in ranks) == list(range(150))
    reading = dataset.shuffled(16, seed=4)
    begun = [s for _, batch in zip(range(4), reading, strict=False) for s in batch]
    again = dataset.shuffled(16, seed=4)
    again.load_state_dict(reading.state_dict())
    assert begun + [s for batch in again for s in batch] == shuffled


def test_a_json_null_is_none_and_text_stays_text(tmp_path: Path) -> None:
    """Where a field may be None, null is; a field of text has the text of the member."""

    @atdata.packable
    class Noted:
        meta: Annotated[Meta | None, Member("json")]
        count: Annotated[int | None, Member("count.json")]
        inner: Annotated[Meta | None, Member("mp")]
        text: Annotated[str | None, Member("text.json")]

    path = tmp_path / "a.tar"
    with webdataset.TarWriter(str(path)) as sink:
        members = {"json": b"null", "count.json": b"null", "mp": b"\xc0", "text.json": b"null"}
        sink.write({"__key__": "0", **members})
    assert atdata.Dataset[Noted](str(path))[0] == Noted(None, None, None, "null")


def test_what_was_not_read_is_told_in_words_of_the_layout(tmp_path: Path) -> None:
    """The warning says what a sample is in tars of several members, too."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("0.txt", "README"):
            tar.addfile(tarfile.TarInfo(name))
    with pytest.warns(UnreadMembersWarning, match="files that share a key"):
        list(atdata.Dataset(str(path)))
