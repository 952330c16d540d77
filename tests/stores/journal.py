"""What the journal has, read from its file."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from atdata.stores.journal import journal_path


def sent(place: str) -> list[str]:
    """SHA-256 of every shard that a place has acknowledged, newest last."""
    if not journal_path().exists():
        return []  # killed before anything was noted
    with closing(sqlite3.connect(journal_path())) as database:
        has_table = "SELECT count(*) FROM sqlite_master WHERE name='shards'"
        if not database.execute(has_table).fetchone()[0]:
            return []
        query = "SELECT sha256 FROM shards WHERE place=? AND sure ORDER BY at"
        return [str(row[0]) for row in database.execute(query, (place,))]
