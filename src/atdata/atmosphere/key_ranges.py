"""Finding records by the prefix of their keys, without listing a whole collection.

Servers list a collection in descending order of keys from any cursor, though no specification
requires it. If an answer shows that a server does not, the whole collection is listed instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from atdata.atmosphere.record_keys import OURS
from atdata.atproto.reader import Reader, Record
from atdata.errors import XrpcError

_PAGE_RECORDS: Final = 25
"""Size of a page: few records share a prefix."""


def records_in(reader: Reader, did: str, collection: str, start: str) -> list[Record]:
    """The records whose keys have a prefix, in descending order. One request if they are few."""
    found: list[Record] = []
    before = f"{start}{OURS}"
    try:
        for record in reader.list_records(did, collection, before=before, page=_PAGE_RECORDS):
            rkey = record.uri.rkey
            if rkey >= before:
                return _all(reader, did, collection, start)
            if not rkey.startswith(start):
                if rkey > start:
                    return _all(reader, did, collection, start)
                break
            before = rkey
            found.append(record)
    except XrpcError as error:
        if error.status != 400:
            raise
        # This server's cursors are not record keys.
        return _all(reader, did, collection, start)
    return found


def _all(reader: Reader, did: str, collection: str, start: str) -> list[Record]:
    found = reader.list_records(did, collection)
    chosen = (record for record in found if record.uri.rkey.startswith(start))
    return sorted(chosen, key=lambda record: record.uri.rkey, reverse=True)


def foreign_records(reader: Reader, did: str, collection: str) -> Iterator[Record]:
    """The records whose keys other tools chose; ours are not listed."""
    try:
        for record in reader.list_records(did, collection, before=OURS):
            if not record.uri.rkey.startswith(OURS):
                yield record
    except XrpcError as error:
        if error.status != 400:
            raise
        for record in reader.list_records(did, collection):
            if not record.uri.rkey.startswith(OURS):
                yield record
