"""Typed machine-learning datasets: from one laptop to a public network.

A sample is a decorated dataclass; many of them are stored in ordinary WebDataset tar shards
and read back typed, one by one or in batches::

    @atdata.packable
    class Digit:
        image: NDArray[np.uint8]
        label: int

    atdata.write_samples(digits, "digits.tar", maxcount=10_000)
    for batch in atdata.Dataset[Digit]("digits-{000000..000005}.tar").shuffled(256):
        train(batch.image, batch.label)

`atdata.local` indexes datasets of one machine or team, `atdata.atmosphere` those of the
AT Protocol network, and `atdata.promote` publishes from the one to the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from atdata._version import __version__
from atdata.system.forks import load_module

if TYPE_CHECKING:
    from atdata import atmosphere, capabilities, errors, local, promote
    from atdata._limits import limits
    from atdata._protocols import (
        AbstractDataStore,
        AbstractIndex,
        DataSource,
        IndexEntry,
        Packable,
        ShardReader,
    )
    from atdata._shardlist import ShardInfo, ShardUrls
    from atdata.dataset.convert import convert_dataset
    from atdata.dataset.dataset import Dataset
    from atdata.dataset.dataset_dict import DatasetDict
    from atdata.dataset.decode.options import Decode
    from atdata.dataset.mix import mix
    from atdata.dataset.reading.state import merge_states
    from atdata.dataset.reading.token_rows import TokenRow
    from atdata.dataset.write import write_columns, write_samples
    from atdata.errors import AtdataError
    from atdata.exchange.arrow import from_arrow
    from atdata.exchange.csv import from_csv
    from atdata.exchange.huggingface import from_hf
    from atdata.exchange.images import from_images
    from atdata.exchange.importer import Importer
    from atdata.exchange.jsonl import from_jsonl
    from atdata.exchange.numpy import from_numpy
    from atdata.exchange.pandas import from_pandas
    from atdata.exchange.parquet import from_parquet
    from atdata.exchange.polars import from_polars
    from atdata.lenses.lens import Lens
    from atdata.lenses.network import LensNetwork, lens
    from atdata.lenses.views import field_view
    from atdata.load import load_dataset
    from atdata.samples.batch import SampleBatch
    from atdata.samples.described import Doc, Shape, Unit
    from atdata.samples.dict_sample import DictSample
    from atdata.samples.kinds import ClassLabel, Json
    from atdata.samples.media import Audio, Image
    from atdata.samples.member import Member
    from atdata.samples.packable import PackableSample, packable
    from atdata.schema.build import build_type
    from atdata.schema.evolve import compare as compare_schemas
    from atdata.schema.model import Field, Schema
    from atdata.schema.reflect import schema_of
    from atdata.sources.s3 import S3Source
    from atdata.sources.s3_access import without_keys
    from atdata.sources.url import URLSource

__all__ = [
    "AbstractDataStore",
    "AbstractIndex",
    "AtdataError",
    "Audio",
    "ClassLabel",
    "DataSource",
    "Dataset",
    "DatasetDict",
    "Decode",
    "DictSample",
    "Doc",
    "Field",
    "Image",
    "Importer",
    "IndexEntry",
    "Json",
    "Lens",
    "LensNetwork",
    "Member",
    "Packable",
    "PackableSample",
    "S3Source",
    "SampleBatch",
    "Schema",
    "Shape",
    "ShardInfo",
    "ShardReader",
    "ShardUrls",
    "TokenRow",
    "URLSource",
    "Unit",
    "__version__",
    "atmosphere",
    "build_type",
    "capabilities",
    "compare_schemas",
    "convert_dataset",
    "errors",
    "field_view",
    "from_arrow",
    "from_csv",
    "from_hf",
    "from_images",
    "from_jsonl",
    "from_numpy",
    "from_pandas",
    "from_parquet",
    "from_polars",
    "lens",
    "limits",
    "load_dataset",
    "local",
    "merge_states",
    "mix",
    "packable",
    "promote",
    "schema_of",
    "without_keys",
    "write_columns",
    "write_samples",
]

_WHERE: Final = {
    "AbstractDataStore": "_protocols",
    "AbstractIndex": "_protocols",
    "AtdataError": "errors",
    "Audio": "samples.media",
    "ClassLabel": "samples.kinds",
    "DataSource": "_protocols",
    "Dataset": "dataset.dataset",
    "DatasetDict": "dataset.dataset_dict",
    "Decode": "dataset.decode.options",
    "DictSample": "samples.dict_sample",
    "Doc": "samples.described",
    "Field": "schema.model",
    "Image": "samples.media",
    "Importer": "exchange.importer",
    "IndexEntry": "_protocols",
    "Json": "samples.kinds",
    "Lens": "lenses.lens",
    "LensNetwork": "lenses.network",
    "Member": "samples.member",
    "Packable": "_protocols",
    "PackableSample": "samples.packable",
    "S3Source": "sources.s3",
    "SampleBatch": "samples.batch",
    "Schema": "schema.model",
    "Shape": "samples.described",
    "ShardInfo": "_shardlist",
    "ShardReader": "_protocols",
    "ShardUrls": "_shardlist",
    "URLSource": "sources.url",
    "Unit": "samples.described",
    "build_type": "schema.build",
    "compare_schemas": "schema.evolve:compare",
    "convert_dataset": "dataset.convert",
    "field_view": "lenses.views",
    "from_arrow": "exchange.arrow",
    "from_csv": "exchange.csv",
    "from_hf": "exchange.huggingface",
    "from_images": "exchange.images",
    "from_jsonl": "exchange.jsonl",
    "from_numpy": "exchange.numpy",
    "from_pandas": "exchange.pandas",
    "from_polars": "exchange.polars",
    "from_parquet": "exchange.parquet",
    "lens": "lenses.network",
    "limits": "_limits",
    "load_dataset": "load",
    "merge_states": "dataset.reading.state",
    "TokenRow": "dataset.reading.token_rows",
    "mix": "dataset.mix",
    "packable": "samples.packable",
    "schema_of": "schema.reflect",
    "without_keys": "sources.s3_access",
    "write_columns": "dataset.write",
    "write_samples": "dataset.write",
}
"""Public name → the module that has it, loaded on first use: a program waits for what it uses."""

_ROOMS: Final = ("atmosphere", "capabilities", "errors", "local", "promote")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return load_module(f"atdata.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'atdata' has no attribute {name!r}")
    module, _, original = _WHERE[name].partition(":")
    value = getattr(load_module(f"atdata.{module}"), original or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
