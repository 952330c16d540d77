"""Datasets of the library `datasets`, of Hugging Face."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

from atdata._registry import require
from atdata.dataset.dataset import Dataset
from atdata.errors import OptionError
from atdata.exchange.arrow import to_arrow
from atdata.exchange.arrow_import import ArrowSource, Columns, importer_of, rows_of
from atdata.exchange.importer import Importer
from atdata.exchange.infer import Nulls, survey

T = TypeVar("T")
_FIRST: Final = 16
"""Rows whose size decides how many are read together."""


def to_hf(dataset: Dataset[Any]) -> Any:
    """All samples as a `datasets.Dataset`; see `Dataset.to_hf`."""
    library = require("datasets", purpose="datasets of Hugging Face")
    return library.Dataset(library.table.InMemoryTable(to_arrow(dataset)))


def from_hf(
    dataset: Any,
    sample_type: type[T] | None = None,
    *,
    columns: Columns = None,
    name: str = "Row",
) -> Importer[Any]:
    """The rows of a `datasets.Dataset` as samples: one split, loaded or streamed.

    Pictures and sounds stay encoded: bytes are copied, and files that the dataset names are read
    by the library. Class labels keep their names, arrays their shapes.

    Args:
        dataset: The dataset.
        sample_type: As for `from_arrow`.
        columns: As for `from_arrow`.
        name: Name for the type that is made.

    Raises:
        OptionError: It is no dataset, has several splits, or does not know its features.
        SchemaError: A column of a type that no field can have; names it.
    """
    library = require("datasets", purpose="datasets of Hugging Face")
    if isinstance(dataset, library.DatasetDict | library.IterableDatasetDict):
        splits = list(map(repr, dataset))
        raise OptionError(
            f"Expected one split, found a dict of splits: {', '.join(splits)}. Pass one of them, "
            f"such as dataset[{splits[0] if splits else '…'}]."
        )
    if not isinstance(dataset, library.Dataset | library.IterableDataset):
        raise OptionError(
            f"Expected a datasets.Dataset, found {type(dataset).__name__}. load_dataset of that "
            "library gives one."
        )
    features = dataset.features
    if features is None:
        raise OptionError(
            "This streamed dataset does not know its features before it is read. Pass "
            "dataset.cast(features), or dataset._resolve_features()."
        )
    said = {"info": {"features": features.to_dict()}}
    schema = features.arrow_schema.with_metadata({"huggingface": json.dumps(said)})
    media = {each for each, kind in features.items() if type(kind).__name__ in ("Image", "Audio")}

    def tables(names: list[str], size: int) -> Iterator[Any]:
        return iter(dataset.select_columns(names).with_format("arrow").iter(size))

    def batches(names: list[str]) -> Iterator[Any]:
        first = next(tables(names, _FIRST), None)
        if first is None:
            return
        size = rows_of(first.nbytes / max(1, len(first)))
        for table in tables(names, size):
            if media & set(names):
                wanted = library.Features({each: features[each] for each in names})
                found = table.replace_schema_metadata(None).cast(wanted.arrow_schema)
                table = library.table.embed_table_storage(found)
            yield from table.combine_chunks().to_batches()

    count = len(dataset) if isinstance(dataset, library.Dataset) else None

    def nulls(names: list[str]) -> Mapping[str, Nulls]:
        plain = [each for each in names if each not in media]
        found = survey(plain, tables(plain, 1000)) if plain else {}
        for each in media & set(names):
            # Of a stream all media would be downloaded for it.
            found[each] = Nulls(0 if count is None else _absent(tables([each], 1000), each))
        return {each: found[each] for each in names}

    source = ArrowSource(schema, batches, nulls, "a dataset of Hugging Face", name, count)
    return importer_of(source, sample_type, columns)


def _absent(tables: Iterator[Any], name: str) -> int:
    return sum(table[name].null_count for table in tables)
