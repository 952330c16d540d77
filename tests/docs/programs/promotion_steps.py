"""Promotion step by step: basic usage, metadata, schemas found again, data copied, errors."""
# ruff: noqa: I001, E402

import os

from atdata.local import LocalIndex
from atdata.atmosphere import AtmosphereClient
from atdata.promote import promote_to_atmosphere

# Setup
local_index = LocalIndex()
client = AtmosphereClient()
client.login(os.environ["TEST_HANDLE"], os.environ["TEST_PASSWORD"])

# Get local entry
entry = local_index.get_entry_by_name("my-dataset")

# Promote to atmosphere
at_uri = promote_to_atmosphere(entry, local_index, client)
print(f"Published: {at_uri}")

at_uri = promote_to_atmosphere(
    entry,
    local_index,
    client,
    name="my-dataset-v2",  # Override name
    description="Training images",  # Add description
    tags=["images", "training"],  # Add discovery tags
    license="MIT",  # Specify license
)
print(f"With metadata: {at_uri}")

entry1 = local_index.get_entry_by_name("my-dataset")
entry2 = local_index.get_entry_by_name("my-other-dataset")

# First promotion: publishes schema
uri1 = promote_to_atmosphere(entry1, local_index, client)
# Second promotion with same schema type + version: reuses existing schema
uri2 = promote_to_atmosphere(entry2, local_index, client)
print(f"Schemas reused: {uri1} {uri2}")

# Data stays in original S3 location
at_uri = promote_to_atmosphere(entry, local_index, client)

from atdata.local import S3DataStore

# Create new data store
new_store = S3DataStore(
    credentials="new-s3-creds.env",
    bucket=os.environ["TEST_S3_BUCKET"],
)

# Promote with data copy
at_uri = promote_to_atmosphere(
    entry,
    local_index,
    client,
    data_store=new_store,  # Copy data to new storage
)
print(f"Copied: {at_uri}")

try:
    at_uri = promote_to_atmosphere(entry, local_index, client)
except KeyError as e:
    # Schema not found in local index
    print(f"Missing schema: {e}")
except ValueError as e:
    # Entry has no data URLs
    print(f"Invalid entry: {e}")
