"""Which shards a server has acknowledged as blobs, so that a broken run need not send them again.

An uploaded blob cannot be asked for until a record references it: only we can remember it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from atdata._folders import data_folder

_KEPT_FOR: Final = 6 * 3600
"""Seconds for which a blob that no record references is trusted to be there still."""


def journal_path() -> Path:
    """The journal's file."""
    return data_folder() / "uploads.db"


class Journal:
    """Blobs that were sent, by server, account and SHA-256. Safe between processes.

    It only saves work: where it cannot be read or written, nothing is remembered.
    """

    def __init__(self) -> None:
        self._path = journal_path()

    def has(self, server: str, did: str, sha256: str) -> bool:
        """Whether the server lately took this blob."""
        query = "SELECT 1 FROM sent WHERE server=? AND did=? AND sha256=? AND at>?"
        values = (server, did, sha256, time.time() - _KEPT_FOR)
        try:
            with self._open() as database:
                return database.execute(query, values).fetchone() is not None
        except (sqlite3.Error, OSError):
            return False

    def add(self, server: str, did: str, sha256: str) -> None:
        """Remember a blob that the server has acknowledged."""
        self._write("INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?)", server, did, sha256)

    def forget(self, server: str, did: str) -> None:
        """Forget what an account has sent to a server."""
        self._write("DELETE FROM sent WHERE server=? AND did=? AND at<=?", server, did)

    def _write(self, statement: str, *values: str) -> None:
        try:
            with self._open() as database, database:
                database.execute(statement, (*values, time.time()))
        except (sqlite3.Error, OSError):
            return

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=10)) as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS sent (server TEXT, did TEXT, sha256 TEXT, at REAL, "
                "PRIMARY KEY (server, did, sha256)) WITHOUT ROWID"
            )
            yield database
