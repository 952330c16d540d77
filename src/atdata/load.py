"""load_dataset: opens a dataset by path, URL, name or AT URI."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, overload

from atdata._protocols import AbstractIndex
from atdata._refs import NameRef, parse_name_ref, reference
from atdata._registry import slash_missing
from atdata._shardlist import instead_of
from atdata.dataset.dataset import Dataset
from atdata.dataset.dataset_dict import DatasetDict, by_split
from atdata.dataset.recorded_type import check_recorded, recorded_type
from atdata.errors import (
    DatasetNotFoundError,
    ShardNotFoundError,
    UnknownKindError,
)
from atdata.indexing.open_entry import open_entry
from atdata.samples.codec import check_sample_type
from atdata.samples.dict_sample import DictSample
from atdata.sources.capabilities import local_path
from atdata.system.files import user_path
from atdata.system.forks import importing

T = TypeVar("T")

_PATTERN: Final = re.compile(r"[*?\[{]")
_PATH: Final = re.compile(r"[*?\[{/.~]")
"""Characters that are common in paths and rare in names of datasets."""


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
    """Open a dataset by path, URL, name or AT URI.

    Args:
        where: A path, folder or URL (braces and globs are expanded), ``@local/name``,
            ``@handle/name`` or ``at://…``.
        sample_type: Type of the samples; None: the type of the dataset's schema, which for a
            path is in a file that was written with the shards; or `DictSample` if it has none, or
            one with kinds that this version does not know.
        split: Name of a split, to open only that one; None: all splits.
        index: Where to look up names; None: the default local index for ``@local/``, the
            network for all others.

    Returns:
        With ``split`` a Dataset, otherwise a DatasetDict. The split of a shard is the one
        recorded in the dataset's entry or record, else the one in the shard's name, else
        ``train``.

    Raises:
        KeyError: No such dataset or split.
        NoDataUrlsError: There are no shards.
        SchemaConflictError: The shards were written with a type that cannot be read as
            ``sample_type``.
        SchemaError: The file that has their type is damaged.
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
        if sample_type is None:
            dataset = _as_recorded(dataset)
        else:
            check_recorded(dataset.source, sample_type)
    splits = by_split(dataset)
    return splits if split is None else splits[split]


def _as_recorded(dataset: Dataset[Any]) -> Dataset[Any]:
    """The dataset with the type that was recorded next to its shards, if one was."""
    try:
        found = recorded_type(dataset.source)
    except UnknownKindError:
        return dataset
    return dataset if found is None else Dataset.of(found, dataset.source)


def _check_is_place(where: str | Path | Sequence[str | Path]) -> None:
    """Refuse a name without ``@`` that was given with an index."""
    if not isinstance(where, str) or "://" in where or _PATTERN.search(where):
        return
    if not user_path(where).exists():
        raise DatasetNotFoundError(
            f"There is no file or folder {where!r}. A dataset of an index is named with an '@': "
            f"load_dataset('@local/{where}', index=…) for a local index, '@handle/{where}' for "
            "the network."
        )


def _check_files(dataset: Dataset[Any], where: str | Path | Sequence[str | Path]) -> None:
    """Check that local shards exist.

    Raises:
        ShardNotFoundError: Names the first missing one.
    """
    for shard in dataset.shard_list:
        path = local_path(dataset.source, shard)
        if path is None or path.exists():
            continue
        hint = slash_missing(where) or instead_of(path)
        if "%" in path.name:
            hint = " Shards with numbers are named 'data-{000000..000009}.tar' or 'data-*.tar'."
        elif not hint and isinstance(where, str) and not _PATH.search(where):
            hint = (
                f" A dataset of an index is named with an '@': '@local/{where}' for a local index, "
                f"'@handle/{where}' for the network."
            )
        raise ShardNotFoundError(
            f"There is no file or folder {str(path)!r}.{_how_many_exist(dataset)}{hint}"
        )


def _how_many_exist(dataset: Dataset[Any]) -> str:
    """A sentence for an error about the first of several shards that is missing; "" for one."""
    if len(dataset.shard_list) < 2:
        return ""
    paths = [local_path(dataset.source, shard) for shard in dataset.shard_list]
    exist = sum(path is None or path.exists() for path in paths)
    return f" It is the first missing one: {exist:,} of {len(paths):,} shards exist."


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
    # Imported on demand: the network needs packages that a local index does not.
    if name is not None and name.owner == "local":
        with importing():
            from atdata.local import LocalIndex

        return LocalIndex()
    with importing():
        from atdata.atmosphere import AtmosphereClient, AtmosphereIndex

    return AtmosphereIndex(AtmosphereClient())
