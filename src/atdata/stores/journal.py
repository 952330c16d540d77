"""The journal of an upload: which shards arrived, so that a rerun skips them.

An AT Protocol server does not list a blob until a record references it, so the journal records
what was sent, and what was about to be. For buckets and folders it records which shard, by its
hash, went where.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from atdata._shardlist import ShardInfo
from atdata.system.durable import make_folders
from atdata.system.folders import data_folder

_TRUSTED_SECONDS: Final = 6 * 3600
"""How long a blob that no record references is expected to stay on its server."""
_COLUMNS: Final = "url, samples, bytes, sha256, mime"
_MARKS: Final = "?, ?, ?, ?, ?, ?, ?, ?"


def journal_path() -> Path:
    """The journal's file, in the user's data folder."""
    return data_folder() / "sent.db"


class Journal:
    """Shards that were sent, by place and SHA-256. Safe between processes and threads.

    Once `add` has returned, an entry survives a killed process. The journal only saves work: if
    its file cannot be read or written, nothing is recorded.
    """

    def __init__(self) -> None:
        self._path = journal_path()

    def find(self, place: str, sha256: str) -> ShardInfo | None:
        """The shard with this hash, if this place acknowledged it within the last six hours."""
        return self._one("sure AND at>?", place, sha256)

    def doubtful(self, place: str, sha256: str) -> ShardInfo | None:
        """The shard with this hash, if this place may have it: sending began, or was long ago."""
        return self._one("NOT (sure AND at>?)", place, sha256)

    def forget(self, place: str, hashes: Iterable[str]) -> None:
        """Forget shards that a place has dropped."""
        statement = "DELETE FROM shards WHERE place=? AND sha256=?"
        self._write(statement, [(place, sha256) for sha256 in hashes])

    def _one(self, condition: str, place: str, sha256: str) -> ShardInfo | None:
        query = f"SELECT {_COLUMNS} FROM shards WHERE place=? AND sha256=? AND {condition}"
        values = (place, sha256, time.time() - _TRUSTED_SECONDS)
        try:
            with self._open() as database:
                rows = database.execute(query, values).fetchall()
        except (sqlite3.Error, OSError):
            return None
        return ShardInfo(*rows[-1]) if rows else None

    def add(self, place: str, shard: ShardInfo) -> None:
        """Record a shard that a place has acknowledged, with its URL there."""
        self._note(place, [shard], sure=True)

    def doubt(self, place: str, shards: Sequence[ShardInfo]) -> None:
        """Record that a place may or may not have these: before sending, or when it lost one.

        Shards without a hash are skipped.
        """
        self._note(place, shards, sure=False)

    def _note(self, place: str, shards: Sequence[ShardInfo], *, sure: bool) -> None:
        rows = [
            (place, sure, time.time(), str(s.url), s.samples, s.bytes, s.sha256, s.mime)
            for s in shards
            if s.sha256 is not None
        ]
        into = f"INSERT OR REPLACE INTO shards (place, sure, at, {_COLUMNS}) VALUES ({_MARKS})"
        self._write(into, rows)

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        try:
            with self._open() as database, database:
                database.executemany(statement, rows)
        except (sqlite3.Error, OSError):
            return

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if not self._path.parent.is_dir():
            make_folders(self._path.parent)
        with closing(sqlite3.connect(self._path, timeout=10)) as database:
            # A commit is then one write that does not wait for the disk. What a killed process did
            # not record, the next run sends again.
            with suppress(sqlite3.OperationalError):
                # Fails at once while another process does it; one succeeds, for good.
                database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS shards (place TEXT, sha256 TEXT, url TEXT, "
                "samples INTEGER, bytes INTEGER, mime TEXT, at REAL, sure INTEGER, "
                "PRIMARY KEY (place, sha256, url)) WITHOUT ROWID"
            )
            yield database
