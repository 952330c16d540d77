"""What a backend must do: keep rows of two tables, in order, and add to them atomically.

A backend knows nothing of datasets. It keeps

- schemas: ``key`` → ``document``, written once;
- entries: ``(name, revision)`` → ``cid`` and ``document``. The revisions of a name are
  1, 2, …, without gaps; all of them go away together.

Keys and names are compared and ordered by their UTF-8 bytes. Documents are ASCII. Every
operation is atomic, and safe from several threads and processes. One that cannot be done
raises `BackendError`, which names the address, without a password.

`atdata.testing.backends.BackendSuite` holds a backend to all of this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

__all__ = ["FORMAT", "Backend", "EntryRow", "SchemaRow", "address_of"]

FORMAT: Final = 1
"""Version of the layout, kept in every database. It goes up when older programs cannot read
what newer ones write."""


@dataclass(frozen=True, slots=True)
class SchemaRow:
    """One schema."""

    key: str
    document: str
    """ASCII; for `LocalIndex`, JSON."""


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One revision of one dataset."""

    name: str
    revision: int
    """1, 2, … of this name."""
    cid: str
    """Several rows may have the same."""
    document: str
    """ASCII; for `LocalIndex`, JSON."""


class Backend(ABC):
    """A database that holds an index.

    Attributes:
        address: Where it is, fit to be shown: no password.
    """

    address: str

    @classmethod
    @abstractmethod
    def open(cls, url: str) -> Backend:
        """Open the database that ``url`` names; an empty one is set up.

        Raises:
            UrlError: The URL does not have the form that this backend asks for.
            BackendError: It does not answer, refuses the password, holds something else, or was
                written by a newer version.
        """

    @abstractmethod
    def add_schema(self, row: SchemaRow) -> SchemaRow:
        """Add a schema unless its key is taken.

        Returns:
            The row that is there now: this one, or the one that was there before.
        """

    @abstractmethod
    def schema(self, key: str) -> SchemaRow | None:
        """The schema with this key. Costs the same however many there are."""

    @abstractmethod
    def schemas(self, after: str, before: str | None, limit: int) -> list[SchemaRow]:
        """At most ``limit`` schemas with ``after < key < before``, in order of their keys."""

    @abstractmethod
    def add_entry(self, row: EntryRow) -> bool:
        """Add a revision of a name, if it is the next one.

        Returns:
            Whether it was added. False: the newest revision is not ``row.revision - 1`` (no
            revision at all, for the first).
        """

    @abstractmethod
    def newest(self, name: str) -> EntryRow | None:
        """The newest revision of a name. Costs the same however many names there are."""

    @abstractmethod
    def entry(self, cid: str) -> EntryRow | None:
        """The row with this CID that was added last. Costs the same however many there are."""

    @abstractmethod
    def history(self, name: str) -> list[EntryRow]:
        """All revisions of a name, oldest first; empty if there are none."""

    @abstractmethod
    def entries(self, after: str, limit: int) -> list[EntryRow]:
        """The newest revisions of the first ``limit`` names above ``after``, in order of name.

        Fewer than ``limit`` only where no more names follow.
        """

    @abstractmethod
    def names(self, after: str, limit: int) -> list[str]:
        """The first ``limit`` names above ``after``, in order."""

    @abstractmethod
    def remove(self, name: str) -> int:
        """Remove all revisions of a name.

        Returns:
            How many there were.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of connections. The backend is not to be used afterwards."""


def address_of(url: str) -> str:
    """A URL fit to be shown: without user, password and options.

    Works on the text, not on the parsed URL: a password with an unescaped ``/`` or ``#`` would
    end up in the path.
    """
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
