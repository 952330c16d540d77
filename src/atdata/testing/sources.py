"""Conformance of a data source.

For a source of your own, subclass `SourceSuite` in a test module and override ``stored``::

    class TestMySource(SourceSuite):
        @pytest.fixture
        def stored(self, my_service):
            def put(shards: dict[str, bytes]) -> DataSource:
                my_service.upload(shards)
                return MyCustomSource(my_service.address, list(shards))

            return put

Tests of a capability (see `atdata.capabilities`) that the source lacks are skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata._protocols import DataSource
from atdata._secrets import redacted_repr
from atdata.capabilities import (
    SupportsByteRanges,
    SupportsLocalPaths,
    SupportsNeighbours,
    SupportsSidecars,
)
from atdata.dataset.dataset import Dataset
from atdata.dataset.write import write_samples
from atdata.errors import IntegrityError, ShardNotFoundError
from atdata.samples.packable import packable

__all__ = ["SourceSuite"]

Stored = Callable[[Mapping[str, bytes]], DataSource]


@packable
@redacted_repr
@dataclass
class _Reading:
    values: NDArray[np.float32]
    station: str


SHARDS = {
    "data-000000.tar": b"one" * 700_000,
    "data-000001.tar": b"",
    "data-000002.tar": bytes(range(256)) * 10,
}
"""Bytes of several sizes: over the usual buffers, none, and small."""


class SourceSuite:
    """What every source does, and what one with a capability does."""

    @pytest.fixture
    def stored(self) -> Stored:
        """Stores shards, name → bytes, where the source reads them, and returns a source of them.

        Called once in a test; the source has the shards in this order.
        """
        pytest.fail("Override the fixture 'stored'.", pytrace=False)

    @pytest.fixture
    def source(self, stored: Stored) -> DataSource:
        """A source of `SHARDS`."""
        return stored(SHARDS)

    def test_it_is_a_source(self, source: DataSource) -> None:
        """It has the three members of the protocol."""
        assert isinstance(source, DataSource)

    def test_the_list_has_every_shard_in_order(self, source: DataSource) -> None:
        """One identifier for each shard, no two alike, the same each time."""
        shards = source.shard_list
        assert isinstance(shards, list)
        assert all(isinstance(shard, str) for shard in shards)
        assert len(set(shards)) == len(SHARDS)
        assert source.shard_list == shards

    def test_the_list_is_the_callers_own(self, source: DataSource) -> None:
        """Changing a list that it returned does not change the source."""
        source.shard_list.clear()
        assert len(source.shard_list) == len(SHARDS)

    def test_shards_come_in_order_and_whole(self, source: DataSource) -> None:
        """Iterating the shards gives identifier and bytes of each, the second time as well."""
        for _ in range(2):
            seen = [(shard, stream.read()) for shard, stream in source.shards()]
            assert seen == list(zip(source.shard_list, SHARDS.values(), strict=True))

    def test_any_shard_can_be_opened(self, source: DataSource) -> None:
        """Each shard opens by its identifier, in any order, more than once."""
        for shard, expected in reversed(list(zip(source.shard_list, SHARDS.values(), strict=True))):
            for _ in range(2):
                with closing(source.open_shard(shard)) as stream:
                    assert stream.read() == expected

    def test_reads_of_any_size_give_the_same_bytes(self, source: DataSource) -> None:
        """A stream gives as many bytes as were asked for until its end, and then none."""
        shard, expected = source.shard_list[0], SHARDS["data-000000.tar"]
        with closing(source.open_shard(shard)) as stream:
            assert stream.read(0) == b""
            assert stream.read(1) == expected[:1]
            assert stream.read(512) == expected[1:513]
            assert stream.read(1_500_000) == expected[513:1_500_513]
            assert stream.read(-1) == expected[1_500_513:]
            assert stream.read(10) == b""

    def test_streams_do_not_disturb_each_other(self, source: DataSource) -> None:
        """Two streams of one shard, open at once, each give all of it."""
        shard, expected = source.shard_list[0], SHARDS["data-000000.tar"]
        with (
            closing(source.open_shard(shard)) as one,
            closing(source.open_shard(shard)) as other,
        ):
            first = one.read(1000)
            assert other.read() == expected
            assert first + one.read() == expected

    def test_a_missing_shard_is_a_key_error(self, source: DataSource) -> None:
        """An identifier that is not in the list raises KeyError."""
        for shard in ("no-such-shard.tar", "", source.shard_list[0] + "x"):
            with pytest.raises(KeyError):
                source.open_shard(shard)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_worker_reads_too(self, source: DataSource) -> None:
        """Used before a fork, as PyTorch's workers are made, it works in the child as well."""
        expected = list(SHARDS.values())
        assert [stream.read() for _, stream in source.shards()] == expected
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = int([stream.read() for _, stream in source.shards()] != expected)
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [stream.read() for _, stream in source.shards()] == expected

    def test_byte_ranges_are_the_shards_bytes(self, source: DataSource) -> None:
        """Parts of a shard are its bytes at their positions; one past its end is an error."""
        if not isinstance(source, SupportsByteRanges):
            pytest.skip("The source lacks SupportsByteRanges.")
        shard, expected = source.shard_list[0], SHARDS["data-000000.tar"]
        ranges = source.ranges(shard)
        if ranges is None:
            pytest.skip("The source has no byte ranges here.")
        assert min(ranges.max_gap_bytes, ranges.max_read_bytes) >= 0
        for start, size in ((1_000_000, 1_000), (0, 1), (len(expected) - 7, 7)):
            part = bytearray(size)
            ranges.read_into(memoryview(part), start)
            assert bytes(part) == expected[start : start + size]
        with pytest.raises(IntegrityError):
            ranges.read_into(memoryview(bytearray(100)), len(expected) - 50)

    def test_local_paths_are_the_shards(self, source: DataSource) -> None:
        """A shard's local path, if it has one, is a file with its bytes."""
        if not isinstance(source, SupportsLocalPaths):
            pytest.skip("The source lacks SupportsLocalPaths.")
        for shard, expected in zip(source.shard_list, SHARDS.values(), strict=True):
            path = source.local_path(shard)
            assert path is None or path.read_bytes() == expected

    def test_a_missing_sidecar_is_a_key_error(self, source: DataSource) -> None:
        """Next to these shards is nothing: opening a file there raises ShardNotFoundError."""
        if not isinstance(source, SupportsSidecars):
            pytest.skip("The source lacks SupportsSidecars.")
        for shard in source.shard_list:
            with pytest.raises(ShardNotFoundError):
                source.open_sidecar(shard, ".absent")

    def test_neighbours_are_files_of_the_same_folder(self, source: DataSource) -> None:
        """A shard is found by its name from any other one; a file that is absent is an error."""
        if not isinstance(source, SupportsNeighbours):
            pytest.skip("The source lacks SupportsNeighbours.")
        names = list(SHARDS)
        for shard in source.shard_list:
            with pytest.raises(ShardNotFoundError):
                source.open_neighbour(shard, "absent.json")
            try:
                with source.open_neighbour(shard, names[-1]) as stream:
                    assert stream.read() == SHARDS[names[-1]]
            except ShardNotFoundError:
                pytest.skip("The shards have no names here.")

    def test_a_dataset_reads_every_sample(self, stored: Stored, tmp_path: Path) -> None:
        """A typed dataset over the source yields all samples of all shards, in order."""
        samples = [
            _Reading(values=np.full((3, 4), number, np.float32), station=f"s{number}")
            for number in range(50)
        ]
        written = write_samples(samples, tmp_path / "readings", maxcount=9)
        files = [Path(shard) for shard in written.shard_list]
        source = stored({file.name: file.read_bytes() for file in files})
        found = list(Dataset[_Reading](source).ordered())
        assert [sample.station for sample in found] == [sample.station for sample in samples]
        for one, other in zip(found, samples, strict=True):
            np.testing.assert_array_equal(one.values, other.values)
