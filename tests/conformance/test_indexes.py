"""The suite for indexes: the local one on every backend, without and with a data store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atdata.local import LocalIndex
from atdata.testing.indexes import IndexSuite


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
