"""The complete promotion workflow: Redis, S3, the network."""
# ruff: noqa: I001, E402

import os

import numpy as np
from numpy.typing import NDArray
import atdata
from atdata.local import LocalIndex, S3DataStore
from atdata.atmosphere import AtmosphereClient
from atdata.promote import promote_to_atmosphere
import webdataset as wds


# 1. Define sample type
@atdata.packable
class FeatureSample:
    features: NDArray
    label: int


# 2. Create local dataset
samples = [
    FeatureSample(
        features=np.random.randn(128).astype(np.float32),
        label=i % 10,
    )
    for i in range(1000)
]

with wds.writer.TarWriter("features.tar") as sink:
    for i, s in enumerate(samples):
        sink.write({**s.as_wds, "__key__": f"{i:06d}"})

# 3. Set up index with S3 data store
store = S3DataStore(
    credentials={
        "AWS_ENDPOINT": os.environ["TEST_S3_ENDPOINT"],
        "AWS_ACCESS_KEY_ID": os.environ["TEST_S3_KEY"],
        "AWS_SECRET_ACCESS_KEY": os.environ["TEST_S3_SECRET"],
    },
    bucket=os.environ["TEST_S3_BUCKET"],
)
local_index = LocalIndex(data_store=store)

# 4. Publish schema and insert dataset
local_index.publish_schema(FeatureSample, version="1.0.0")
dataset = atdata.Dataset[FeatureSample]("features.tar")
local_entry = local_index.insert_dataset(dataset, name="feature-vectors-v1", prefix="features")

# 5. Promote to atmosphere
client = AtmosphereClient()
client.login(os.environ["TEST_HANDLE"], os.environ["TEST_PASSWORD"])

at_uri = promote_to_atmosphere(
    local_entry,
    local_index,
    client,
    description="Feature vectors for classification",
    tags=["features", "embeddings"],
    license="MIT",
)
print(f"Dataset published: {at_uri}")

# 6. Verify on atmosphere
from atdata.atmosphere import AtmosphereIndex

atm_index = AtmosphereIndex(client)
entry = atm_index.get_dataset(at_uri)
print(f"Name: {entry.name}")
print(f"Schema: {entry.schema_ref}")
print(f"URLs: {entry.data_urls}")
