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
_COLUMNS: Final = "url, samples, bytes, sha256, mime"
_MARKS: Final = "?, ?, ?, ?, ?"
"""What is kept of a `ShardInfo`."""


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

    def find(self, place: str, sha256: str) -> ShardInfo | None:
        """The shard with this hash, if this place took it lately."""
        query = f"SELECT {_COLUMNS} FROM taken WHERE place=? AND sha256=? AND at>? ORDER BY at"
        rows = self._rows(query, place, sha256, time.time() - _KEPT_FOR)
        return ShardInfo(*rows[-1]) if rows else None

    def sent(self, place: str) -> list[ShardInfo]:
        """Every shard that a place has acknowledged, the newest last."""
        query = f"SELECT {_COLUMNS} FROM taken WHERE place=? ORDER BY at"
        return [ShardInfo(*row) for row in self._rows(query, place)]

    def add(self, place: str, shard: ShardInfo) -> None:
        """Remember a shard that a place has acknowledged, as it is there."""
        said = (shard.url, shard.samples, shard.bytes, shard.sha256, shard.mime)
        statement = f"INSERT OR REPLACE INTO taken (place, at, {_COLUMNS}) VALUES (?, ?, {_MARKS})"
        self._write(statement, place, time.time(), *said)

    def forget(self, place: str) -> None:
        """Forget what a place has acknowledged."""
        self._write("DELETE FROM taken WHERE place=?", place)

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
                "CREATE TABLE IF NOT EXISTS taken (place TEXT, sha256 TEXT, url TEXT, "
                "samples INTEGER, bytes INTEGER, mime TEXT, at REAL, "
                "PRIMARY KEY (place, sha256, url)) WITHOUT ROWID"
            )
            yield database
