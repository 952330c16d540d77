"""The index of one machine or one team."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from atdata.local.entry import LocalDatasetEntry
from atdata.local.index import LocalIndex
from atdata.system.forks import load_module

if TYPE_CHECKING:
    from atdata.stores.disk import DiskDataStore
    from atdata.stores.s3 import S3DataStore

__all__ = ["DiskDataStore", "Index", "LocalDatasetEntry", "LocalIndex", "S3DataStore"]

Index = LocalIndex


# Loaded on first use: an index without a store needs neither.
_WHERE: Final = {"DiskDataStore": "atdata.stores.disk", "S3DataStore": "atdata.stores.s3"}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'atdata.local' has no attribute {name!r}")
    return getattr(load_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
