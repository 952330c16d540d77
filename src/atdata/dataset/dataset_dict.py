"""DatasetDict: the splits of a dataset, by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from atdata._shardlist import ShardInfo
from atdata.dataset.dataset import Dataset
from atdata.dataset.named_splits import DEFAULT, splits_of
from atdata.errors import DatasetNotFoundError
from atdata.sources.subset import SubsetSource

T = TypeVar("T")


class DatasetDict(dict[str, Dataset[T]]):
    """Name of a split → its dataset."""

    def __getitem__(self, split: str) -> Dataset[T]:
        try:
            return super().__getitem__(split)
        except KeyError:
            raise DatasetNotFoundError(
                f"There is no split {split!r}. There are: {', '.join(self)}."
            ) from None

    @property
    def num_samples(self) -> dict[str, int]:
        """Name of a split → number of its samples."""
        return {name: len(dataset) for name, dataset in self.items()}

    def __repr__(self) -> str:
        return f"DatasetDict({', '.join(f'{k}: {v!r}' for k, v in self.items())})"


def by_split(dataset: Dataset[T]) -> DatasetDict[T]:
    """Sort the shards of a dataset into splits, as recorded or as their names say."""
    groups: dict[str, list[str]] = {}
    shards = dataset.known_shards()
    for shard, split in zip(shards, splits_of(shards), strict=True):
        groups.setdefault(split or DEFAULT, []).append(shard.url)
    if len(groups) == 1:
        return DatasetDict({next(iter(groups)): dataset})
    known = {shard.url: shard for shard in shards}
    return DatasetDict(
        {
            name: Dataset.of(
                dataset.sample_type, SubsetSource(dataset.source, urls), shards=_of(known, urls)
            )
            for name, urls in groups.items()
        }
    )


def _of(known: dict[str, ShardInfo], urls: Iterable[str]) -> list[ShardInfo]:
    return [known[url] for url in urls]
