"""Conformance of an index: of a machine, a team or the network.

For an index of your own, subclass `IndexSuite` in a test module and override ``index``::

    class TestMyIndex(IndexSuite):
        @pytest.fixture
        def index(self, tmp_path):
            return MyIndex(tmp_path)

Only the members of `AbstractIndex` are used. Where the index must not record files of this
machine, give it a data store: every dataset is read back from where its entry says.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atdata._protocols import AbstractIndex, IndexEntry
from atdata.dataset.dataset import Dataset
from atdata.dataset.write import write_samples
from atdata.errors import OptionError, SchemaConflictError
from atdata.load import load_dataset
from atdata.samples.dict_sample import DictSample
from atdata.testing.schemas import IndexSchemaSuite, Point, Scene, points, scene, values

__all__ = ["IndexSuite"]

MakeDataset = Callable[..., "Dataset[Any]"]


class IndexSuite(IndexSchemaSuite):
    """What every index does."""

    @pytest.fixture
    def index(self) -> AbstractIndex:
        """An empty index for this test alone."""
        pytest.fail("Override the fixture 'index'.", pytrace=False)

    @pytest.fixture
    def make_dataset(self, tmp_path: Path) -> MakeDataset:
        """Write samples to new shards, three a shard, and open them."""
        numbers = count()

        def make(samples: list[Any]) -> Dataset[Any]:
            return write_samples(samples, tmp_path / f"made-{next(numbers)}.tar", maxcount=3)

        return make

    def test_it_is_an_index(self, index: AbstractIndex) -> None:
        """It has the members of the protocol, and a new one is empty."""
        assert isinstance(index, AbstractIndex)
        assert list(index.list_datasets()) == []
        assert list(index.list_schemas()) == []

    def test_what_is_inserted_is_found(
        self, index: AbstractIndex, make_dataset: MakeDataset
    ) -> None:
        """A dataset is found by its name, with its schema, and listed."""
        entry = index.insert_dataset(make_dataset(points(1)), name="points")
        found = index.get_dataset("points")
        assert isinstance(entry, IndexEntry)
        assert isinstance(found, IndexEntry)
        assert facts(found) == facts(entry)
        assert [facts(listed) for listed in index.list_datasets()] == [facts(entry)]
        assert found.name == "points"
        assert index.get_schema(found.schema_ref)["version"] == "1.0.0"

    def test_every_sample_comes_back(self, index: AbstractIndex, make_dataset: MakeDataset) -> None:
        """The first URL of an entry alone reads every sample of every shard, in order."""
        samples = points(1, samples=20)
        index.insert_dataset(make_dataset(samples), name="points")
        entry = index.get_dataset("points")
        sample_type = index.decode_schema(entry.schema_ref)
        assert list(Dataset.of(Point, entry.data_urls[0])) == samples
        decoded = list(Dataset.of(sample_type, entry.data_urls[0]))
        assert [values(sample) for sample in decoded] == [values(sample) for sample in samples]

    def test_a_part_is_never_inserted_as_the_whole(
        self, index: AbstractIndex, make_dataset: MakeDataset
    ) -> None:
        """One rank's part of a dataset is inserted as that part, or refused."""
        part = make_dataset(points(1, samples=20)).split(1, 3)
        samples = list(part)
        try:
            entry = index.insert_dataset(part, name="part")
        except OptionError:
            assert list(index.list_datasets()) == []
        else:
            assert list(Dataset.of(Point, entry.data_urls[0])) == samples

    def test_every_kind_of_field_comes_back(
        self, index: AbstractIndex, make_dataset: MakeDataset
    ) -> None:
        """A schema with a field of every kind is decoded to a type that reads the same values."""
        index.insert_dataset(make_dataset([scene()]), name="scenes")
        entry = index.get_dataset("scenes")
        sample_type = index.decode_schema(entry.schema_ref)
        (decoded,) = Dataset.of(sample_type, entry.data_urls[0])
        assert values(decoded) == values(scene())

    def test_shards_keep_their_split(self, index: AbstractIndex, tmp_path: Path) -> None:
        """A shard of ``train/`` or ``test/`` keeps its split, wherever the index has it and
        whatever its name there, by the entry and by its URL alone."""
        samples = points(1, samples=20)
        places = ("train/a", "test/a", "train/b")
        for number, place in enumerate(places):
            write_samples(samples[number * 5 :][:5], tmp_path / f"{place}.tar", maxcount=2)
        paths = [str(path) for place in places for path in sorted(tmp_path.glob(f"{place}*.tar"))]
        index.insert_dataset(Dataset.of(Point, paths), name="points")
        entry: Any = index.get_dataset("points")
        splits = [shard.split for shard in entry.shards]
        assert splits == ["train"] * 3 + ["test"] * 3 + ["train"] * 3
        for where in (entry.data_urls[0], entry.data_urls):
            found = load_dataset(where, Point)
            assert {name: list(one) for name, one in found.items()} == {
                "train": samples[:5] + samples[10:15],
                "test": samples[5:10],
            }

    def test_what_is_said_of_a_dataset_is_kept(
        self, index: AbstractIndex, make_dataset: MakeDataset
    ) -> None:
        """Metadata read back as they were given, bytes, floats and nesting included."""
        metadata = {"a": [1, -0.5, None, True], "b": {"c": b"\x00\xff", "ü": "😀"}, "e": {}}
        index.insert_dataset(
            make_dataset(points(1)),
            name="points",
            metadata=metadata,
            description="Points.\nTwo lines.",
            tags=["small", "made up"],
            license="CC-BY-4.0",
        )
        entry: Any = index.get_dataset("points")
        assert entry.metadata == metadata
        assert entry.description == "Points.\nTwo lines."
        assert list(entry.tags) == ["small", "made up"]
        assert entry.license == "CC-BY-4.0"

    def test_the_same_content_is_one_dataset(
        self, index: AbstractIndex, make_dataset: MakeDataset
    ) -> None:
        """The same content under the same name returns the existing entry."""
        dataset = make_dataset(points(1))
        first = index.insert_dataset(dataset, name="points", description="Said once.")
        again = index.insert_dataset(dataset, name="points")
        assert facts(again) == facts(first)
        assert [facts(entry) for entry in index.list_datasets()] == [facts(first)]
        kept: Any = index.get_dataset("points")
        assert kept.description == "Said once."

    def test_other_content_is_found_by_the_name(
        self, index: AbstractIndex, make_dataset: MakeDataset
    ) -> None:
        """Once a name gets other content, it means only that."""
        old = index.insert_dataset(make_dataset(points(1)), name="points")
        new = index.insert_dataset(make_dataset(points(2)), name="points")
        assert facts(index.get_dataset("points")) == facts(new)
        assert list(Dataset.of(Point, new.data_urls[0])) == points(2)
        assert list(Dataset.of(Point, old.data_urls[0])) == points(1)

    def test_a_prefix_used_twice_keeps_both(
        self, index: AbstractIndex, make_dataset: MakeDataset
    ) -> None:
        """Two datasets with one prefix do not overwrite each other's shards."""
        one = index.insert_dataset(make_dataset(points(1)), name="one", prefix="shared")
        two = index.insert_dataset(make_dataset(points(2)), name="two", prefix="shared")
        assert list(Dataset.of(Point, one.data_urls[0])) == points(1)
        assert list(Dataset.of(Point, two.data_urls[0])) == points(2)

    def test_something_new_said_of_the_same_content(
        self, index: AbstractIndex, make_dataset: MakeDataset
    ) -> None:
        """Inserting the same content with another description changes the description."""
        dataset = make_dataset(points(1))
        index.insert_dataset(dataset, name="points", description="Old.", tags=["kept"])
        index.insert_dataset(dataset, name="points", description="New.")
        entry: Any = index.get_dataset("points")
        assert entry.description == "New."
        assert list(entry.tags) == ["kept"]
        assert len(list(index.list_datasets())) == 1

    def test_a_new_revision_keeps_what_was_said(
        self, index: AbstractIndex, make_dataset: MakeDataset
    ) -> None:
        """Other content keeps description, tags, licence and metadata; empty ones clear them."""
        said = {"description": "D.", "tags": ["t"], "license": "MIT", "metadata": {"a": 1}}
        index.insert_dataset(make_dataset(points(1)), name="points", **said)  # type: ignore[arg-type]
        index.insert_dataset(make_dataset(points(2)), name="points", tags=["u"])
        kept: Any = index.get_dataset("points")
        assert list(Dataset.of(Point, kept.data_urls[0])) == points(2)
        assert (kept.description, list(kept.tags), kept.license) == ("D.", ["u"], "MIT")
        assert kept.metadata == {"a": 1}
        empty = {"description": "", "tags": [], "license": "", "metadata": {}}
        index.insert_dataset(make_dataset(points(3)), name="points", **empty)  # type: ignore[arg-type]
        cleared: Any = index.get_dataset("points")
        assert (cleared.description, list(cleared.tags), cleared.license) == (None, [], None)
        assert not cleared.metadata

    def test_names_are_kept_as_they_are(
        self, index: AbstractIndex, make_dataset: MakeDataset
    ) -> None:
        """Names with spaces, capitals, signs and in any script are distinct, and found exactly."""
        dataset = make_dataset(points(1))
        names = [
            "case",
            "CASE",
            "a b",
            "a/b",
            "a@1.0",
            "日本語",
            "é",
            "e\u0301",
            "%2e",
            "n" * 256,
        ]
        for name in names:
            index.insert_dataset(dataset, name=name)
        assert {entry.name for entry in index.list_datasets()} == set(names)
        for name in names:
            assert index.get_dataset(name).name == name

    def test_a_schema_ref_that_is_given_is_used(
        self, index: AbstractIndex, make_dataset: MakeDataset
    ) -> None:
        """An entry has the schema it was inserted with, and no other schema is published."""
        ref = index.publish_schema(Point, version="3.1.4")
        entry = index.insert_dataset(make_dataset(points(1)), name="points", schema_ref=ref)
        assert entry.schema_ref == ref
        assert len(list(index.list_schemas())) == 1

    def test_a_schema_that_does_not_fit_is_refused(
        self, index: AbstractIndex, make_dataset: MakeDataset
    ) -> None:
        """Data are never recorded under a schema that does not describe them."""
        ref = index.publish_schema(Scene)
        with pytest.raises(SchemaConflictError):
            index.insert_dataset(make_dataset(points(1)), name="points", schema_ref=ref)
        assert list(index.list_datasets()) == []

    @pytest.mark.parametrize(
        ("bad", "error"),
        [
            ({"name": ""}, ValueError),
            ({"name": " "}, ValueError),
            ({"name": "n" * 257}, ValueError),
            ({"name": "a\nb"}, ValueError),
            ({"name": "a\x00b"}, ValueError),
            ({"name": "@local/a"}, ValueError),
            ({"schema_ref": "Point"}, ValueError),
            ({"schema_ref": "atdata://local/sampleSchema/Point"}, ValueError),
            ({"metadata": {"a": object}}, ValueError),
            ({"metadata": {1: "a"}}, ValueError),
            ({"metadata": [1]}, ValueError),
            ({"tags": "one"}, ValueError),
            ({"tags": [1]}, ValueError),
            ({"tags": [str(n) for n in range(31)]}, ValueError),
            ({"description": 1}, ValueError),
            ({"license": 1}, ValueError),
        ],
        ids=repr,
    )
    def test_bad_arguments_write_nothing(
        self,
        index: AbstractIndex,
        make_dataset: MakeDataset,
        bad: dict[str, Any],
        error: type[Exception],
    ) -> None:
        """Each bad argument has its own error, before anything is written."""
        arguments = {"name": "points", **bad}
        with pytest.raises(error):
            index.insert_dataset(make_dataset(points(1)), **arguments)
        assert list(index.list_datasets()) == []
        assert list(index.list_schemas()) == []

    def test_what_is_no_typed_dataset_is_refused(
        self, index: AbstractIndex, make_dataset: MakeDataset
    ) -> None:
        """A path, or a dataset without a type and without a schema, is a TypeError."""
        dataset = make_dataset(points(1))
        for wrong in ("points.tar", points(1), Dataset.of(DictSample, dataset.shard_list)):
            with pytest.raises(TypeError):
                index.insert_dataset(wrong, name="points")
        for sample_type in (int, DictSample, Point(np.zeros(3, np.float32), 1)):
            with pytest.raises(TypeError):
                index.publish_schema(sample_type)  # type: ignore[arg-type]
        assert list(index.list_datasets()) == []
        assert list(index.list_schemas()) == []

    def test_a_missing_file_is_noticed_first(self, index: AbstractIndex, tmp_path: Path) -> None:
        """A dataset whose file is missing is not recorded."""
        missing = Dataset.of(Point, tmp_path / "missing.tar")
        with pytest.raises(FileNotFoundError, match=r"missing\.tar"):
            index.insert_dataset(missing, name="points")
        assert list(index.list_datasets()) == []
        assert list(index.list_schemas()) == []

    def test_what_is_not_there(self, index: AbstractIndex) -> None:
        """An unknown dataset or schema is a KeyError that names what was asked for."""
        with pytest.raises(KeyError, match="nothing-of-this-name"):
            index.get_dataset("nothing-of-this-name")
        ref = index.publish_schema(Point)
        head = ref[: ref.rindex("/")]
        for unknown in (f"{head}/Nothing@1.0.0", f"{head}/Point@9.9.9"):
            if unknown.startswith("at://"):
                unknown = unknown.replace("@", ":")
            with pytest.raises(KeyError):
                index.get_schema(unknown)
            with pytest.raises(KeyError):
                index.decode_schema(unknown)

    def test_threads(self, index: AbstractIndex, make_dataset: MakeDataset) -> None:
        """Threads that insert the same and different datasets lose none and duplicate none."""
        same = make_dataset(points(0))
        others = [make_dataset(points(n)) for n in range(1, 5)]
        todo = [(same, "same")] * 4 + [(each, f"own-{n}") for n, each in enumerate(others)]
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda pair: index.insert_dataset(pair[0], name=pair[1]), todo))
        assert sorted(entry.name for entry in index.list_datasets()) == sorted(
            {entry.name for entry in made}
        )
        assert len(list(index.list_schemas())) == 1
        for dataset, name in todo:
            urls = index.get_dataset(name).data_urls
            assert list(Dataset.of(Point, urls[0])) == list(dataset)

    def test_copied_to_itself(self, index: AbstractIndex, make_dataset: MakeDataset) -> None:
        """A dataset opened from its entry and inserted under another name has the same samples."""
        index.insert_dataset(make_dataset(points(1, 7)), name="one")
        entry = index.get_dataset("one")
        sample_type = index.decode_schema(entry.schema_ref)
        ref = index.publish_schema(sample_type)
        index.insert_dataset(
            Dataset.of(sample_type, entry.data_urls[0]), name="two", schema_ref=ref
        )
        copy = index.get_dataset("two")
        assert copy.schema_ref == entry.schema_ref
        assert list(Dataset.of(Point, copy.data_urls[0])) == points(1, 7)


def facts(entry: IndexEntry) -> tuple[Any, ...]:
    """An entry has what its protocol promises."""
    return entry.name, entry.schema_ref, entry.data_urls, entry.metadata
