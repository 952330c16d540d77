"""Keep your team's datasets in one database, and find them again.

Usage: python team_index.py postgresql://user:password@host/datasets
       python team_index.py redis://host:6379/0
       python team_index.py                        # an SQLite file, index.db
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

import atdata
from atdata.local import DiskDataStore, LocalIndex


class Tile(atdata.PackableSample):
    """A square of a satellite image."""

    pixels: NDArray[np.uint8]
    cloud_cover: float


def tiles(number: int, brightness: int) -> list[Tile]:
    """Plain squares, in place of images of your own."""
    square = np.full((32, 32, 3), brightness, np.uint8)
    return [Tile(square, i / number) for i in range(number)]


def main(url: str) -> None:
    """Insert two datasets, change one, search, and load what was found."""
    # Shards are copied to the store first: a folder that the team shares, or an S3DataStore.
    with LocalIndex(url, data_store=DiskDataStore("store")) as index:
        summer = atdata.write_samples(tiles(200, 90), "summer.tar")
        index.insert_dataset(summer, name="tiles-summer", tags=["satellite"], license="CC0-1.0")
        winter = atdata.write_samples(tiles(100, 230), "winter.tar")
        first = index.insert_dataset(winter, name="tiles-winter", tags=["satellite", "snow"])

        # The same name with other data is the next revision. A label keeps one for good.
        index.label("tiles-winter", "1.0.0", first)
        more = atdata.write_samples(tiles(150, 230), "more.tar")
        second = index.insert_dataset(more, name="tiles-winter")
        print(f"tiles-winter is at revision {second.revision}")

        for entry in index.search("tiles", tags=["satellite"]):
            print(f"{entry.name}: {entry.schema_ref}, tags {', '.join(entry.tags)}")

        for name in ("@local/tiles-winter", "@local/tiles-winter@1.0.0"):
            dataset = atdata.load_dataset(name, Tile, split="train", index=index)
            clear = sum(tile.cloud_cover < 0.1 for tile in dataset)
            print(f"{name} has {len(dataset)} tiles, {clear} of them clear")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "index.db")
