"""select(): the same samples with some fields alone, and only these are read."""

from __future__ import annotations

import io
import pickle
import tarfile
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import webdataset
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata import Dataset, Member, write_samples
from atdata.errors import DecodeError, EncodeError, OptionError, ShardError
from atdata.samples.packable import same_value
from atdata.testing.strategies import sample_types, samples_of
from tests.sources.web import WebServer, web_server

Way = Callable[[Dataset[Any]], list[Any]]
WAYS: dict[str, Way] = {
    "ordered": list,
    "shuffled": lambda dataset: list(dataset.shuffled(seed=3)),
    "ranks": lambda dataset: [*dataset.split(1, 2), *dataset.split(0, 2)],
    "positions": lambda dataset: [dataset[i] for i in range(len(dataset))],
    "slice": lambda dataset: list(dataset[::-1].samples),
    "batches": lambda dataset: [s for batch in dataset.ordered(3) for s in batch.samples],
    "epoch": lambda dataset: [s for batch in dataset.shuffled(4, seed=1) for s in batch.samples],
    "resumed": lambda dataset: resumed(dataset),
    "sent": lambda dataset: list(pickle.loads(pickle.dumps(dataset))),
    "mapped": lambda dataset: list(dataset.map(lambda sample: sample)),
    "filtered": lambda dataset: list(dataset.filter(lambda sample: True)),
    "chosen": lambda dataset: list(dataset.choose(range(len(dataset) - 1, -1, -1))),
}


def resumed(dataset: Dataset[Any]) -> list[Any]:
    reading = dataset.shuffled(seed=2)
    found = [next(reading)] if len(dataset) else []
    again = dataset.shuffled(seed=2)
    again.load_state_dict(reading.state_dict())
    return [*found, *again]


def values(sample: Any, names: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(sample, atdata.DictSample):
        return {name: sample[name] for name in names}
    return {name: getattr(sample, name) for name in names}


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(sorted(WAYS)), st.sampled_from(["msgpack", "members"]))
def test_selected_samples_are_the_samples_with_other_fields_dropped(
    data: st.DataObject, way: str, layout: Any
) -> None:
    """Of any type, in any layout, read in any way, typed or not."""
    kind = data.draw(sample_types(depth=1, min_fields=2))
    samples = data.draw(st.lists(samples_of(kind), min_size=1, max_size=9))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            write_samples(samples, Path(folder) / "x.tar", layout=layout)
        except (EncodeError, ShardError, OptionError):
            assume(False)
        opened = Dataset[kind] if data.draw(st.booleans()) else Dataset  # type: ignore[valid-type]
        whole = opened(str(Path(folder) / "x.tar"))
        first = whole[0]
        known: list[str] = (
            list(first) if isinstance(first, atdata.DictSample) else list(kind.__annotations__)
        )
        assume(len(known) > 0)
        some = st.lists(st.sampled_from(known), min_size=1, unique=True)
        names = tuple(data.draw(some))
        if whole.sample_type is atdata.DictSample:
            assume(all(set(names) <= set(sample) for sample in whole))
        found = WAYS[way](whole.select(*names))
        expected = [values(sample, names) for sample in WAYS[way](whole)]
        assert len(found) == len(expected)
        for sample, wanted in zip(found, expected, strict=True):
            assert same_value(values(sample, names), wanted)
            assert type(sample) is whole.select(*names).sample_type
            if isinstance(sample, atdata.DictSample):
                assert tuple(sample) == names


@atdata.packable
class Pair:
    image: Annotated[bytes, Member("jpg")]
    caption: Annotated[str, Member("txt")]
    label: Annotated[int, Member("cls")] = 0


@atdata.packable
class Row:
    image: NDArray[np.uint8]
    label: int


def pairs(count: int) -> list[Pair]:
    return [Pair(b"\xff\xd8" + bytes([i % 251]) * 60_000, f"number {i}", i) for i in range(count)]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[WebServer, str]]:
    """Shards of members with tables, on a server that records what is asked."""
    write_samples(pairs(40), tmp_path / "pairs.tar", layout="members", maxcount=20)
    with web_server() as site:
        for file in tmp_path.iterdir():
            site.files[f"/{file.name}"] = file.read_bytes()
        yield site, f"{site.url}/pairs-{{000000..000001}}.tar"


def asked_bytes(site: WebServer) -> int:
    """Bytes of shards that were asked for."""
    total = 0
    for path, headers in site.asked:
        if path.endswith(".tar"):
            size = len(site.files[path])
            start, _, end = headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
            total += min(int(end or size - 1), size - 1) + 1 - int(start)
    return total


REMOTE = ["ordered", "shuffled", "positions", "slice", "batches", "epoch", "resumed", "chosen"]


@pytest.mark.parametrize("way", REMOTE)
@pytest.mark.parametrize("untyped", [False, True])
def test_of_a_server_only_selected_members_are_asked_for(
    served: tuple[WebServer, str], way: str, untyped: bool
) -> None:
    """2.4 MB of pictures stay where they are when captions are read, whatever the order."""
    site, url = served
    names = ("txt", "cls") if untyped else ("caption", "label")
    dataset = (Dataset(url) if untyped else Dataset[Pair](url)).select(*names)
    found = WAYS[way](dataset)
    read = [values(sample, names) for sample in found]
    assert sorted(read, key=lambda row: row[names[1]]) == [
        dict(zip(names, (f"number {i}", i), strict=True)) for i in range(40)
    ]
    assert asked_bytes(site) < 40 * 6 * 1024


def test_of_a_type_with_few_fields_other_members_are_not_asked_for(
    served: tuple[WebServer, str],
) -> None:
    """By position, a type that reads one member of a sample does not fetch the others."""

    @atdata.packable
    class Captions:
        caption: Annotated[str, Member("txt")]

    site, url = served
    with pytest.warns(UserWarning, match="ignored"):
        assert [s.caption for s in Dataset[Captions](url)[[3, 30]].samples] == [
            "number 3",
            "number 30",
        ]
    assert asked_bytes(site) < 8 * 1024


def test_members_that_are_near_are_asked_for_together(served: tuple[WebServer, str]) -> None:
    """Caption and label are neighbours, so that one request has both."""
    site, url = served
    Dataset[Pair](url).select("caption", "label")[7]
    assert len([path for path, _ in site.asked if path.endswith(".tar")]) == 1


def test_a_wrong_table_on_a_server_is_found_before_a_member_is_used(
    served: tuple[WebServer, str], tmp_path: Path
) -> None:
    """A table of other samples is not followed, also where it has the right size."""
    site, url = served
    others = [Pair(pair.image, pair.caption, 39 - pair.label) for pair in pairs(40)]
    write_samples(others[::-1], tmp_path / "o.tar", layout="members", maxcount=20)
    for number in range(2):
        name = f"/pairs-{number:06d}.tar"
        site.files[name] = (tmp_path / f"o-{number:06d}.tar").read_bytes()
    dataset = Dataset[Pair](url).select("caption")
    try:
        found = [sample.caption for sample in dataset]
    except ShardError:
        return
    assert found == [pair.caption for pair in others[::-1]]


def test_what_is_wrong_in_other_fields_does_not_matter(tmp_path: Path) -> None:
    """A picture that is missing, or a label that is none, is no error where captions are read."""
    with webdataset.TarWriter(str(tmp_path / "odd.tar")) as sink:
        sink.write({"__key__": "a", "txt": "one", "cls": b"x", "jpg": b"1"})
        sink.write({"__key__": "b", "txt": "two"})
    dataset = Dataset[Pair](tmp_path / "odd.tar")
    assert [sample.caption for sample in dataset.select("caption")] == ["one", "two"]
    with pytest.raises(DecodeError, match="label"):
        list(dataset.select("caption", "label"))


def test_a_member_is_chosen_as_for_the_whole_type(tmp_path: Path) -> None:
    """Which member a field is read from does not depend on the fields that are selected."""

    @atdata.packable
    class Texts:
        title: str
        body: Annotated[str, Member("txt")]

    with webdataset.TarWriter(str(tmp_path / "texts.tar")) as sink:
        for i in range(10):
            sink.write({"__key__": f"{i}", "caption": f"title {i}", "txt": f"body {i}"})
    found = Dataset[Texts](tmp_path / "texts.tar").select("title")
    assert [sample.title for sample in found] == [f"title {i}" for i in range(10)]


def test_fields_that_there_are_not_are_an_error(tmp_path: Path) -> None:
    """It lists those that there are: at once with a type, in reading without."""
    dataset = write_samples([Row(np.zeros(3, np.uint8), 1)], tmp_path / "a.tar")
    with pytest.raises(OptionError, match=r"no such field\. It has: image, label"):
        dataset.select("lable")
    with pytest.raises(OptionError, match="It has: label"):
        dataset.select("label").select("image")
    with pytest.raises(OptionError, match="names of fields"):
        dataset.select()
    with pytest.raises(OptionError, match="say what it returns"):
        dataset.map(lambda row: row.label).select("label")
    with pytest.raises(DecodeError, match="'image', 'label'"):
        list(Dataset(tmp_path / "a.tar").select("lable"))


def test_other_fields_of_msgpack_are_not_decoded(tmp_path: Path) -> None:
    """A damaged array is no error where it is not read; and nothing warns of a known field."""
    write_samples([Row(np.full(3, i, np.uint8), i) for i in range(20)], tmp_path / "a.tar")
    raw = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "b.tar").write_bytes(raw.replace(b"\x93NUMPY", b"\x93NUMPX"))
    dataset = Dataset[Row](tmp_path / "b.tar").select("label")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [sample.label for sample in dataset] == list(range(20))
        assert list(next(iter(dataset.ordered(20))).label) == list(range(20))


def test_what_is_written_of_a_selection_has_its_fields_alone(tmp_path: Path) -> None:
    """Stored bytes are not passed on as they are."""
    dataset = write_samples([Row(np.full(3, i, np.uint8), i) for i in range(5)], tmp_path / "a.tar")
    write_samples(dataset.select("label"), tmp_path / "b.tar")
    assert [dict(sample) for sample in Dataset(tmp_path / "b.tar")] == [
        {"label": i} for i in range(5)
    ]


def test_a_selection_of_a_tar_without_a_table_reads_the_right_members(tmp_path: Path) -> None:
    """Links, long names and members in other orders are found in each sample."""
    path = tmp_path / "any.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for i in range(30):
            key = f"{'d' * (120 if i % 7 == 0 else 3)}/{i:04d}"
            members = [("txt", b"t%d" % i), ("jpg", b"j" * 999), ("cls", b"%d" % i)]
            for ending, content in members[:: -1 if i % 3 == 0 else 1]:
                info = tarfile.TarInfo(f"{key}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    dataset = Dataset[Pair](path).select("label", "caption")
    for way in WAYS.values():
        assert sorted((s.label, s.caption) for s in way(dataset)) == [
            (i, f"t{i}") for i in range(30)
        ]


@pytest.mark.parametrize("verb", ["select", "drop"])
def test_a_list_of_fields_is_refused_in_our_words(verb: str, tmp_path: Path) -> None:
    """Names are arguments of their own, as the error shows."""
    path = tmp_path / "a.tar"
    dataset = write_samples([atdata.DictSample({"a": 1, "b": 2})], path, fsync=False)
    with pytest.raises(OptionError, match="expected names of fields"):
        getattr(dataset, verb)(["a"])
