"""Lenses as records: the schemas that they connect, and where their code is.

The code that a record names is shown. Nothing here fetches, imports or runs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from atdata._json_checks import in_record
from atdata._refs import LENS_COLLECTION, AtUri, parse_schema_ref
from atdata._secrets import redacted_repr
from atdata.atmosphere.key_ranges import foreign_records, records_in
from atdata.atmosphere.record_keys import lens_range, lens_rkey
from atdata.atproto.client import AtmosphereClient, put_if_unchanged
from atdata.atproto.data_model import now
from atdata.atproto.lexicon import validate
from atdata.atproto.reader import Reader, Record, find_record
from atdata.errors import AtmosphereError, OptionError, RecordError

_MAX_TRIES: Final = 10


@redacted_repr
@dataclass(frozen=True)
class Code:
    """Where a function is, for people to read."""

    repository: str
    commit: str
    """The very revision: a branch may say something else tomorrow."""
    path: str
    branch: str | None = None

    def __str__(self) -> str:
        return f"{self.repository} at {self.commit}: {self.path}"

    def to_record(self) -> dict[str, str]:
        """As a record has it."""
        record = {
            "repository": self.repository,
            "commit": self.commit,
            "path": self.path,
            "branch": self.branch,
        }
        return {key: value for key, value in record.items() if value is not None}


@redacted_repr
@dataclass(frozen=True)
class LensEntry:
    """A published lens."""

    uri: str
    cid: str
    name: str
    source_schema: str
    """AT URI of the schema that is seen."""
    target_schema: str
    """AT URI of the schema that it is seen as."""
    getter: Code
    putter: Code
    created_at: datetime
    description: str | None = None
    language: str | None = None


def publish_lens(
    client: AtmosphereClient,
    *,
    name: str,
    source_schema: str,
    target_schema: str,
    getter: Code,
    putter: Code,
    description: str | None = None,
) -> LensEntry:
    """Write a lens's record, in place of the one of this name between these schemas.

    Raises:
        OptionError: The name or the place of the code is empty.
        RecordError: The record is not one that can be published.
    """
    if not name or not all((*getter.to_record().values(), *putter.to_record().values())):
        raise OptionError("A lens has a name, and its code a repository, a commit and a path.")
    record = {
        "$type": LENS_COLLECTION,
        "name": name,
        "sourceSchema": str(parse_schema_ref(source_schema)),
        "targetSchema": str(parse_schema_ref(target_schema)),
        "getterCode": getter.to_record(),
        "putterCode": putter.to_record(),
        "language": "python",
        "createdAt": now(),
    }
    if description:
        record["description"] = description
    at = AtUri(client.did, LENS_COLLECTION, lens_rkey(source_schema, target_schema, name))
    for _ in range(_MAX_TRIES):
        existing = find_record(client, at)
        if existing and {**existing.value, "createdAt": ""} == {**record, "createdAt": ""}:
            return read_lens(existing)
        replaces = existing.cid if existing else None
        if written := put_if_unchanged(client, at, record, replaces=replaces):
            return read_lens(written)
    raise AtmosphereError(f"The lens {name!r} is changed by others again and again; try later.")


def list_lenses(
    reader: Reader, did: str, *, source: str | None = None, target: str | None = None
) -> Iterator[LensEntry]:
    """See `AtmosphereIndex.list_lenses`. With both schemas, nothing else of ours is listed."""
    records: Iterable[Record]
    if source is not None and target is not None:
        start = lens_range(source, target)
        ours = records_in(reader, did, LENS_COLLECTION, start)
        records = (*ours, *foreign_records(reader, did, LENS_COLLECTION))
    else:
        records = reader.list_records(did, LENS_COLLECTION)
    for record in records:
        try:
            found = read_lens(record)
        except RecordError:
            continue
        if source in (None, found.source_schema) and target in (None, found.target_schema):
            yield found


def read_lens(record: Record) -> LensEntry:
    """The lens that a record describes, which may be anyone's.

    Raises:
        RecordError: It is not a lens's; says at which path.
    """
    value = record.value
    try:
        if value.get("$type") != LENS_COLLECTION:
            raise RecordError(f"$.$type: expected {LENS_COLLECTION!r}.")
        validate(value)
        return LensEntry(
            uri=str(record.uri),
            cid=record.cid,
            name=value["name"],
            source_schema=value["sourceSchema"],
            target_schema=value["targetSchema"],
            getter=_code(value, "getterCode"),
            putter=_code(value, "putterCode"),
            created_at=in_record.time(value["createdAt"], "$.createdAt"),
            description=in_record.string(value, "description", "$"),
            language=in_record.string(value, "language", "$"),
        )
    except RecordError as error:
        raise RecordError(f"{record.uri} is not the record of a lens. {error}") from None


def _code(value: Mapping[str, Any], key: str) -> Code:
    row = in_record.mapping(value[key], f"$.{key}")
    return Code(row["repository"], row["commit"], row["path"], row.get("branch"))
