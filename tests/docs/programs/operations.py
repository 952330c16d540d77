"""The operations of each protocol, one after the other."""
# ruff: noqa: I001, E402

import os

import atdata
from atdata.local import LocalIndex, S3DataStore
from atdata import S3Source, URLSource


@atdata.packable
class MySample:
    text: str
    label: int


store = S3DataStore(
    credentials={
        "AWS_ENDPOINT": os.environ["TEST_S3_ENDPOINT"],
        "AWS_ACCESS_KEY_ID": os.environ["TEST_S3_KEY"],
        "AWS_SECRET_ACCESS_KEY": os.environ["TEST_S3_SECRET"],
    },
    bucket=os.environ["TEST_S3_BUCKET"],
)
index = LocalIndex(data_store=store)
samples = [MySample(text=f"sample {i}", label=i) for i in range(20)]
dataset = atdata.write_samples(samples, "data.tar", maxcount=10)

from atdata._protocols import IndexEntry


def process_entry(entry: IndexEntry) -> None:
    print(f"Name: {entry.name}")
    print(f"Schema: {entry.schema_ref}")
    print(f"URLs: {entry.data_urls}")
    print(f"Metadata: {entry.metadata}")


from atdata._protocols import AbstractIndex


def list_all_datasets(index: AbstractIndex) -> None:
    """Works with LocalIndex or AtmosphereIndex."""
    for entry in index.list_datasets():
        print(f"{entry.name}: {entry.schema_ref}")


# Publish a schema
schema_ref = index.publish_schema(
    MySample,
    version="1.0.0",
)

# Insert a dataset
entry = index.insert_dataset(
    dataset,
    name="my-dataset",
    schema_ref="local://schemas/MySample@1.0.0",  # optional
)

# Get by name/reference
entry = index.get_dataset("my-dataset")

# List all datasets
for entry in index.list_datasets():
    print(entry.name)

# Get schema record
schema = index.get_schema(schema_ref)
print(schema["name"], schema["version"])

# List all schemas
for schema in index.list_schemas():
    print(f"{schema['name']}@{schema['version']}")

# Decode schema to Python type
SampleType = index.decode_schema(schema_ref)
dataset = atdata.Dataset[SampleType](entry.data_urls[0])
process_entry(entry)
list_all_datasets(index)
assert [sample.label for sample in dataset] == list(range(20))

from atdata._protocols import AbstractDataStore


def write_dataset(store: AbstractDataStore, dataset) -> list[str]:
    """Works with S3DataStore or future PDS blob store."""
    urls = store.write_shards(dataset, prefix="datasets/v1")
    return urls


print(write_dataset(store, dataset))

# Write dataset shards
urls = store.write_shards(
    dataset,
    prefix="datasets/mnist/v1",
    maxcount=10000,  # samples per shard
)

# Resolve URL for reading
readable_url = store.read_url(urls[0])

# Check streaming support
if store.supports_streaming():
    # Can stream directly
    pass

from atdata._protocols import DataSource


def process_shard(stream) -> None:
    print(f"{len(stream.read())} bytes")


def load_from_source(source: DataSource) -> None:
    """Works with URLSource, S3Source, or custom implementations."""
    print(f"Shards: {source.shard_list}")

    for shard_id, stream in source.shards():
        print(f"Reading {shard_id}")
        # stream is a file-like object
        process_shard(stream)


load_from_source(URLSource("data-{000000..000001}.tar"))
load_from_source(URLSource(urls))
s3_source = S3Source.from_urls(
    urls,
    endpoint=os.environ["TEST_S3_ENDPOINT"],
    access_key=os.environ["TEST_S3_KEY"],
    secret_key=os.environ["TEST_S3_SECRET"],
)
load_from_source(s3_source)

from atdata._protocols import IndexEntry, AbstractIndex

# Check if object implements protocol
entry = index.get_dataset("my-dataset")
assert isinstance(entry, IndexEntry)
assert isinstance(index, AbstractIndex)
assert isinstance(store, AbstractDataStore)
assert isinstance(s3_source, DataSource)
