"""Every dataset of one index copied to another: Redis to SQLite, SQLite to the network."""
# ruff: noqa: I001

import os

from atdata._protocols import AbstractIndex, IndexEntry  # noqa: F401
from atdata import Dataset


def backup_all_datasets(
    source: AbstractIndex,
    target: AbstractIndex,
) -> None:
    """Copy all datasets from source index to target."""
    for entry in source.list_datasets():
        # Decode schema from source
        SampleType = source.decode_schema(entry.schema_ref)  # noqa: N806

        # Publish schema to target
        target_schema = target.publish_schema(SampleType)

        # Load and re-insert dataset
        ds = Dataset[SampleType](entry.data_urls[0])
        target.insert_dataset(
            ds,
            name=entry.name,
            schema_ref=target_schema,
        )


if __name__ == "__main__":
    from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
    from atdata.local import DiskDataStore, LocalIndex

    redis_index = LocalIndex()
    sqlite_index = LocalIndex("backup.db", data_store=DiskDataStore("backup"))
    backup_all_datasets(redis_index, sqlite_index)

    client = AtmosphereClient()
    client.login(os.environ["TEST_HANDLE"], os.environ["TEST_PASSWORD"])
    backup_all_datasets(sqlite_index, AtmosphereIndex(client, data_store=PDSBlobStore(client)))
