"""Which shards a store has acknowledged, so that a broken run need not send them again.

An uploaded blob cannot be asked for until a record references it: only we can remember it. Of
buckets and folders it is a record of what went where, under which hash.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from atdata._folders import data_folder
from atdata._shardlist import ShardInfo

_KEPT_FOR: Final = 6 * 3600
"""Seconds for which a blob that no record references is trusted to be there still."""


def journal_path() -> Path:
    """The journal's file, in the user's data folder."""
    return data_folder() / "sent.db"


class Journal:
    """Shards that were sent, by place and SHA-256. Safe between processes and threads.

    An entry outlives a process that is killed once `add` has returned. It only saves work: where
    it cannot be read or written, nothing is remembered.
    """

    def __init__(self) -> None:
        self._path = journal_path()

    def has(self, place: str, sha256: str) -> bool:
        """Whether this place lately took a shard with this hash."""
        query = "SELECT 1 FROM sent WHERE place=? AND sha256=? AND at>?"
        return bool(self._rows(query, place, sha256, time.time() - _KEPT_FOR))

    def sent(self, place: str) -> list[ShardInfo]:
        """Every shard that a place has acknowledged, the newest last."""
        query = "SELECT url, samples, bytes, sha256 FROM sent WHERE place=? ORDER BY at"
        return [ShardInfo(*row) for row in self._rows(query, place)]

    def add(self, place: str, shard: ShardInfo) -> None:
        """Remember a shard that a place has acknowledged, under its URL there."""
        values = (place, shard.sha256, shard.url, shard.samples, shard.bytes, time.time())
        self._write("INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?, ?, ?)", *values)

    def forget(self, place: str) -> None:
        """Forget what a place has acknowledged."""
        self._write("DELETE FROM sent WHERE place=?", place)

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            with self._open() as database:
                return database.execute(query, values).fetchall()
        except (sqlite3.Error, OSError):
            return []

    def _write(self, statement: str, *values: object) -> None:
        try:
            with self._open() as database, database:
                database.execute(statement, values)
        except (sqlite3.Error, OSError):
            return

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=10)) as database:
            # A commit is then one write, without waiting for the disk: what a process that is
            # killed has not noted by then, it sends again.
            with suppress(sqlite3.OperationalError):
                # Fails at once where others are at it; one of them succeeds, for good.
                database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS sent (place TEXT, sha256 TEXT, url TEXT, "
                "samples INTEGER, bytes INTEGER, at REAL, PRIMARY KEY (place, sha256, url)) "
                "WITHOUT ROWID"
            )
            yield database
