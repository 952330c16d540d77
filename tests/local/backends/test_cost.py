"""What a lookup costs does not depend on how many entries there are."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from atdata.local.backends.base import Backend, EntryRow, SchemaRow
from atdata.local.backends.postgres import PostgresBackend
from atdata.local.backends.redis import RedisBackend
from atdata.local.backends.sqlite import SqliteBackend

MANY = 1_000
SOME = 100


def fill(backend: Backend, start: int, stop: int) -> None:
    """Add datasets of one revision and, each tenth, of two."""
    for number in range(start, stop):
        name = f"n{number:06d}"
        backend.add_entry(EntryRow(name, 1, f"cid-{number}", "{}"))
        if number % 10 == 0:
            backend.add_entry(EntryRow(name, 2, f"cid-{number}-2", "{}"))
        if number % 50 == 0:
            backend.add_schema(SchemaRow(f"S{number:06d} 1", "{}"))


def look_up(backend: Backend, number: int) -> None:
    """Every kind of lookup and one page of a listing, at a place in the middle."""
    name = f"n{number:06d}"
    assert backend.newest(name) is not None
    assert backend.newest("not there") is None
    assert backend.entry(f"cid-{number}") is not None
    assert len(backend.history(name)) == 2
    assert backend.schema(f"S{number:06d} 1") is not None
    assert len(backend.entries(name, 10)) == 10
    assert len(backend.names(name, 10)) == 10
    assert len(backend.schemas("", None, 1)) == 1


def test_sqlite_searches_by_index(tmp_path: Path) -> None:
    """SQLite answers each lookup by searching an index, and never scans or sorts a table."""
    backend = SqliteBackend(tmp_path / "index.db")
    fill(backend, 0, 200)
    statements: list[str] = []
    connection = sqlite3.connect(tmp_path / "index.db")
    with backend._pool.use() as used:
        used.set_trace_callback(statements.append)
    look_up(backend, 100)
    assert len(statements) == 8
    for statement in statements:
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
        assert "SEARCH" in plan, statement
        assert "USING" in plan, statement
        assert "SCAN" not in plan, statement
        assert "TEMP B-TREE" not in plan, statement
    connection.close()
    backend.close()


def test_postgres_searches_by_index(postgres_url: str) -> None:
    """PostgreSQL answers lookups among 50,000 entries from indexes, and scans no table."""
    import psycopg

    backend = PostgresBackend(postgres_url)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO atdata_entries (name, revision, cid, newest, document) "
            "SELECT 'n' || lpad(n::text, 6, '0'), 1, 'cid-' || n, true, '{}' "
            "FROM generate_series(0, 49999) AS n"
        )
        connection.execute(
            "INSERT INTO atdata_schemas "
            "SELECT 'S' || lpad(n::text, 6, '0') || ' 1', '{}' FROM generate_series(0, 9999) AS n"
        )
        connection.execute("ANALYZE")
    assert backend.add_entry(EntryRow("n002500", 2, "cid-2500-2", "{}"))

    def scans() -> tuple[int, int]:
        with backend._pool.use() as used:
            used.execute("SELECT pg_stat_force_next_flush()")
            rows = used.execute(
                "SELECT sum(seq_scan), sum(idx_scan) FROM pg_stat_user_tables "
                "WHERE relname IN ('atdata_entries', 'atdata_schemas')"
            ).fetchall()
        return int(rows[0][0]), int(rows[0][1])

    of_tables, of_indexes = scans()
    look_up(backend, 2_500)
    tables_after, indexes_after = scans()
    assert tables_after == of_tables
    assert indexes_after >= of_indexes + 8
    backend.close()


def test_redis_does_the_same_with_few_and_many(redis_url: str) -> None:
    """Redis runs the same commands for the same lookups, with 100 entries and with 1,000."""
    import redis

    backend = RedisBackend.open(redis_url)

    def commands() -> dict[str, int]:
        with redis.Redis.from_url(redis_url) as client:
            client.config_resetstat()
            look_up(backend, 50)
            stats: Any = client.info("commandstats")
        ours = {"hget", "lindex", "llen", "lrange", "zrange", "zrangebylex", "evalsha"}
        return {name: stats[f"cmdstat_{name}"]["calls"] for name in ours}

    fill(backend, 0, SOME)
    look_up(backend, 50)
    few = commands()
    fill(backend, SOME, MANY)
    assert commands() == few
    assert few["evalsha"] == 5
    assert few["zrange"] == 1
    backend.close()
