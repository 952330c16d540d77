"""An index in an SQLite file: ``sqlite:///absolute/path``."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from atdata._limits import limits
from atdata.errors import BackendError, UrlError
from atdata.local.backends._pool import ConnectionPool
from atdata.local.backends._sql import Query, SqlBackend, entry_row
from atdata.local.backends.base import FORMAT, EntryRow, too_new
from atdata.system.durable import make_folders
from atdata.system.files import path_in_url, user_path
from atdata.system.mounts import network_file_system

T = TypeVar("T")

APPLICATION_ID: Final = 0x61746461
"""In the file's header: 'atda'. https://www.sqlite.org/pragma.html#pragma_application_id"""
BUSY_SECONDS: Final = 60.0
"""How long a writer waits for the others."""
_MAX_RESTARTS: Final = 50
"""How often reading restarts because a read-only file has changed in the meantime."""

_TABLES: Final = (
    "CREATE TABLE schemas (key TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        revision INTEGER NOT NULL,
        cid TEXT NOT NULL,
        newest INTEGER NOT NULL,
        document TEXT NOT NULL,
        UNIQUE (name, revision))""",
    "CREATE UNIQUE INDEX entries_newest ON entries (name) WHERE newest",
    "CREATE INDEX entries_cid ON entries (cid, id)",
)
_NOTES: Final = "CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
_FROM: Final = {
    0: (*_TABLES, _NOTES, "ALTER TABLE entries ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0"),
    1: (_NOTES, "ALTER TABLE entries ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0"),
    2: ("UPDATE entries SET indexed = 0 WHERE indexed", "DROP TABLE found_by"),
}
"""What each older version lacks, or has in another way; 0: an empty file."""
_SEARCH_TABLES: Final = (
    "CREATE INDEX IF NOT EXISTS entries_unindexed ON entries (id) WHERE newest AND NOT indexed",
    "CREATE TABLE found_by (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
)
"""What version 3 adds."""


class SqliteBackend(SqlBackend):
    """An index in one file. Several processes may use it, on one machine.

    A new file has a write-ahead log, which needs memory that its users share. One on a file system
    across a network has a rollback journal instead, and one that has a log gets a journal when it
    is opened there; how safe it is from several machines depends on the locks of that file system.

    Args:
        path: The file; it and the folders above it are made when they do not exist. Where it may
            only be read, it can be.
    """

    prefix = ""
    with_terms = "indexed"
    without_terms = "NOT indexed"
    # Few different statements, which stay prepared: 250 pages at once take 15 % longer.
    pages_at_once = 8

    def __init__(self, path: Path) -> None:
        self.path = user_path(path).absolute()
        self.address = self.path.as_uri().replace("file:", "sqlite:", 1)
        self._pool = ConnectionPool(self._connect, usable=lambda _: self._may_write())
        with self._errors():
            if not self.path.parent.is_dir():
                make_folders(self.path.parent)
            with self._pool.use() as connection:
                self._set_up(connection)

    @classmethod
    def open(cls, url: str) -> SqliteBackend:
        """Open what `path_in` gives."""
        return cls(path_in(url))

    def _connect(self) -> sqlite3.Connection:
        name = self.path.as_uri()
        if not self._may_write():
            name += "?mode=ro" if self._as_it_lies() is None else "?mode=ro&immutable=1"
        # Autocommit: we begin and end transactions ourselves. The pool sees to it that one
        # thread at a time uses a connection.
        return sqlite3.connect(
            name, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True
        )

    def _may_write(self) -> bool:
        """Whether files can be made next to the database, as reading needs while others write."""
        return not self.path.exists() or (
            os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
        )

    def _as_it_lies(self) -> tuple[int, ...] | None:
        """What changes with a file that is read without locks; None: it is read with them.

        SQLite cannot read a file with a log where it may not write, unless it is sure that nobody
        changes it: then that is seen to here.
        """
        if self._may_write() or self.path.with_name(f"{self.path.name}-wal").exists():
            return None
        with self.path.open("rb") as file:
            has_log = file.read(20)[18:20] == b"\2\2"
            stat = os.fstat(file.fileno())
        return (stat.st_ino, stat.st_size, stat.st_mtime_ns) if has_log else None

    def _reading(self, read: Callable[[sqlite3.Connection], T]) -> T:
        with self._errors():
            for _ in range(_MAX_RESTARTS):
                before = self._as_it_lies()
                try:
                    with self._pool.use() as connection:
                        found = read(connection)
                except sqlite3.Error:
                    if before == self._as_it_lies():
                        raise
                else:
                    if before == self._as_it_lies():
                        return found
        raise BackendError(
            f"{self.address}: the index cannot be read, as another program changes it again and "
            "again, and you may not write next to it, which waiting for the other takes. Try again "
            "later."
        )

    def _read(self, query: str, *values: str | int | bytes) -> Sequence[tuple[Any, ...]]:
        return self._reading(lambda connection: _rows(connection, query, *values))

    def _page(self, rest: str, *values: str | int) -> list[EntryRow]:
        query = f"SELECT name, revision, cid, document FROM entries WHERE {rest}"

        def read(connection: sqlite3.Connection) -> list[EntryRow]:
            rows: list[EntryRow] = []
            size = 0
            with closing(connection.execute(query, values)) as found:
                # Rows are read as they are asked for.
                for values_of_row in found:
                    rows.append(entry_row(values_of_row))
                    size += len(rows[-1].document)
                    if size >= limits.page_bytes:
                        break
            return rows

        return self._reading(read)

    @contextmanager
    def _writing(self, *, pages: bool = False) -> Iterator[Query]:
        with self._errors(), self._pool.use() as connection, _transaction(connection):
            yield partial(_rows, connection)

    def _set_up(self, connection: sqlite3.Connection) -> None:
        version = self._version(connection)
        across = network_file_system(self.path) is not None
        if version == 0 or (across and _journal(connection) == "wal" and self._may_write()):
            _use_journal(connection, "DELETE" if across else "WAL")
        if version == FORMAT:
            return
        with _transaction(connection):
            version = self._version(connection)
            if version == FORMAT:
                return
            for statement in (*_FROM[version], *_SEARCH_TABLES):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")

    def _version(self, connection: sqlite3.Connection) -> int:
        """The version of the index that the file holds; 0: it is empty."""
        # Tables first: who sees them sees what was committed with them.
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if not tables and owner in (0, APPLICATION_ID):
            return 0
        if owner != APPLICATION_ID:
            raise BackendError(
                f"{self.address} is an SQLite database of another program, not an index. "
                "Give the path of a file that does not exist yet."
            )
        if version > FORMAT:
            raise too_new(self.address, version)
        return version

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise BackendError(f"{self.address}: {_explained(error)}") from error
        except UnicodeError as error:
            # SQLite keeps whatever bytes are called text, in the message of an error as well.
            raise BackendError(
                f"{self.address}: the file is damaged (text that is no Unicode). Restore it from "
                "a copy."
            ) from error
        except OSError as error:
            if isinstance(error, BackendError):
                raise
            raise BackendError(
                f"{self.address}: the folder of the index cannot be made: {error.strerror}. "
                "Name a path that you can write to."
            ) from error


def path_in(url: str) -> Path:
    """The file of ``sqlite:///absolute/path``, percent signs as in every URL; else a UrlError."""
    path = url.partition("://")[2]
    if not unquote(path).strip("/") or not path.startswith("/"):
        raise UrlError(
            f"{url!r} does not name a file. Write sqlite:///absolute/path/index.db, or just "
            "the path."
        )
    return path_in_url("/" + path.lstrip("/"))


def _rows(connection: sqlite3.Connection, query: str, *values: Any) -> list[tuple[Any, ...]]:
    return connection.execute(query, values).fetchall()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        # SQLite itself rolls back where the disk is full; the error that says so is to be seen.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _journal(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def _use_journal(connection: sqlite3.Connection, kind: str) -> None:
    # Changing the journal does not wait for others as statements do: it fails at once.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {kind}")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


_DAMAGED: Final = ("malformed", "corrupt", "decode", "no such table", "no such column")


def _explained(error: sqlite3.Error) -> str:
    text = str(error)
    if "not a database" in text:
        return (
            "the file is not an index: it is no SQLite database. Give the path of a file that "
            "does not exist yet."
        )
    if any(sign in text for sign in _DAMAGED):
        return f"the file is damaged ({text}). Restore it from a copy."
    if "locked" in text:
        return (
            f"another program has kept the index locked for {BUSY_SECONDS:.0f} seconds. "
            "Try again when it has ended."
        )
    if "full" in text or "disk I/O" in text:
        return (
            f"the disk is full, or fails ({text}). Nothing was written: make room, or see what is "
            "wrong with the disk, and try again."
        )
    if "unable to open" in text or "readonly" in text:
        return f"{text}. Check that it is a file, not a folder, and that you can write to it."
    return f"SQLite failed: {text}."
