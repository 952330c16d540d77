"""Full-text search in a local index, the same on every backend."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from atdata.errors import BackendError, OptionError
from atdata.local.backends._terms import Terms
from atdata.local.backends.base import Backend, EntryRow
from atdata.local.entry import LocalDatasetEntry, from_row
from atdata.local.search_terms import entry_terms, label, query_words
from atdata.schema.reflect import schema_of

_ENTRIES_AT_ONCE: Final = 500
"""Entries that are made searchable in one transaction."""


def search(
    backend: Backend,
    text: str,
    *,
    tags: Iterable[str] | None,
    license: str | None,
    schema: str | type | None,
    limit: int,
) -> list[LocalDatasetEntry]:
    """See `LocalIndex.search`."""
    if not isinstance(text, str):
        raise OptionError(f"A search is for a str, not for {type(text).__name__}.")
    if not isinstance(limit, int) or limit < 1:
        raise OptionError(f"limit={limit!r}: expected a number of datasets, 1 or more.")
    if isinstance(tags, str):
        raise OptionError(f"tags: expected a list of tags, found a str. Write [{tags!r}].")
    words = query_words(text)
    if text.strip() and not words:
        return []
    labels = [label("tag", tag) for tag in tags or ()]
    if license is not None:
        labels.append(label("license", license))
    if schema is not None:
        labels.append(_schema_label(schema))
    if not words and not labels:
        return [from_row(row) for row in islice(backend.each_entry(), limit)]
    return [from_row(row) for row in backend.search(words, list(dict.fromkeys(labels)), limit)]


def index_older_entries(backend: Backend) -> None:
    """Make the entries that an older version wrote searchable."""
    done: list[EntryRow] = []
    while page := backend.unindexed(_ENTRIES_AT_ONCE):
        if page == done:
            raise BackendError(
                f"{backend.address} is damaged: what {page[0].name!r} is found by cannot be "
                "written. Restore it from a copy."
            )
        backend.index([(row, _terms(row)) for row in page])
        done = page


def _terms(row: EntryRow) -> Terms:
    try:
        return entry_terms(from_row(row))
    except BackendError:
        return {}  # damaged: reading it says so, opening the index does not


def _schema_label(schema: str | type) -> str:
    if isinstance(schema, type):
        return label("class", schema_of(schema).class_name)
    return label("schema" if "@" in schema or "://" in schema else "class", schema)
