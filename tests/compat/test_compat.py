"""Whatever an older version wrote, this one reads: shards, tables, states, indexes, records."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex
from atdata.local import LocalIndex
from atdata.testing.network import Network
from tests.compat import make, samples
from tests.compat.samples import Pair, Point, Rich, Sample, pair, rich, sample

DATA = Path(__file__).parent / "data"
VERSIONS = sorted(path.name for path in DATA.iterdir())
NEWER = [name for name in VERSIONS if (DATA / name / "rich.tar").exists()]
"""Those that wrote the newer kinds, members, and the types of samples next to shards."""


@pytest.fixture(params=VERSIONS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What a version wrote, in a folder of this test's own."""
    return Path(shutil.copytree(DATA / request.param, tmp_path / "written"))


def dataset(folder: Path) -> atdata.Dataset[Sample]:
    """The dataset in the folder."""
    return atdata.Dataset[Sample](sorted(folder.glob("data-*.tar")))


def test_shards_are_read(written: Path) -> None:
    """Every sample is equal, one by one, in batches, by position and by key."""
    expected = [sample(number) for number in range(make.SAMPLES)]
    opened = dataset(written)
    assert list(opened.ordered()) == expected
    assert [row for batch in opened.ordered(8) for row in batch.samples] == expected
    assert [opened[i] for i in (0, 19, 20, 49)] == [expected[i] for i in (0, 19, 20, 49)]
    points = atdata.Dataset[Point](sorted(written.glob("points-*.tar")))
    assert [(point.x, point.y) for point in points.ordered()] == [(y / 4, y) for y in range(30)]
    assert opened.verified("full").count() == make.SAMPLES


def test_the_same_samples_make_the_same_files(written: Path, tmp_path: Path) -> None:
    """Shards and tables of today are those of then, byte for byte."""
    again = tmp_path / "again"
    again.mkdir()
    atdata.write_samples(map(sample, range(make.SAMPLES)), again / "data.tar", maxcount=20)
    assert {path.name: path.read_bytes() for path in again.glob("data-*")} == {
        path.name: path.read_bytes() for path in written.glob("data-*")
    }


@pytest.fixture(params=NEWER)
def newer(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What a version wrote that knew the newer kinds."""
    return Path(shutil.copytree(DATA / request.param, tmp_path / "written"))


@pytest.mark.parametrize("name", ["rich", "pairs"])
def test_newer_kinds_are_read(newer: Path, name: str) -> None:
    """Every sample is equal in every order, with its table and without; so is the recorded type."""
    kind: type[Any] = {"rich": Rich, "pairs": Pair}[name]
    make_one: Any = {"rich": rich, "pairs": pair}[name]
    expected = [make_one(number) for number in range(make.SAMPLES)]
    path = newer / f"{name}.tar"
    found = atdata.load_dataset(str(path), split="train")
    assert atdata.schema_of(found.sample_type).fields == atdata.schema_of(kind).fields
    assert len(list(found)) == make.SAMPLES
    for table in (True, False):
        if not table:
            path.with_name(f"{name}.tar.idx").unlink()
        opened = atdata.Dataset[Any].of(kind, path)
        assert list(opened) == expected
        assert [row for batch in opened.ordered(8) for row in batch.samples] == expected
        assert [opened[i] for i in (0, 19, 49)] == [expected[i] for i in (0, 19, 49)]
        assert opened.by_key("000000007") == expected[7]


def test_newer_kinds_make_the_same_files(newer: Path, tmp_path: Path) -> None:
    """Shards, tables and recorded types of today are those of then, byte for byte."""
    again = tmp_path / "again"
    again.mkdir()
    make.make_newer(again)
    for path in again.iterdir():
        assert path.read_bytes() == (newer / path.name).read_bytes(), path.name


def readings(folder: Path) -> Iterator[tuple[str, Any]]:
    """The readings whose states are kept, at their beginning."""
    opened = dataset(folder)
    yield "ordered", opened.ordered()
    yield "shuffled", opened.shuffled(seed=5)
    yield "rank", opened.split(1, 2).shuffled(seed=5)
    yield "mix", atdata.mix([opened, opened], weights=[2, 1], seed=5).shuffled()


def test_states_are_continued(written: Path) -> None:
    """A state gives the rest of its epoch, in the order that the version began."""
    states = json.loads((written / "states.json").read_text())
    for name, reading in readings(written):
        reading.load_state_dict(states[name]["state"])
        assert [row.number for row in reading] == states[name]["rest"], name


def test_an_index_is_opened(written: Path) -> None:
    """Datasets, their revisions, labels and schemas are found, and more can be inserted."""
    with LocalIndex(written / "index.db") as index:
        first, second = sorted(index.history("digits"), key=lambda entry: len(entry.shards))
        assert second.description == "Revision 1"
        assert second.tags == ("small", "kept")
        assert second.license == "MIT"
        assert second.metadata == {"number": 1, "table": {"a": [1, 2.5, None]}}
        assert [shard.url for shard in second.shards] == [make.URL.format(i) for i in range(2)]
        assert [entry.name for entry in index.search("revision", tags=["kept"])] == ["digits"]
        assert index.get_dataset("@local/digits@1.0.0").cid == first.cid
        assert index.get_dataset("@local/digits@2.0.0").cid == second.cid
        schema = index.schema_of_ref(second.schema_ref)
        assert schema.fields == atdata.schema_of(Sample).fields
        assert index.insert_dataset(dataset(written), name="digits").schema_ref == second.schema_ref


def test_records_are_read(
    written: Path, network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Records that are on a server still lead to the samples, for one who has nothing else."""
    monkeypatch.setenv("ATDATA_PLC_URL", network.plc_url)
    monkeypatch.setenv("ATDATA_PDS_URL", network.servers[0].url)
    monkeypatch.setenv("ATDATA_DATA_DIR", str(tmp_path / "user"))
    account = network.create_account()
    client = AtmosphereClient()
    client.login(account.handle, account.password)
    for shard in written.glob("*.tar"):
        data = shard.read_bytes()
        client.upload_blob(
            io.BytesIO(data),
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            content_type="application/x-tar",
        )
    kept = json.loads((written / "records.json").read_text().replace(make.DID, account.did))
    for uri, record in kept.items():
        collection, rkey = uri.split("/")[-2:]
        client.put_record(collection, rkey, record["value"], replaces=None)
    index = AtmosphereIndex(AtmosphereClient())
    entries = {entry.name: entry for entry in index.list_datasets(account.did)}
    types: dict[str, type] = {"digits": Sample, "points": Point}
    if (written / "rich.tar").exists():
        types |= {"rich": Rich, "rich-alt": Rich, "pairs": Pair}
    assert sorted(entries) == sorted(types)
    for name, expected in types.items():
        entry = entries[name]
        assert entry.tags == ("kept",)
        found = atdata.load_dataset(str(entry.uri), split="train")
        assert found.sample_type.__name__ == expected.__name__
        # One family keeps fields in a map, whose keys are sorted.
        kinds = (atdata.schema_of(kind) for kind in (found.sample_type, expected))
        read, own = ({field.name: field for field in kind.fields} for kind in kinds)
        assert read == own
    digits = atdata.load_dataset(str(entries["digits"].uri), samples.Sample, split="train")
    assert list(digits.ordered()) == [sample(number) for number in range(make.SAMPLES)]
