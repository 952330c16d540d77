"""A data source of one's own, and a program that takes any source."""
# ruff: noqa: I001

import os
from pathlib import Path

import atdata
from atdata._protocols import DataSource

from typing import Iterator, IO  # noqa: UP035


@atdata.packable
class MySample:
    text: str
    label: int


class MyCustomSource:
    """Custom data source for proprietary storage."""

    def __init__(self, config: dict):
        self._config = config
        self._shards = ["shard-001.tar", "shard-002.tar"]

    @property
    def shard_list(self) -> list[str]:
        return self._shards

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        for shard_id in self._shards:
            stream = self._open(shard_id)
            yield shard_id, stream

    def open_shard(self, shard_id: str) -> IO[bytes]:
        if shard_id not in self._shards:
            raise KeyError(f"Shard not found: {shard_id}")
        return self._open(shard_id)

    def _open(self, shard_id: str) -> IO[bytes]:
        # Implementation-specific logic
        return Path(self._config["endpoint"], shard_id).open("rb")


# Use with Dataset
source = MyCustomSource({"endpoint": os.environ["TEST_FOLDER"]})
dataset = atdata.Dataset[MySample](source)


def load_from_source(source: DataSource) -> None:
    """Works with URLSource, S3Source, or custom implementations."""
    print(f"Shards: {source.shard_list}")

    for shard_id, stream in source.shards():
        print(f"Reading {shard_id}")
        # stream is a file-like object
        stream.close()


load_from_source(source)
assert isinstance(source, DataSource)
for sample in dataset:
    print(f"Sample: {sample.text} {sample.label}")
