"""The interface of a backend: rows of a few tables, ordered, written atomically.

A backend knows nothing of datasets. It keeps

- schemas: ``key`` → ``document``, written once;
- entries: ``(name, revision)`` → ``cid`` and ``document``. The revisions of a name are
  1, 2, …, without gaps; all of them go away together;
- pages: what the newest revisions are found by, made of their terms by `_terms.plan`;
- notes: ``key`` → ``value``, written again and again.

Keys, names and terms are compared and ordered by their UTF-8 bytes. Documents and values are
ASCII. A term has 2 to 100 letters and digits, of any alphabet, none in upper case; those of
words begin with ``w``. Entries come in pages that are bounded by their number and by
``limits.page_bytes``, so that memory does not grow with the index. Every operation is
atomic, and safe from several threads and processes. One that cannot be done raises
`BackendError`, which names the address, without a password.

`atdata.testing.backends.BackendSuite` holds a backend to all of this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Final, TypeVar

from atdata._limits import limits
from atdata._secrets import redacted_repr
from atdata.errors import BackendError
from atdata.local.backends._finding import find
from atdata.local.backends._terms import Pages, Terms, sensible

FORMAT: Final = 3
"""Version of the layout, kept in every database. It goes up when older programs cannot read
what newer ones write. A database of version 1, which has neither terms nor notes, or of version
2, which keeps terms in another way, is brought up to this one when it is opened; its entries are
then `unindexed`."""

PAGE_ROWS: Final = 200
"""Rows that are asked of a backend at a time."""
_ROWS_AT_ONCE: Final = 20
"""The same of rows with documents, of which only the first may be wanted."""


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
            The row that is kept now: this one, or the one that already existed.
        """

    @abstractmethod
    def schema(self, key: str) -> SchemaRow | None:
        """The schema with this key. Costs the same however many there are."""

    @abstractmethod
    def schemas(self, after: str, before: str | None, limit: int) -> list[SchemaRow]:
        """At most ``limit`` schemas with ``after < key < before``, in order of their keys."""

    @abstractmethod
    def add_entry(self, row: EntryRow, terms: Terms | None = None) -> bool:
        """Add a revision of a name, if it is the next one, with what to find it by.

        Returns:
            Whether it was added. False: the newest revision is not ``row.revision - 1`` (no
            revision at all, for the first).
        """

    @abstractmethod
    def replace(self, row: EntryRow, terms: Terms | None = None) -> None:
        """Put the row, a revision 1, in the place of all revisions of its name."""

    @abstractmethod
    def newest(self, name: str) -> EntryRow | None:
        """The newest revision of a name. Costs the same however many names there are."""

    @abstractmethod
    def entry(self, cid: str) -> EntryRow | None:
        """The row with this CID that was added last. Costs the same however many there are."""

    @abstractmethod
    def revisions(self, name: str, after: int, limit: int) -> list[EntryRow]:
        """At most ``limit`` revisions of a name from ``after + 1`` on, oldest first.

        Fewer if a page is full, but at least one if any exists.
        """

    def each_revision(self, name: str) -> Iterator[EntryRow]:
        """All revisions of a name, oldest first, read page by page."""
        last, more = 0, True
        while more:
            page = self.revisions(name, last, _ROWS_AT_ONCE)
            yield from page
            is_full = sum(len(row.document) for row in page) >= limits.page_bytes
            more = is_full or len(page) == _ROWS_AT_ONCE
            last += len(page)

    def history(self, name: str) -> list[EntryRow]:
        """All revisions of a name, oldest first; empty if there are none."""
        return list(self.each_revision(name))

    @abstractmethod
    def revision(self, name: str, number: int) -> EntryRow | None:
        """One revision of a name. Costs the same however many there are."""

    @abstractmethod
    def entries(self, after: str, limit: int) -> list[EntryRow]:
        """The newest revisions of at most ``limit`` names above ``after``, in order of name.

        None only where no more names follow.
        """

    def each_entry(self) -> Iterator[EntryRow]:
        """The newest revision of every name, in order of name, read page by page."""
        return in_pages(lambda last: self.entries(last, PAGE_ROWS), lambda row: row.name)

    @abstractmethod
    def names(self, after: str, limit: int) -> list[str]:
        """The first ``limit`` names above ``after``, in order."""

    @abstractmethod
    def remove(self, name: str) -> int:
        """Remove all revisions of a name.

        Returns:
            How many there were.
        """

    @property
    @abstractmethod
    def pages(self) -> Pages:
        """What the newest revisions are found by, to be read."""

    def search(self, words: Sequence[str], labels: Sequence[str], limit: int) -> list[EntryRow]:
        """The newest revisions with a word that begins like each of these, and every label.

        Args:
            words: Beginnings of words, without the ``w`` of their terms.
            labels: Terms that are found whole.
            limit: Most rows.

        Returns:
            The best first: by level, whole words before beginnings; else in order of name.
        """
        found: dict[str, EntryRow] = {}
        with sensible(self.address):
            self._search(found, words, labels, limit)
        return list(found.values())

    def _search(
        self,
        found: dict[str, EntryRow],
        words: Sequence[str],
        labels: Sequence[str],
        limit: int,
    ) -> None:
        names = (name for name, _ in find(self.pages, words, labels))
        while len(found) < limit:
            wanted = list(islice(names, min(_ROWS_AT_ONCE, limit - len(found))))
            if not wanted:
                break
            for row in self.newest_of(wanted):
                found.setdefault(row.name, row)

    @abstractmethod
    def newest_of(self, names: Sequence[str]) -> list[EntryRow]:
        """The newest revisions of a few names, in their order; deleted names are left out."""

    @abstractmethod
    def unindexed(self, limit: int) -> list[EntryRow]:
        """Newest revisions that an older version wrote, which are not in the pages yet.

        Costs the same however many others there are.
        """

    @abstractmethod
    def index(self, rows: Sequence[tuple[EntryRow, Terms]]) -> None:
        """Give `unindexed` rows their terms, except those that are not the newest any more."""

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

    def each_note(self, start: str) -> Iterator[tuple[str, str]]:
        """Key and value of every note whose key begins with ``start``, in order, page by page."""
        end = f"{start}\U0010ffff"
        return in_pages(lambda last: self.notes(last, end, PAGE_ROWS), itemgetter(0), start)

    @abstractmethod
    def note(self, key: str) -> str | None:
        """The value under a key. Costs the same however many there are."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections. The backend is not to be used afterwards."""


T = TypeVar("T")


def in_pages(
    read: Callable[[str], Sequence[T]], key: Callable[[T], str], after: str = ""
) -> Iterator[T]:
    """Rows in order of a key, page after page.

    Raises:
        BackendError: They are not in order, so that there would be no end.
    """
    while page := read(after):
        yield from page
        last = key(page[-1])
        if last.encode() <= after.encode():
            raise BackendError(
                f"The index is damaged: {last!r} comes after {after!r}. Restore it from a copy."
            )
        after = last


def address_of(url: str) -> str:
    """A URL fit to be shown: without user, password and options.

    Works on the text, not on the parsed URL: a password with an unescaped ``/`` or ``#`` would
    end up in the path.
    """
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def too_new(address: str, version: int) -> BackendError:
    """The error for a database that this program does not know."""
    return BackendError(
        f"{address} was written by a newer atdata (format {version}; this one reads {FORMAT}). "
        "Upgrade with: pip install --upgrade atdata"
    )
