"""Mirrored records of the network in a local index.

A dataset is an entry under its AT URI. Schemas and what is known of accounts and servers are
notes of the backend.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Any, Final

from atdata._protocols import IndexEntry
from atdata.errors import BackendError
from atdata.local.backends.base import PAGE_ROWS, Backend, in_pages
from atdata.local.entry import LocalDatasetEntry, from_row, to_row
from atdata.local.search_terms import entry_terms

SCHEMA_NOTE: Final = "schema "
"""What the keys of notes begin with that hold schemas, before the AT URI."""
_ACCOUNT: Final = "account "


class MirroredRecords:
    """The part of a local index that holds copies of the network's records.

    Each call is atomic, and the same call again changes nothing.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def put_dataset(self, uri: str, entry: IndexEntry, *, cid: str, owner: str) -> None:
        """Keep a dataset in the place of what was kept of this record."""
        found: Any = entry
        kept = LocalDatasetEntry(
            name=uri,
            title=f"@{owner}/{entry.name}",
            schema_ref=entry.schema_ref,
            shards=tuple(found.shards),
            metadata=entry.metadata,
            description=found.description,
            tags=tuple(found.tags),
            license=found.license,
            endpoint=found.endpoint,
            region=found.region,
            stranger=True,
            created_at=found.updated_at,
            cid=cid,
        )
        self._put(kept)

    def _put(self, kept: LocalDatasetEntry) -> None:
        row = to_row(kept)
        if self._backend.newest(kept.name) != row:
            self._backend.replace(row, entry_terms(kept))

    def put_schema(self, uri: str, record: Mapping[str, Any]) -> None:
        """Keep a schema's record, in the form that `LocalIndex.get_schema` gives."""
        self._put_note(f"{SCHEMA_NOTE}{uri}", json.dumps(record, separators=(",", ":")))

    def remove(self, uri: str) -> None:
        """Forget a dataset or schema; nothing happens where there is none."""
        self._backend.remove(uri)
        self._put_note(f"{SCHEMA_NOTE}{uri}", None)

    def uris(self, did: str = "") -> list[str]:
        """AT URIs of every dataset and schema, or of those of one account."""
        start = f"at://{did}/" if did else "at://"
        return [*self._entries(start), *self._notes(SCHEMA_NOTE, start)]

    def rename(self, did: str, owner: str) -> None:
        """Have the titles of an account's datasets say who the owner is now."""
        for uri in self._entries(f"at://{did}/"):
            row = self._backend.newest(uri)
            if row is not None:
                entry = from_row(row)
                name = (entry.title or "").partition("/")[2]
                self._put(replace(entry, title=f"@{owner}/{name}"))

    def accounts(self) -> list[str]:
        """DIDs of all accounts that something is known of."""
        return self._notes(_ACCOUNT)

    def account(self, did: str) -> dict[str, Any] | None:
        """What was last recorded of an account."""
        return self._read(f"{_ACCOUNT}{did}")

    def set_account(self, did: str, known: Mapping[str, Any] | None) -> None:
        """Keep what is known of an account; None: nothing."""
        self._write(f"{_ACCOUNT}{did}", known)

    def cursor(self, server: str) -> int | None:
        """The number of the last event of a server's firehose that was applied."""
        known = self._read(f"cursor {server}")
        return None if known is None else int(known["seq"])

    def set_cursor(self, server: str, seq: int | None) -> None:
        """Keep the number of the last event that was applied; None: start again."""
        self._write(f"cursor {server}", None if seq is None else {"seq": seq})

    def _read(self, key: str) -> dict[str, Any] | None:
        value = self._backend.note(key)
        try:
            return None if value is None else dict(json.loads(value))
        except (ValueError, TypeError) as error:
            raise BackendError(
                f"The index is damaged: {key!r} cannot be read ({type(error).__name__}). Restore "
                "the index from a copy, or mirror into a new one."
            ) from error

    def _write(self, key: str, value: Mapping[str, Any] | None) -> None:
        self._put_note(key, None if value is None else json.dumps(value))

    def _put_note(self, key: str, value: str | None) -> None:
        if self._backend.note(key) != value:
            self._backend.set_note(key, value)

    def _entries(self, start: str) -> Iterator[str]:
        names = in_pages(lambda last: self._backend.names(last, PAGE_ROWS), str, start)
        return takewhile(lambda name: name.startswith(start), names)

    def _notes(self, kind: str, start: str = "") -> list[str]:
        notes = self._backend.each_note(f"{kind}{start}")
        return [key.removeprefix(kind) for key, _ in notes]
