"""Statements that all SQL databases share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any, ClassVar, Final, TypeVar

from atdata.errors import BackendError
from atdata.local.backends._pool import ConnectionPool
from atdata.local.backends._terms import Change, Pages, Terms, plan
from atdata.local.backends.base import Backend, EntryRow, SchemaRow

T = TypeVar("T")
Query = Callable[..., Sequence[tuple[Any, ...]]]
"""Runs a statement, whose values stand as ``?``, and returns its rows, if it has any."""
_KEYS_AT_ONCE: Final = 500
"""Values of one list in a query: some SQLite take no more than 999."""


class SqlPages(Pages):
    """The pages for searching, in the table ``found_by``."""

    def __init__(self, table: str, query: Query) -> None:
        self._table = table
        self._query = query

    def some(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for part in _parts(keys, _KEYS_AT_ONCE):
            query = f"SELECT key, value FROM {self._table} WHERE key IN ({_marks(part)})"
            found.update(self._query(query, *part))
        return found

    def range(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        rows = self._query(
            f"SELECT key, value FROM {self._table} WHERE key >= ? AND key < ? ORDER BY key LIMIT ?",
            start,
            end,
            limit,
        )
        return [(key, value) for key, value in rows]

    def last(self, start: bytes, end: bytes) -> tuple[bytes, bytes] | None:
        rows = self._query(
            f"SELECT key, value FROM {self._table} WHERE key >= ? AND key <= ? "
            "ORDER BY key DESC LIMIT 1",
            start,
            end,
        )
        return (rows[0][0], rows[0][1]) if rows else None


def entry_row(values: Sequence[Any]) -> EntryRow:
    """A row of the table, where its columns have their types: SQLite keeps what it is given.

    Raises:
        BackendError: One is of another type.
    """
    name, revision, cid, document = values
    if not (isinstance(revision, int) and all(isinstance(v, str) for v in (name, cid, document))):
        raise BackendError(
            f"The index is damaged: a row of {name!r} cannot be read. Restore it from a copy."
        )
    return EntryRow(name, revision, cid, document)


class SqlBackend(Backend):
    """A backend whose tables are ``schemas``, ``entries`` and ``notes``, after a prefix."""

    prefix: ClassVar[str]
    """What the names of the tables begin with."""
    with_terms: ClassVar[str]
    """The column that says whether the newest revision of a name was given terms."""
    without_terms: ClassVar[str]
    """The condition that it was not given any yet."""
    pages_at_once: ClassVar[int]
    """Pages that one statement writes."""
    _pool: ConnectionPool[Any]

    @abstractmethod
    def _writing(self, *, pages: bool = False) -> AbstractContextManager[Query]:
        """A transaction, and what runs its statements; alone among those that change pages."""

    @abstractmethod
    def _read(self, query: str, *values: str | int | bytes) -> Sequence[tuple[Any, ...]]:
        """The rows of a query, whose values stand as ``?``."""

    @abstractmethod
    def _page(self, rest: str, *values: str | int) -> list[EntryRow]:
        """The first page of the entries that match; ``rest`` is what follows WHERE."""

    @property
    def pages(self) -> Pages:
        return SqlPages(f"{self.prefix}found_by", self._read)

    def add_schema(self, row: SchemaRow) -> SchemaRow:
        return SchemaRow(row.key, self._kept("schemas", "document", row.key, row.document))

    def schema(self, key: str) -> SchemaRow | None:
        rows = self._read(f"SELECT key, document FROM {self.prefix}schemas WHERE key = ?", key)
        return SchemaRow(*rows[0]) if rows else None

    def schemas(self, after: str, before: str | None, limit: int) -> list[SchemaRow]:
        where, bounds = "key > ?", [after]
        if before is not None:
            where, bounds = f"{where} AND key < ?", [after, before]
        rows = self._read(
            f"SELECT key, document FROM {self.prefix}schemas WHERE {where} ORDER BY key LIMIT ?",
            *bounds,
            limit,
        )
        return [SchemaRow(*row) for row in rows]

    def add_entry(self, row: EntryRow, terms: Terms | None = None) -> bool:
        table = f"{self.prefix}entries"
        with self._writing(pages=True) as query:
            found = query(f"SELECT revision FROM {table} WHERE name = ? AND newest", row.name)
            if (found[0][0] if found else 0) != row.revision - 1:
                return False
            query(f"UPDATE {table} SET newest = FALSE WHERE name = ? AND newest", row.name)
            self._insert(query, row, terms)
        return True

    def replace(self, row: EntryRow, terms: Terms | None = None) -> None:
        with self._writing(pages=True) as query:
            query(f"DELETE FROM {self.prefix}entries WHERE name = ?", row.name)
            self._insert(query, row, terms)

    def remove(self, name: str) -> int:
        table = f"{self.prefix}entries"
        with self._writing(pages=True) as query:
            count: int = query(f"SELECT count(*) FROM {table} WHERE name = ?", name)[0][0]
            query(f"DELETE FROM {table} WHERE name = ?", name)
            self._write_terms(query, (name, None))
        return count

    def newest(self, name: str) -> EntryRow | None:
        rows = self._entries("name = ? AND newest", name)
        return rows[0] if rows else None

    def entry(self, cid: str) -> EntryRow | None:
        rows = self._entries("cid = ? ORDER BY id DESC LIMIT 1", cid)
        return rows[0] if rows else None

    def revisions(self, name: str, after: int, limit: int) -> list[EntryRow]:
        return self._page("name = ? AND revision > ? ORDER BY revision LIMIT ?", name, after, limit)

    def newest_of(self, names: Sequence[str]) -> list[EntryRow]:
        rest = f"newest AND name IN ({_marks(names)})"
        rows = {row.name: row for row in self._entries(rest, *names)}
        return [rows[name] for name in names if name in rows]

    def revision(self, name: str, number: int) -> EntryRow | None:
        rows = self._entries("name = ? AND revision = ?", name, number)
        return rows[0] if rows else None

    def entries(self, after: str, limit: int) -> list[EntryRow]:
        return self._page("newest AND name > ? ORDER BY name LIMIT ?", after, limit)

    def names(self, after: str, limit: int) -> list[str]:
        rows = self._read(
            f"SELECT name FROM {self.prefix}entries WHERE newest AND name > ? "
            "ORDER BY name LIMIT ?",
            after,
            limit,
        )
        return [row[0] for row in rows]

    def unindexed(self, limit: int) -> list[EntryRow]:
        return self._page(f"newest AND {self.without_terms} ORDER BY id LIMIT ?", limit)

    def index(self, rows: Sequence[tuple[EntryRow, Terms]]) -> None:
        table = f"{self.prefix}entries"
        with self._writing(pages=True) as query:
            for part in _parts(rows, _KEYS_AT_ONCE):
                names = [row.name for row, _ in part]
                found = query(
                    f"SELECT name, revision, cid FROM {table} WHERE newest "
                    f"AND {self.without_terms} AND name IN ({_marks(names)})",
                    *names,
                )
                waiting = {tuple(key) for key in found}
                changes = [
                    (row.name, terms)
                    for row, terms in part
                    if (row.name, row.revision, row.cid) in waiting
                ]
                names = [name for name, _ in changes]
                if names:
                    query(
                        f"UPDATE {table} SET {self.with_terms} = TRUE WHERE newest "
                        f"AND name IN ({_marks(names)})",
                        *names,
                    )
                    self._write_terms(query, *changes)

    def set_note(self, key: str, value: str | None) -> None:
        table = f"{self.prefix}notes"
        with self._writing() as query:
            if value is None:
                query(f"DELETE FROM {table} WHERE key = ?", key)
            else:
                query(
                    f"INSERT INTO {table} VALUES (?, ?) "
                    "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    key,
                    value,
                )

    def add_note(self, key: str, value: str) -> str:
        return self._kept("notes", "value", key, value)

    def note(self, key: str) -> str | None:
        rows = self._read(f"SELECT value FROM {self.prefix}notes WHERE key = ?", key)
        return rows[0][0] if rows else None

    def notes(self, after: str, before: str, limit: int) -> list[tuple[str, str]]:
        rows = self._read(
            f"SELECT key, value FROM {self.prefix}notes WHERE key > ? AND key < ? "
            "ORDER BY key LIMIT ?",
            after,
            before,
            limit,
        )
        return [(key, value) for key, value in rows]

    def _entries(self, rest: str, *values: str | int) -> list[EntryRow]:
        """The entries that fit what follows WHERE."""
        query = f"SELECT name, revision, cid, document FROM {self.prefix}entries WHERE {rest}"
        return [entry_row(row) for row in self._read(query, *values)]

    def close(self) -> None:
        self._pool.close()

    def _kept(self, table: str, column: str, key: str, value: str) -> str:
        """What a table has under a key: the value, unless the key was taken."""
        while True:
            with self._writing() as query:
                query(
                    f"INSERT INTO {self.prefix}{table} VALUES (?, ?) ON CONFLICT DO NOTHING",
                    key,
                    value,
                )
                kept = query(f"SELECT {column} FROM {self.prefix}{table} WHERE key = ?", key)
            # None: PostgreSQL lets another process remove it between the two statements.
            if kept:
                return str(kept[0][0])

    def _insert(self, query: Query, row: EntryRow, terms: Terms | None) -> None:
        query(
            f"INSERT INTO {self.prefix}entries "
            f"(name, revision, cid, newest, document, {self.with_terms}) "
            "VALUES (?, ?, ?, TRUE, ?, TRUE)",
            row.name,
            row.revision,
            row.cid,
            row.document,
        )
        self._write_terms(query, (row.name, terms or {}))

    def _write_terms(self, query: Query, *changes: Change) -> None:
        table = f"{self.prefix}found_by"
        changed = plan(SqlPages(table, query), changes)
        written = [(key, value) for key, value in changed.items() if value is not None]
        for part in _parts(written, self.pages_at_once):
            rows = ", ".join(["(?, ?)"] * len(part))
            query(
                f"INSERT INTO {table} VALUES {rows} "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                *chain.from_iterable(part),
            )
        removed = [key for key, value in changed.items() if value is None]
        for keys in _parts(removed, _KEYS_AT_ONCE):
            query(f"DELETE FROM {table} WHERE key IN ({_marks(keys)})", *keys)


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
