"""load_dataset: from a path, a URL, a name or an AT URI to a Dataset, or one a split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, overload

from atdata._folders import user_path
from atdata._protocols import AbstractIndex, IndexEntry
from atdata._refs import NameRef, parse_name_ref, reference
from atdata._registry import slash_missing
from atdata._shardlist import ShardInfo
from atdata.dataset.dataset import Dataset
from atdata.dataset.named_splits import DEFAULT, splits_of
from atdata.errors import (
    DatasetNotFoundError,
    NoDataUrlsError,
    ShardNotFoundError,
    UnknownKindError,
)
from atdata.samples.codec import check_sample_type
from atdata.samples.dict_sample import DictSample
from atdata.sources.offers import local_path
from atdata.sources.subset import SubsetSource

T = TypeVar("T")

_PATTERN: Final = re.compile(r"[*?\[{]")
_PATH: Final = re.compile(r"[*?\[{/.~]")
"""What a path has, and the name of a dataset seldom."""


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


@overload
def load_dataset(
    where: str | Path | Sequence[str | Path],
    sample_type: type[T],
    *,
    split: str,
    index: AbstractIndex | None = ...,
) -> Dataset[T]: ...
@overload
def load_dataset(
    where: str | Path | Sequence[str | Path],
    sample_type: type[T],
    *,
    split: None = ...,
    index: AbstractIndex | None = ...,
) -> DatasetDict[T]: ...
@overload
def load_dataset(
    where: str | Path | Sequence[str | Path],
    sample_type: None = ...,
    *,
    split: str,
    index: AbstractIndex | None = ...,
) -> Dataset[Any]: ...
@overload
def load_dataset(
    where: str | Path | Sequence[str | Path],
    sample_type: None = ...,
    *,
    split: None = ...,
    index: AbstractIndex | None = ...,
) -> DatasetDict[Any]: ...
def load_dataset(
    where: str | Path | Sequence[str | Path],
    sample_type: type[Any] | None = None,
    *,
    split: str | None = None,
    index: AbstractIndex | None = None,
) -> Dataset[Any] | DatasetDict[Any]:
    """Open a dataset wherever it is.

    Args:
        where: A path, folder or URL (braces and globs are expanded), ``@local/name``,
            ``@handle/name`` or ``at://…``.
        sample_type: Type of the samples; None: the type of the dataset's schema, or
            `DictSample` where there is none or it has kinds that this version does not know.
        split: Name of a split: that dataset alone; None: all of them.
        index: Where names are looked up; None: the default local index for ``@local/``, the
            network for the others.

    Returns:
        With ``split``, a Dataset. Without, a DatasetDict. The splits are those that the
        dataset's entry or record says of its shards, else what their names say; shards of which
        neither says one are ``train``.

    Raises:
        KeyError: No such dataset or split.
        NoDataUrlsError: No shard was found there.
    """
    if sample_type is not None:
        check_sample_type(sample_type)
    if isinstance(where, str):
        where = reference(where)
    if isinstance(where, str) and where.startswith(("@", "at://")):
        dataset = _from_index(where, sample_type, index)
    else:
        if index is not None:
            _check_is_place(where)
        dataset = Dataset.of(sample_type or DictSample, where)
        _check_files(dataset, where)
    splits = split_of(dataset)
    return splits if split is None else splits[split]


def _check_is_place(where: str | Path | Sequence[str | Path]) -> None:
    """Refuse the bare name of a dataset, given with an index."""
    if not isinstance(where, str) or "://" in where or _PATTERN.search(where):
        return
    if not user_path(where).exists():
        raise DatasetNotFoundError(
            f"There is no file or folder {where!r}. A dataset of an index is named with an '@': "
            f"load_dataset('@local/{where}', index=…) for a local index, '@handle/{where}' for "
            "the network."
        )


def _check_files(dataset: Dataset[Any], where: str | Path | Sequence[str | Path]) -> None:
    """Refuse shards that are files of this machine and are not there.

    Raises:
        ShardNotFoundError: Names the first one.
    """
    for shard in dataset.shard_list:
        path = local_path(dataset.source, shard)
        if path is None or path.exists():
            continue
        hint = slash_missing(where)
        if "%" in path.name:
            hint = " Shards with numbers are named 'data-{000000..000009}.tar' or 'data-*.tar'."
        elif not hint and isinstance(where, str) and not _PATH.search(where):
            hint = (
                f" A dataset of an index is named with an '@': '@local/{where}' for a local index, "
                f"'@handle/{where}' for the network."
            )
        raise ShardNotFoundError(f"There is no file or folder {str(path)!r}.{hint}")


def _from_index(
    where: str, sample_type: type[Any] | None, index: AbstractIndex | None
) -> Dataset[Any]:
    if where.startswith("at://") and "/blob/" in where:
        return Dataset.of(sample_type or DictSample, where)
    name = parse_name_ref(where) if where.startswith("@") else None
    index = index or _index_for(name)
    if name is not None and name.owner == "local" and name.version is None:
        entry = index.get_dataset(name.name)
    else:
        entry = index.get_dataset(where)
    return open_entry(entry, index, sample_type)


def _index_for(name: NameRef | None) -> AbstractIndex:
    # The one place where the data path reaches up to the indexes, and only when asked to.
    if name is not None and name.owner == "local":
        from atdata.local import LocalIndex

        return LocalIndex()
    from atdata.atmosphere import AtmosphereClient, AtmosphereIndex

    return AtmosphereIndex(AtmosphereClient())


def open_entry(
    entry: IndexEntry, index: AbstractIndex, sample_type: type[Any] | None = None
) -> Dataset[Any]:
    """The dataset that an entry describes, typed by its schema unless a type is given."""
    if not entry.data_urls:
        raise NoDataUrlsError(f"The dataset {entry.name!r} names no shard.")
    if sample_type is None:
        try:
            sample_type = index.decode_schema(entry.schema_ref)
        except UnknownKindError:
            sample_type = DictSample
    return Dataset.of(sample_type, entry)


def split_of(dataset: Dataset[T]) -> DatasetDict[T]:
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
