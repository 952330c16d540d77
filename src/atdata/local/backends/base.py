"""What a backend must do: keep rows of a few tables, in order, and write to them atomically.

A backend knows nothing of datasets. It keeps

- schemas: ``key`` → ``document``, written once;
- entries: ``(name, revision)`` → ``cid`` and ``document``. The revisions of a name are
  1, 2, …, without gaps; all of them go away together;
- terms: what the newest revision of a name is found by;
- notes: ``key`` → ``value``, written again and again.

Keys, names and terms are compared and ordered by their UTF-8 bytes. Documents and values are
ASCII. A term has 1 to 100 letters and digits, of any alphabet, none in upper case. Every
operation is atomic, and safe from several threads and processes. One that cannot be done
raises `BackendError`, which names the address, without a password.

`atdata.testing.backends.BackendSuite` holds a backend to all of this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from atdata._secrets import redacted_repr

__all__ = ["FORMAT", "Backend", "EntryRow", "SchemaRow", "address_of"]

FORMAT: Final = 2
"""Version of the layout, kept in every database. It goes up when older programs cannot read
what newer ones write. A database of version 1, which has no terms and no notes, is brought up
to this one when it is opened; its entries are then `unindexed`."""


@redacted_repr
@dataclass(frozen=True, slots=True)
class SchemaRow:
    """One schema."""

    key: str
    document: str
    """ASCII; for `LocalIndex`, JSON."""


@redacted_repr
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
    def add_entry(self, row: EntryRow, terms: Collection[str] = ()) -> bool:
        """Add a revision of a name, if it is the next one, with what to find it by.

        Returns:
            Whether it was added. False: the newest revision is not ``row.revision - 1`` (no
            revision at all, for the first).
        """

    @abstractmethod
    def replace(self, row: EntryRow, terms: Collection[str] = ()) -> None:
        """Put the row, a revision 1, in the place of all revisions of its name."""

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
    def revision(self, name: str, number: int) -> EntryRow | None:
        """One revision of a name. Costs the same however many there are."""

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
    def search(self, terms: Sequence[str], after: str, limit: int) -> list[EntryRow]:
        """The newest revisions that have every one of these terms, at least one.

        Args:
            terms: Terms; one that ends in ``*`` stands for every term that begins so.
            after: Only names above this one.
            limit: Most rows; fewer only where no more names follow.

        Returns:
            Rows in order of name.
        """

    @abstractmethod
    def unindexed(self, limit: int) -> list[EntryRow]:
        """Newest revisions that an older version wrote, for which no terms were given yet.

        Costs the same however many others there are.
        """

    @abstractmethod
    def index(self, row: EntryRow, terms: Collection[str]) -> None:
        """Give an `unindexed` row its terms; nothing where it is not the newest any more."""

    @abstractmethod
    def set_note(self, key: str, value: str | None) -> None:
        """Write a note in the place of the one there was; None removes it."""

    @abstractmethod
    def add_note(self, key: str, value: str) -> str:
        """Write a note unless its key is taken.

        Returns:
            The value that is kept now: this one, or the one that was there before.
        """

    @abstractmethod
    def notes(self, after: str, before: str, limit: int) -> list[tuple[str, str]]:
        """At most ``limit`` keys and values with ``after < key < before``, in order of keys."""

    @abstractmethod
    def note(self, key: str) -> str | None:
        """The value under a key. Costs the same however many there are."""

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
