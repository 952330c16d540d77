"""Full-text search in a local index, the same on every backend."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Final

from atdata.errors import BackendError, OptionError
from atdata.local.backends.base import Backend
from atdata.local.entry import LocalDatasetEntry, from_row
from atdata.local.schemas import PAGE
from atdata.local.words import entry_terms, label, query_terms, weighed_texts, word_terms, words
from atdata.schema.reflect import schema_of

_FOUND: Final = 2_000
"""Rows of a search that are asked of the backend at a time: Redis looks for all of them again."""


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
    wanted = query_terms(text)
    if text.strip() and not wanted:
        return []
    terms = [*wanted, *(label("tag", tag) for tag in tags or ())]
    if license is not None:
        terms.append(label("license", license))
    if schema is not None:
        terms.append(_schema_label(schema))
    asked = set(words(text))
    found = ((-_weight(entry, asked), entry.name.encode(), entry) for entry in _all(backend, terms))
    return [entry for _, _, entry in heapq.nsmallest(limit, found, key=lambda row: row[:2])]


def index_what_is_not(backend: Backend) -> None:
    """Give the entries that an older version wrote their terms."""
    while page := backend.unindexed(PAGE):
        for row in page:
            try:
                terms = entry_terms(from_row(row))
            except BackendError:
                terms = []  # damaged: reading it says so, opening the index does not
            backend.index(row, terms)


def _schema_label(schema: str | type) -> str:
    if isinstance(schema, type):
        return label("class", schema_of(schema).class_name)
    return label("schema" if "@" in schema or "://" in schema else "class", schema)


def _all(backend: Backend, terms: list[str]) -> Iterator[LocalDatasetEntry]:
    last = ""
    while page := backend.search(terms, last, _FOUND) if terms else backend.entries(last, _FOUND):
        yield from map(from_row, page)
        last = page[-1].name


def _weight(entry: LocalDatasetEntry, asked: set[str]) -> int:
    """How well an entry fits: whole words count twice, and more in its name than further down."""
    weight = 0
    for word in asked:
        best = 0
        for worth, text in weighed_texts(entry):
            terms = {term[1:] for term in word_terms(text)}
            if word in terms:
                best = max(best, 2 * worth)
            elif any(term.startswith(word) for term in terms):
                best = max(best, worth)
        weight += best
    return weight
