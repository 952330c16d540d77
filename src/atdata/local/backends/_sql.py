"""Statements that all SQL databases share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from atdata.errors import BackendError
from atdata.local.backends._terms import Pages
from atdata.local.backends.base import Backend, EntryRow, SchemaRow

Query = Callable[..., Sequence[tuple[Any, ...]]]
"""Runs a query, whose values stand as ``?``, and returns its rows."""
_KEYS_AT_ONCE: Final = 500
"""Values of one list in a query: some SQLite take no more than 999."""


class SqlPages(Pages):
    """The pages for searching, in the table ``found_by``."""

    def __init__(self, table: str, query: Query) -> None:
        self._table = table
        self._query = query

    def some(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            part = keys[start : start + _KEYS_AT_ONCE]
            marks = ", ".join("?" * len(part))
            found.update(
                self._query(f"SELECT key, value FROM {self._table} WHERE key IN ({marks})", *part)
            )
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
    without_terms: ClassVar[str]
    """The condition that the newest revision of a name was not given terms yet."""

    @abstractmethod
    def _read(self, query: str, *values: str | int | bytes) -> Sequence[tuple[Any, ...]]:
        """The rows of a query, whose values stand as ``?``."""

    @abstractmethod
    def _page(self, rest: str, *values: str | int) -> list[EntryRow]:
        """The first page of the entries that match; ``rest`` is what follows WHERE."""

    @property
    def pages(self) -> Pages:
        return SqlPages(f"{self.prefix}found_by", self._read)

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

    def newest(self, name: str) -> EntryRow | None:
        rows = self._entries("name = ? AND newest", name)
        return rows[0] if rows else None

    def entry(self, cid: str) -> EntryRow | None:
        rows = self._entries("cid = ? ORDER BY id DESC LIMIT 1", cid)
        return rows[0] if rows else None

    def revisions(self, name: str, after: int, limit: int) -> list[EntryRow]:
        return self._page("name = ? AND revision > ? ORDER BY revision LIMIT ?", name, after, limit)

    def newest_of(self, names: Sequence[str]) -> list[EntryRow]:
        marks = ", ".join("?" * len(names))
        rows = {row.name: row for row in self._entries(f"newest AND name IN ({marks})", *names)}
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
