"""The suite for indexes: the local one on every backend, without and with a data store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atdata.local import DiskDataStore, LocalIndex, S3DataStore
from atdata.testing.indexes import IndexSuite
from tests.services.s3 import S3Server


class TestSqlite(IndexSuite):
    """LocalIndex in a file."""

    @pytest.fixture
    def index(self, tmp_path: Path) -> Iterator[LocalIndex]:
        with LocalIndex(tmp_path / "index.db") as index:
            yield index


class TestPostgres(IndexSuite):
    """LocalIndex in PostgreSQL."""

    @pytest.fixture
    def index(self, postgres_url: str) -> Iterator[LocalIndex]:
        with LocalIndex(postgres_url) as index:
            yield index


class TestRedis(IndexSuite):
    """LocalIndex in Redis."""

    @pytest.fixture
    def index(self, redis_url: str) -> Iterator[LocalIndex]:
        with LocalIndex(redis_url) as index:
            yield index


class TestWithDiskStore(IndexSuite):
    """LocalIndex that copies every dataset to a folder."""

    @pytest.fixture
    def index(self, tmp_path: Path) -> Iterator[LocalIndex]:
        store = DiskDataStore(tmp_path / "store")
        with LocalIndex(tmp_path / "index.db", data_store=store) as index:
            yield index


class TestWithS3Store(IndexSuite):
    """LocalIndex that copies every dataset to S3."""

    @pytest.fixture
    def index(self, tmp_path: Path, s3_server: S3Server, s3_bucket: str) -> Iterator[LocalIndex]:
        store = S3DataStore(s3_server.credentials(), bucket=s3_bucket)
        with LocalIndex(tmp_path / "index.db", data_store=store) as index:
            yield index
