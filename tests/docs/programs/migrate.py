"""The complete example of the protocols: count on any index, migrate from local to the network."""
# ruff: noqa: I001

import os

import atdata
from atdata.local import LocalIndex, S3DataStore  # noqa: F401
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex
from atdata._protocols import AbstractIndex
import numpy as np  # noqa: F401
from numpy.typing import NDArray


# Define sample type
@atdata.packable
class FeatureSample:
    features: NDArray
    label: int


# Function works with any index
def count_datasets(index: AbstractIndex) -> int:
    return sum(1 for _ in index.list_datasets())


# Use with local index
local_index = LocalIndex()
print(f"Local datasets: {count_datasets(local_index)}")

# Use with atmosphere index
client = AtmosphereClient()
client.login(os.environ["TEST_HANDLE"], os.environ["TEST_PASSWORD"])
atm_index = AtmosphereIndex(client)
print(f"Atmosphere datasets: {count_datasets(atm_index)}")


# Migrate from local to atmosphere
def migrate_dataset(
    name: str,
    source: AbstractIndex,
    target: AbstractIndex,
) -> None:
    entry = source.get_dataset(name)
    SampleType = source.decode_schema(entry.schema_ref)  # noqa: N806

    # Publish schema
    schema_ref = target.publish_schema(SampleType)

    # Create dataset and insert
    ds = atdata.Dataset[SampleType](entry.data_urls[0])
    target.insert_dataset(ds, name=name, schema_ref=schema_ref)


migrate_dataset("my-features", local_index, atm_index)
