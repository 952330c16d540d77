"""An entry of an index as a dataset."""

from __future__ import annotations

from typing import Any

from atdata._protocols import AbstractIndex, IndexEntry
from atdata.dataset.dataset import Dataset
from atdata.errors import NoDataUrlsError, UnknownKindError
from atdata.samples.dict_sample import DictSample


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
