"""An index in PostgreSQL: ``postgresql://user:password@host/database``."""

from __future__ import annotations

import select
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from atdata._limits import limits
from atdata._registry import require
from atdata._secrets import guarded
from atdata.errors import BackendError
from atdata.local.backends._pool import ConnectionPool
from atdata.local.backends._sql import Query, SqlBackend
from atdata.local.backends.base import FORMAT, EntryRow, address_of, too_new
from atdata.net.logs import hide_in_logs

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

_LOCKS: Final = 0x61746461
"""First half of our advisory locks: 'atda'."""
_CREATION: Final = 0
_PAGES: Final = 1
_CONNECT_SECONDS: Final = 10
_SILENCE: Final = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""After how many seconds the system asks whether the server is still there, how often, and how
many questions may stay without an answer: a network that swallows everything ends in an error."""
_SILENT_MS: Final = 60_000
"""The same for what was sent and not acknowledged, in milliseconds."""
_CAN_BOUND_SENDING: Final = 120_000
"""First version of libpq that can."""

_TABLES: Final = (
    "CREATE TABLE atdata_format (version integer NOT NULL)",
    """CREATE TABLE atdata_schemas (
        key text COLLATE "C" PRIMARY KEY,
        document text NOT NULL)""",
    """CREATE TABLE atdata_entries (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text COLLATE "C" NOT NULL,
        revision integer NOT NULL,
        cid text COLLATE "C" NOT NULL,
        newest boolean NOT NULL,
        document text NOT NULL,
        UNIQUE (name, revision))""",
    "CREATE UNIQUE INDEX atdata_entries_newest ON atdata_entries (name) WHERE newest",
    "CREATE INDEX atdata_entries_cid ON atdata_entries (cid, id)",
)
_NOTES: Final = """CREATE TABLE atdata_notes (
    key text COLLATE "C" PRIMARY KEY,
    value text NOT NULL)"""
_FROM: Final = {
    0: (*_TABLES, _NOTES),
    1: (_NOTES,),
    2: ("ALTER TABLE atdata_entries DROP COLUMN terms",),
}
"""What each older version lacks, or has in another way; 0: an empty database."""
_SEARCH_TABLES: Final = (
    "ALTER TABLE atdata_entries ADD COLUMN terms boolean",
    """CREATE INDEX atdata_entries_unindexed ON atdata_entries (id)
        WHERE newest AND terms IS NULL""",
    "DROP TABLE IF EXISTS atdata_found_by",
    "CREATE TABLE atdata_found_by (key bytea PRIMARY KEY, value bytea NOT NULL)",
    # Pages are small, and bits and numbers: looking for what repeats costs more than it saves.
    "ALTER TABLE atdata_found_by ALTER COLUMN value SET STORAGE EXTERNAL",
)
"""What version 3 adds. ``terms`` says whether an entry is in the pages."""


class PostgresBackend(SqlBackend):
    """An index in the tables ``atdata_*`` of a PostgreSQL database, version 10 or newer.

    Args:
        url: As libpq takes it; its options (``sslmode``, ``options=-csearch_path=…``) work.
    """

    prefix = "atdata_"
    with_terms = "terms"
    without_terms = "terms IS NULL"
    pages_at_once = 250

    def __init__(self, url: str) -> None:
        self.address = address_of(url)
        self._url = url
        self._psycopg = require("psycopg", purpose="Indexes in PostgreSQL")
        hide_in_logs("psycopg")
        self._pool: ConnectionPool[Connection] = ConnectionPool(self._connect, usable=_usable)
        with self._errors(), self._pool.use() as connection:
            self._set_up(connection)

    @classmethod
    def open(cls, url: str) -> PostgresBackend:
        """Open ``postgresql://…``."""
        return cls(url)

    def _connect(self) -> Connection:
        psycopg = self._psycopg
        ours: dict[str, str | int] = {
            "connect_timeout": _CONNECT_SECONDS,
            "application_name": "atdata",
            **_SILENCE,
        }
        if psycopg.pq.version() >= _CAN_BOUND_SENDING:
            ours["tcp_user_timeout"] = _SILENT_MS
        # Errors of psycopg repeat parts of the URL.
        with guarded(*_guarded_parts(self._url)), self._errors():
            connection = self._opened(ours)
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        return connection

    def _opened(self, ours: Mapping[str, str | int]) -> Connection:
        psycopg = self._psycopg
        try:
            given = psycopg.conninfo.conninfo_to_dict(self._url)
            connection: Connection = psycopg.connect(
                self._url,
                **{key: value for key, value in ours.items() if key not in given},
                autocommit=True,
                # Whatever the environment or the server's settings say: text is Unicode.
                client_encoding="utf8",
                # Statements prepared on the server do not survive a pooler between.
                prepare_threshold=None,
            )
        except psycopg.ProgrammingError:
            # Its message may hold the URL, password included.
            raise BackendError(
                f"{self.address} is not a PostgreSQL URL. Write "
                "postgresql://user:password@host:port/database, special characters of the "
                "password as %XX."
            ) from None
        return connection

    def _read(self, query: str, *values: str | int | bytes) -> Sequence[tuple[Any, ...]]:
        with self._errors(), self._pool.use() as connection:
            return _rows(connection, query, *values)

    def _page(self, rest: str, *values: str | int) -> list[EntryRow]:
        # The server sends a whole result: it ends where the sizes, which are known without
        # reading the documents, add up to a page.
        order = rest.partition("ORDER BY ")[2].partition(" ")[0]
        rows = self._read(
            "SELECT name, revision, cid, document FROM (SELECT *, "
            f"sum(octet_length(document)) OVER (ORDER BY {order}) - octet_length(document) "
            f"AS before FROM (SELECT * FROM atdata_entries WHERE {rest}) AS found) AS sized "
            f"WHERE before < ? ORDER BY {order}",
            *values,
            limits.page_bytes,
        )
        return [EntryRow(*row) for row in rows]

    @contextmanager
    def _writing(self, *, pages: bool = False) -> Iterator[Query]:
        with self._errors(), self._pool.use() as connection, connection.transaction():
            if pages:
                connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_LOCKS, _PAGES))
            yield partial(_rows, connection)

    def _set_up(self, connection: Connection) -> None:
        encoding = connection.execute("SHOW server_encoding").fetchone()
        if encoding != ("UTF8",):
            raise BackendError(
                f"{self.address} is encoded as {encoding and encoding[0]}; an index needs UTF8. "
                "Make the database with: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
            )
        if self._version(connection) == FORMAT:
            return
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_LOCKS, _CREATION))
            version = self._version(connection)
            if version == FORMAT:
                return
            for statement in (*_FROM[version], *_SEARCH_TABLES):
                connection.execute(statement.encode())
            connection.execute("DELETE FROM atdata_format")
            connection.execute("INSERT INTO atdata_format VALUES (%s)", (FORMAT,))

    def _version(self, connection: Connection) -> int:
        """The version of the index that the database holds; 0: it holds none of our tables."""
        columns = connection.execute(
            "SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid "
            "WHERE relname IN ('atdata_format', 'atdata_schemas', 'atdata_entries') "
            "AND pg_table_is_visible(pg_class.oid) AND attnum > 0"
        ).fetchall()
        if not columns:
            return 0
        versions = (
            connection.execute("SELECT version FROM atdata_format").fetchall()
            if ("atdata_format", "version") in columns
            else []
        )
        if len(versions) != 1 or not isinstance(versions[0][0], int):
            raise BackendError(
                f"{self.address} has tables named atdata_… of another program. Name another "
                "database."
            )
        if versions[0][0] > FORMAT:
            raise too_new(self.address, versions[0][0])
        return versions[0][0]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        psycopg = self._psycopg
        try:
            yield
        except psycopg.OperationalError as error:
            # The options of the connection, password included.
            vars(error)["_pgconn"] = None
            raise BackendError(
                f"{self.address}: PostgreSQL does not answer or refused: {_one_line(error)}. "
                "Check that it runs, and the host, database, user and password."
            ) from error
        except psycopg.Error as error:
            raise BackendError(
                f"{self.address}: PostgreSQL refused: {_one_line(error)}. Check that the user may "
                "create and write tables there."
            ) from error


def _guarded_parts(url: str) -> tuple[str, ...]:
    """The password of a URL, as it stands there and as it is meant."""
    password = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    return password, unquote(password)


def _rows(connection: Connection, query: str, *values: object) -> Sequence[tuple[Any, ...]]:
    text = query.replace("?", "%s").encode()
    cursor = connection.execute(text, values, binary=True)
    return [] if cursor.description is None else cursor.fetchall()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".?")


def _usable(connection: Connection) -> bool:
    """Whether an idle connection still works: one that was ended has something to read."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)
