"""Typed machine-learning datasets: from one laptop to a public network."""

from atdata import errors
from atdata._protocols import AbstractDataStore, AbstractIndex, DataSource, IndexEntry, Packable
from atdata._shardlist import ShardInfo
from atdata.samples.batch import SampleBatch
from atdata.samples.dict_sample import DictSample
from atdata.samples.packable import PackableSample, packable

__all__ = [
    "AbstractDataStore",
    "AbstractIndex",
    "DataSource",
    "DictSample",
    "IndexEntry",
    "Packable",
    "PackableSample",
    "SampleBatch",
    "ShardInfo",
    "errors",
    "packable",
]
