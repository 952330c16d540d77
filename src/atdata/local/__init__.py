"""The index of one machine or one team."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atdata.local.entry import LocalDatasetEntry
from atdata.local.index import LocalIndex
from atdata.system.forks import importing

if TYPE_CHECKING:
    from atdata.stores.disk import DiskDataStore
    from atdata.stores.s3 import S3DataStore

__all__ = ["DiskDataStore", "Index", "LocalDatasetEntry", "LocalIndex", "S3DataStore"]

Index = LocalIndex


def __getattr__(name: str) -> Any:
    # On first use: an index without a store needs neither.
    if name == "DiskDataStore":
        with importing():
            from atdata.stores.disk import DiskDataStore

        return DiskDataStore
    if name == "S3DataStore":
        with importing():
            from atdata.stores.s3 import S3DataStore

        return S3DataStore
    raise AttributeError(f"module 'atdata.local' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
