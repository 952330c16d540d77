"""Records found by what their keys begin with, at a cost that does not grow with the account.

A server lists a collection in descending order of keys, from any key on, though nothing obliges
it to. Where an answer shows that it does not, the whole collection is listed instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from atdata.atmosphere.keys import OURS
from atdata.atproto.reader import Reader, Record
from atdata.errors import XrpcError

_FEW: Final = 25
"""Records asked for at once where few are expected."""


def records_in(reader: Reader, did: str, collection: str, start: str) -> list[Record]:
    """The records whose keys begin so, in descending order of keys. One request, if they are few.

    Args:
        reader: Access to the network.
        did: The account.
        collection: Its NSID.
        start: What the keys begin with; nothing but one character of a key's follows that.
    """
    found: list[Record] = []
    before = f"{start}{OURS}"
    try:
        for record in reader.list_records(did, collection, before=before, page=_FEW):
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
        # Its cursors are not keys.
        return _all(reader, did, collection, start)
    return found


def _all(reader: Reader, did: str, collection: str, start: str) -> list[Record]:
    found = reader.list_records(did, collection)
    chosen = (record for record in found if record.uri.rkey.startswith(start))
    return sorted(chosen, key=lambda record: record.uri.rkey, reverse=True)


def foreign_records(reader: Reader, did: str, collection: str) -> Iterator[Record]:
    """The records whose keys other tools chose. Ours are not even listed."""
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
