"""The suite for index backends, over every registered one."""

from __future__ import annotations

from pathlib import Path

import pytest

from atdata import _registry
from atdata.testing.backends import BackendSuite


class TestSqlite(BackendSuite):
    """An SQLite file."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite://{tmp_path}/folder/index%20of%20mine.db"


class TestPostgres(BackendSuite):
    """A PostgreSQL database."""

    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url


class TestRedis(BackendSuite):
    """A Redis database, under the default prefix."""

    @pytest.fixture
    def url(self, redis_url: str) -> str:
        return redis_url


class TestRedisPrefix(BackendSuite):
    """A Redis database, under a prefix of one's own."""

    @pytest.fixture
    def url(self, redis_url: str) -> str:
        return f"{redis_url}?prefix=team%3Aone%3A"


def test_every_registered_backend_is_held_to_the_suite() -> None:
    """No backend is registered here that this file does not test."""
    tested = {
        _registry.INDEX_BACKENDS.ours[scheme].target for scheme in ("sqlite", "postgresql", "redis")
    }
    assert tested == {provider.target for provider in _registry.INDEX_BACKENDS.ours.values()}
