"""Keep shards in a bucket of your own: on AWS S3, or on any server that speaks its protocol.

The standard variables say where it is and how to get in: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL for a server that is not AWS. Without the first two, a
profile or a role of the machine is used. Needs: pip install 'atdata[s3]'

Usage: python own_bucket.py my-bucket
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

import atdata
from atdata.local import LocalIndex, S3DataStore


class Patch(atdata.PackableSample):
    """A patch of an image and where it was cut out."""

    pixels: NDArray[np.uint8]
    left: int
    top: int


def patches(number: int) -> list[Patch]:
    """Noise, in place of patches of your own."""
    random = np.random.default_rng(0)
    return [
        Patch(random.integers(0, 256, (16, 16), np.uint8), i % 40 * 16, i // 40 * 16)
        for i in range(number)
    ]


def main(bucket: str) -> None:
    """Write to the bucket, read by URL, and let an index copy shards there."""
    store, prefix = S3DataStore.from_url(f"s3://{bucket}/patches")
    local = atdata.write_samples(patches(600), "patches.tar", maxcount=200)
    urls = store.write_shards(local, prefix=prefix or "patches")
    print(f"{len(urls)} shards: {urls[0]} …")

    # Shards stream from the bucket; one sample by its position is one range of bytes.
    dataset = atdata.Dataset[Patch](urls)
    print(f"the mean is {np.mean([batch.pixels.mean() for batch in dataset.ordered(200)]):.1f}")
    print(f"patch 417 was cut at {dataset[417].left}, {dataset[417].top}")

    # For a second pass over the network, keep copies on this machine.
    cached = dataset.cached("cache")
    assert sum(1 for _ in cached) == sum(1 for _ in cached) == 600

    # An index with this store copies whatever is inserted to the bucket first.
    with LocalIndex("index.db", data_store=store) as index:
        entry = index.insert_dataset(local, name="patches")
        print(f"@local/patches is at {entry.data_urls[0]}")


if __name__ == "__main__":
    main(sys.argv[1])
