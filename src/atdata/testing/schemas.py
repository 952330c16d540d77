"""Conformance of an index: its schemas, and the sample types that the suite uses.

Part of `atdata.testing.indexes.IndexSuite`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata._protocols import AbstractIndex
from atdata.errors import SchemaConflictError
from atdata.samples.described import Doc, Shape, Unit
from atdata.samples.packable import packable

__all__ = ["IndexSchemaSuite", "Point", "Scene", "points", "scene", "values"]


@packable
class Point:
    """A small sample."""

    x: NDArray[np.float32]
    label: int


@packable
class Scene:
    """A sample with a field of every kind."""

    name: Annotated[str, Doc("What it is called.")]
    count: int
    score: float
    ready: bool
    raw: bytes
    image: Annotated[NDArray[np.uint8], Shape("h", None)]
    anything: Annotated[NDArray[Any], Shape("h", 4), Unit("m")]
    words: list[str]
    table: dict[str, float]
    taken: datetime
    split: Literal["train", "test"]
    first: Point
    others: list[Point]
    note: str | None = None


def points(label: int, samples: int = 5) -> list[Point]:
    """Samples that differ from those of every other label."""
    return [Point(np.full(3, i, np.float32), label) for i in range(samples)]


def scene() -> Scene:
    """A sample with a value in every field."""
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    first, *others = points(1)
    taken = datetime.fromisoformat("2026-11-21T10:00:00+01:00")
    return Scene(
        *("ünï", -1, 0.5, True, b"\x00\xff", image, image.astype(np.float64), ["a", ""]),
        *({"k": 1.5}, taken, "test", first, others, None),
    )


def values(sample: Any) -> Any:
    """The values of the fields of a sample, to compare samples of different classes."""
    return sample.packed


class IndexSchemaSuite:
    """What every index does with schemas."""

    def test_a_schema_is_published_once(self, index: AbstractIndex) -> None:
        """Publishing the same type again, with and without its version, gives the same ref."""
        ref = index.publish_schema(Point, version="1.0.0", description="A point.")
        assert index.publish_schema(Point, version="1.0.0") == ref
        assert index.publish_schema(Point) == ref
        assert len(list(index.list_schemas())) == 1
        record = index.get_schema(ref)
        assert record["name"] == f"{Point.__module__}.Point"
        assert record["version"] == "1.0.0"
        assert [field["name"] for field in record["fields"]] == ["x", "label"]
        assert record["description"] == "A point."

    def test_a_decoded_type_is_the_same_schema(self, index: AbstractIndex) -> None:
        """Publishing a type that was decoded finds the schema that it came from."""
        for sample_type in (Point, Scene):
            ref = index.publish_schema(sample_type)
            assert index.publish_schema(index.decode_schema(ref)) == ref
        assert sorted(record["name"] for record in index.list_schemas()) == [
            f"{Point.__module__}.Point",
            f"{Point.__module__}.Scene",
        ]

    def test_other_fields_under_a_version_are_refused(self, index: AbstractIndex) -> None:
        """Other fields under the same name and version raise, show the field, change nothing."""
        one, _, other = self._three_versions()
        ref = index.publish_schema(one, version="1.0.0")
        with pytest.raises(SchemaConflictError, match="size"):
            index.publish_schema(other, version="1.0.0")
        assert issubclass(SchemaConflictError, ValueError)
        assert index.publish_schema(index.decode_schema(ref), version="1.0.0") == ref

    def test_versions_go_up_by_what_changed(self, index: AbstractIndex) -> None:
        """Without a version: a new optional field is minor, anything else major, same is same."""
        one, wider, other = self._three_versions()
        refs = [index.publish_schema(each) for each in (one, wider, wider, other, other)]
        versions = [index.get_schema(ref)["version"] for ref in refs]
        assert versions == ["1.0.0", "1.1.0", "1.1.0", "2.0.0", "2.0.0"]

    def test_versions_in_use_at_once(self, index: AbstractIndex) -> None:
        """Programs with old and new versions of a class each find theirs again, in any order."""
        types = [*self._three_versions()]
        refs = [index.publish_schema(sample_type) for sample_type in types]
        for order in ((0, 2, 1, 0), (2, 0, 1, 2)):
            assert [index.publish_schema(types[n]) for n in order] == [refs[n] for n in order]
        assert len(list(index.list_schemas())) == len(types)

    @staticmethod
    def _three_versions() -> tuple[type, type, type]:
        def first() -> type:
            @packable
            class Thing:
                label: int

            return Thing

        def wider() -> type:
            @packable
            class Thing:
                label: int
                note: str | None = None

            return Thing

        def other() -> type:
            @packable
            class Thing:
                label: int
                size: float

            return Thing

        return first(), wider(), other()

    @pytest.mark.parametrize("ref", ["", "Point", "atdata://local/Point@1.0.0", "at://x/y"])
    def test_malformed_schema_refs(self, index: AbstractIndex, ref: str) -> None:
        """What is no schema ref is a ValueError, not something that was not found."""
        with pytest.raises(ValueError):
            index.get_schema(ref)
        with pytest.raises(ValueError):
            index.decode_schema(ref)

    def test_a_version_that_is_none(self, index: AbstractIndex) -> None:
        """A version that is not major.minor.patch is refused."""
        for version in ("1", "1.0", "v1.0.0", "1.0.0-rc1", "latest", ""):
            with pytest.raises(ValueError):
                index.publish_schema(Point, version=version)
        assert list(index.list_schemas()) == []
