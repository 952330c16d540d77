"""Shards describe themselves: their type is recorded when they are written, and read with them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata._limits import limits
from atdata.dataset.recorded_type import recorded_type
from atdata.errors import AtdataError, DecodeError, SchemaConflictError, SchemaError
from atdata.local import DiskDataStore
from atdata.schema.evolve import compare
from atdata.schema.reflect import schema_of
from atdata.schema.schema_file import from_document, schema_file
from atdata.sources.subset import SubsetSource
from atdata.testing.strategies import sample_types
from tests.sources.web import web_server


@atdata.packable
class Box:
    x: int


@atdata.packable
class Digit:
    image: NDArray[np.uint8]
    label: int
    writer: str | None
    boxes: list[Box]
    side: Literal["left", "right"] = "left"


def digits(count: int, first: int = 0) -> list[Digit]:
    image = np.zeros((4, 4), np.uint8)
    return [Digit(image, first + n, None, [Box(n)]) for n in range(count)]


def loaded(where: Any, sample_type: Any = None) -> atdata.Dataset[Any]:
    return atdata.load_dataset(where, sample_type, split="train")


@pytest.mark.parametrize(
    ("path", "ways"),
    [
        ("d.tar", ["d.tar", "", "*.tar"]),
        ("d-000007.tar", ["d-000007.tar"]),
        ("d-%06d.tar", ["d-*.tar", "d-{000000..000001}.tar", "d-000001.tar", ""]),
    ],
)
def test_shards_are_loaded_with_the_type_that_they_were_written_with(
    path: str, ways: list[str], tmp_path: Path
) -> None:
    """However they are named, whole or in part, in this folder or another one."""
    atdata.write_samples(digits(6), tmp_path / "a" / path, maxcount=3 if "%" in path else None)
    shutil.move(tmp_path / "a", tmp_path / "b")
    for way in ways:
        dataset = loaded(tmp_path / "b" / way)
        assert schema_of(dataset.sample_type) == schema_of(Digit)
        assert dataset.sample_type.__name__ == "Digit"
        assert all(type(sample) is dataset.sample_type for sample in dataset)
    assert loaded(tmp_path / "b" / ways[0])[2].label in (2, 5)


def test_a_store_records_the_type_of_what_it_writes(tmp_path: Path) -> None:
    """A folder of shards is loaded with its type; writing it again changes no byte."""
    dataset = atdata.write_samples(digits(6), tmp_path / "d.tar", maxcount=3)
    store = DiskDataStore(tmp_path / "store")
    for _ in range(2):
        store.write_shards(dataset, prefix="p")
        assert loaded(tmp_path / "store" / "p")[5].boxes[0].x == 5
    written = (tmp_path / "store" / "p" / "data.atdata.json").read_bytes()
    assert written == (tmp_path / "d.atdata.json").read_bytes() == schema_file(Digit)


def test_shards_on_a_server_are_loaded_with_their_type(tmp_path: Path) -> None:
    """Over http as from disk; shards that nothing is recorded of give DictSamples."""
    atdata.write_samples(digits(6), tmp_path / "d.tar", maxcount=3)
    atdata.write_samples([atdata.DictSample(x=1)], tmp_path / "other.tar")
    atdata.write_samples(digits(1), tmp_path / "older.tar")
    (tmp_path / "older.tar.atdata.json").unlink()
    with web_server() as web:
        web.files = {f"/{path.name}": path.read_bytes() for path in tmp_path.iterdir()}
        assert loaded(f"{web.url}/d-{{000000..000001}}.tar?query=1")[4].label == 4
        assert loaded(f"{web.url}/d-000001.tar").cached(tmp_path / "cache")[1].label == 4
        for name in ("other.tar", "older.tar"):
            assert loaded(f"{web.url}/{name}").sample_type is atdata.DictSample


def test_parts_of_a_source_have_its_type(tmp_path: Path) -> None:
    """Some of the shards, of a source that knows only those."""
    dataset = atdata.write_samples(digits(6), tmp_path / "d.tar", maxcount=3)
    part = SubsetSource(dataset.source, dataset.shard_list[1:])
    assert recorded_type(part) is loaded(tmp_path).sample_type


def test_shards_of_two_types_have_none(tmp_path: Path) -> None:
    """Types that differ, or that only some shards have, are nobody's guess."""
    atdata.write_samples(digits(2), tmp_path / "a.tar")
    atdata.write_samples([Box(1)], tmp_path / "b.tar")
    assert loaded(tmp_path).sample_type is atdata.DictSample
    (tmp_path / "b.tar.atdata.json").unlink()
    assert loaded(tmp_path).sample_type is atdata.DictSample
    assert loaded(tmp_path / "a.tar").sample_type.__name__ == "Digit"


def test_shards_written_again_have_the_new_type(tmp_path: Path) -> None:
    """Also where the new samples have none."""
    for samples in (digits(3), [Box(1)], [atdata.DictSample(x=1)], digits(3)):
        for maxcount in (None, 1):
            atdata.write_samples(samples, tmp_path / "d.tar", maxcount=maxcount)
            for shard in tmp_path.glob("d-*.tar" if maxcount else "d.tar"):
                assert loaded(shard).sample_type.__name__ == type(samples[0]).__name__
        for old in tmp_path.glob("d-*.tar*"):
            old.unlink()


def test_a_writer_killed_at_any_step_leaves_no_wrong_type(tmp_path: Path) -> None:
    """One shard that is being replaced has its own type or none; several have all or nothing."""
    for step in range(200):
        folder = tmp_path / str(step)
        for maxcount in (None, 2):
            atdata.write_samples(digits(4), folder / "d.tar", maxcount=maxcount)
        boxes = [Box(n) for n in range(4)]
        done = _killed_at(
            step,
            lambda folder=folder, boxes=boxes: [  # type: ignore[misc]
                atdata.write_samples(boxes, folder / "d.tar", maxcount=m, fsync=False)
                for m in (None, 2)
            ],
        )
        for way in ("d.tar", "d-*.tar"):
            dataset = loaded(folder / way)
            first = atdata.Dataset[atdata.DictSample](folder / way)[0]
            written = "Box" if hasattr(first, "x") else "Digit"
            assert {type(sample).__name__ for sample in dataset} <= {written, "DictSample"}
        shutil.rmtree(folder)
        if done:
            return
    raise AssertionError("never done")


def _killed_at(step: int, work: Callable[[], object]) -> bool:
    pid = os.fork()
    if not pid:
        left = iter(range(step, -1, -1))

        def hook(event: str, _: object) -> None:
            if event in ("os.rename", "os.remove", "os.symlink") and next(left, 0) == 0:
                os._exit(9)

        sys.addaudithook(hook)
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_class_wins_after_a_check(tmp_path: Path) -> None:
    """A class that may fit is used as it is; one that cannot names the field that differs."""
    atdata.write_samples(digits(2), tmp_path / "d.tar")

    @atdata.packable
    class Part:
        label: float
        writer: str | None
        side: str
        more: int = 3

    assert [sample.more for sample in loaded(tmp_path, Part)] == [3, 3]
    assert type(loaded(tmp_path, Digit)[0]) is Digit
    assert type(loaded(tmp_path, atdata.DictSample)[0]) is atdata.DictSample

    @atdata.packable
    class Other:
        boxes: list[Digit]

    with pytest.raises(SchemaConflictError, match=r"d\.tar\.atdata\.json .*\$\.boxes\[\]\.image"):
        loaded(tmp_path, Other)

    @atdata.packable
    class Needs:
        missing: int

    with pytest.raises(SchemaConflictError, match=r"\$\.missing: expected int, and no such field"):
        loaded(tmp_path, Needs)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(sample_types())
def test_every_type_is_read_back_from_its_file(sample_type: type) -> None:
    """Names, kinds and descriptions; and the same type gives the same bytes."""
    data = schema_file(sample_type)
    read = from_document(json.loads(data))
    assert read is not None
    assert read == schema_of(sample_type)
    assert not compare(read, schema_of(sample_type))
    assert data == schema_file(sample_type)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"<html>not found</html>", b"[1]", b'{"atdata": null}', b"\xff\xfe\x00", b"null"],
)
def test_files_of_other_programs_are_ignored(content: bytes, tmp_path: Path) -> None:
    """What does not look like a schema file is none."""
    atdata.write_samples(digits(2), tmp_path / "d.tar")
    (tmp_path / "d.tar.atdata.json").write_bytes(content)
    assert loaded(tmp_path).sample_type is atdata.DictSample


def damaged(change: Callable[[Any], object]) -> bytes:
    document = json.loads(schema_file(Digit))
    change(document)
    return json.dumps(document, indent=1).encode()


WRONG: dict[str, bytes] = {
    "cut short": schema_file(Digit)[:300],
    "no fields": damaged(lambda d: d["schema"].pop("fields")),
    "a name that runs": damaged(lambda d: d["schema"].update(name="x.__import__('os')")),
    "a keyword": damaged(lambda d: d["schema"]["fields"][0].update(name="class")),
    "no nested schema": damaged(lambda d: d["nested"].clear()),
    "itself": damaged(lambda d: d["nested"].update(dict.fromkeys(d["nested"], d["schema"]))),
    "deep": b'{\n "atdata": 1, "schema": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "huge": schema_file(Digit)[:-2] + b" " * limits.schema_file + b"}",
    "many": damaged(lambda d: d["schema"].update(fields=d["schema"]["fields"] * 1000)),
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG.keys())
def test_a_damaged_or_hostile_file_is_an_error_that_names_it(
    content: bytes, tmp_path: Path
) -> None:
    """Nothing is read with half a type; the shards stay readable without the file."""
    atdata.write_samples(digits(2), tmp_path / "d.tar")
    (tmp_path / "d.tar.atdata.json").write_bytes(content)
    with pytest.raises(SchemaError, match=r"d\.tar\.atdata\.json: "):
        loaded(tmp_path)
    (tmp_path / "d.tar.atdata.json").unlink()
    assert loaded(tmp_path)[1].label == 1


def test_what_a_newer_version_wrote_is_read_as_dicts(tmp_path: Path) -> None:
    """A newer format, or a kind that this version does not know."""
    atdata.write_samples(digits(2), tmp_path / "d.tar")
    place = tmp_path / "d.tar.atdata.json"
    for change in (
        lambda d: d.update(atdata=2),
        lambda d: d["schema"]["fields"][0]["fieldType"].update({"$type": "x.y#tensor"}),
    ):
        place.write_bytes(damaged(change))
        assert loaded(tmp_path).sample_type is atdata.DictSample
        assert loaded(tmp_path, Digit)[1].label == 1


def test_a_file_that_lies_is_an_error_when_samples_are_read(tmp_path: Path) -> None:
    """The values of every sample are checked against the recorded type, whoever recorded it."""
    atdata.write_samples(digits(2), tmp_path / "d.tar")
    place = tmp_path / "d.tar.atdata.json"
    place.write_bytes(
        damaged(lambda d: d["schema"]["fields"][1]["fieldType"].update(primitive="str"))
    )
    with pytest.raises(DecodeError, match=r"\$\.label: expected str, found int"):
        list(loaded(tmp_path))


def test_a_type_that_cannot_be_recorded_is_written_without(tmp_path: Path) -> None:
    """A limit on schemas does not keep samples from being written."""
    with limits.set(text=3):
        atdata.write_samples([Long("a", 1)], tmp_path / "d.tar")
    assert loaded(tmp_path).sample_type is atdata.DictSample
    assert loaded(tmp_path, Long)[0].n == 1


@atdata.packable
class Long:
    side: Literal["a", "a long one"]
    n: int


@settings(max_examples=30)
@given(st.data())
def test_any_change_of_a_file_is_read_or_is_an_error_of_ours(data: st.DataObject) -> None:
    """Whatever a byte becomes."""
    content = bytearray(schema_file(Digit))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        document = json.loads(bytes(content))
    except ValueError:
        return
    try:
        from_document(document)
    except AtdataError:
        pass
