"""Schemas of the network: read from any account, published to your own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

from atdata._refs import (
    ALT_SCHEMA_COLLECTION,
    SCHEMA_COLLECTION,
    AtUri,
    Version,
    parse_schema_ref,
)
from atdata.atmosphere.key_ranges import foreign_records, records_in
from atdata.atmosphere.record_keys import schema_range, schema_rkey
from atdata.atproto.client import AtmosphereClient, put_if_unchanged
from atdata.atproto.data_model import now
from atdata.atproto.lexicon import validate
from atdata.atproto.reader import Reader, Record, find_record
from atdata.errors import (
    AtmosphereError,
    NotFoundError,
    RecordError,
    RefError,
    SchemaConflictError,
    SchemaError,
    SchemaNotFoundError,
    SchemaRefError,
)
from atdata.samples.kinds import Nested
from atdata.schema.alt_record import from_alt_record, to_alt_record
from atdata.schema.evolve import compare, next_version
from atdata.schema.model import Schema
from atdata.schema.record import from_record, to_record

_MAX_TRIES: Final = 10


class SchemaRecord(dict[str, Any]):
    """The record of a schema: ``name``, ``version``, ``fields``, …, and its reference.

    One of the newer family is given in the terms of ours.

    Attributes:
        ref: Its AT URI.
    """

    def __init__(self, record: Record) -> None:
        value = record.value
        if record.uri.collection == ALT_SCHEMA_COLLECTION:
            schema = _located(record.uri, lambda: from_alt_record(value))
            ours = to_record(schema, lambda nested: nested.name)
            value = {**ours, "createdAt": value.get("createdAt")}
        super().__init__(value)
        self.ref = str(record.uri)


def schema_record(reader: Reader, ref: str) -> Record:
    """The record that a schema reference names.

    Raises:
        SchemaRefError: Not the AT URI of a schema.
        SchemaNotFoundError: There is no such record.
        RecordError: It is no schema.
        SchemaError: Its lexicon does not allow it; says at which path.
    """
    uri = parse_schema_ref(ref)
    if not isinstance(uri, AtUri):
        raise SchemaRefError(
            f"{ref!r} is a schema of a local index; on the network schemas have AT URIs. "
            "Publish it with publish_schema and use what that returns."
        )
    if uri.collection not in (SCHEMA_COLLECTION, ALT_SCHEMA_COLLECTION):
        raise SchemaRefError(
            f"{ref!r} is not a schema: {uri.collection} is not {SCHEMA_COLLECTION}."
        )
    try:
        record = reader.get_record(uri)
    except NotFoundError as error:
        raise SchemaNotFoundError(f"There is no schema {ref}.") from error
    if record.value.get("$type") != uri.collection:
        raise RecordError(f"{ref}: $.$type: expected {uri.collection!r}.")
    try:
        validate(record.value)
    except RecordError as error:
        raise SchemaError(f"{ref}: {error}") from None
    return record


def read_schema(reader: Reader, ref: str) -> Schema:
    """The schema that a reference names, with those that it refers to, in any account.

    Errors are those of `schema_record`, also for schemas that it refers to.
    """
    return parsed_schema(reader, schema_record(reader, ref))


def parsed_schema(reader: Reader, record: Record) -> Schema:
    """The schema that a record holds, with those that it refers to. Errors as for `read_schema`."""

    def parse() -> Schema:
        if record.uri.collection == ALT_SCHEMA_COLLECTION:
            return from_alt_record(record.value)
        return from_record(record.value, lambda ref: read_schema(reader, ref))

    return _located(record.uri, parse)


def _located(uri: AtUri, parse: Callable[[], Schema]) -> Schema:
    try:
        return parse()
    except SchemaError as error:
        raise type(error)(f"{uri}: {error}") from error


def list_schema_records(reader: Reader, did: str) -> Iterator[SchemaRecord]:
    """Every schema of an account, of both families; malformed ones of the newer are skipped."""
    for collection in (SCHEMA_COLLECTION, ALT_SCHEMA_COLLECTION):
        for record in reader.list_records(did, collection):
            try:
                yield SchemaRecord(record)
            except SchemaError:
                continue


def publish_schema(
    client: AtmosphereClient,
    schema: Schema,
    *,
    collection: str = SCHEMA_COLLECTION,
    found: Mapping[tuple[str, str], str | None] = MappingProxyType({}),
) -> str:
    """The URI of a schema in one's own account, published unless it exists.

    A schema matches by name and version, whatever its record key: other tools choose theirs.

    Args:
        client: Logged in.
        schema: The schema.
        collection: The family to publish in; the newer one has no nested samples.
        found: URIs of schemas that were looked for just now, nested ones too, by name and
            version; None: the account does not have it. They are not looked for again: records
            of other tools have to be listed to be found, a request for each hundred.

    Raises:
        SchemaConflictError: There is one of this name and version with other fields.
        AtmosphereError: The server refuses.
    """
    at = AtUri(client.did, collection, schema_rkey(schema.name, schema.version))
    key = schema.name, schema.version
    for attempt in range(_MAX_TRIES):
        if attempt == 0 and key in found:
            uri = found[key]
        else:
            uri = find_schema(client, schema, collection=collection)
        if uri is not None:
            return uri
        if collection == ALT_SCHEMA_COLLECTION:
            record = to_alt_record(schema)
        else:
            record = to_record(schema, lambda nested: _publish_nested(client, nested, found))
        record["createdAt"] = now()
        if put_if_unchanged(client, at, record, replaces=None):
            return str(at)
    raise AtmosphereError(
        f"{at} holds something else than {schema.name}@{schema.version}. Delete that record, or "
        "publish under another version."
    )


def schema_uri_of(did: str, schema: Schema, *, collection: str = SCHEMA_COLLECTION) -> str:
    """Where `publish_schema` writes a new schema."""
    return str(AtUri(did, collection, schema_rkey(schema.name, schema.version)))


def find_schema(
    client: AtmosphereClient, schema: Schema, *, collection: str = SCHEMA_COLLECTION
) -> str | None:
    """The URI of this very schema in one's own account, if this family has it.

    Raises:
        SchemaConflictError: There is one of this name and version with other fields.
    """
    ours = find_record(client, schema_uri_of(client.did, schema, collection=collection))
    foreign = foreign_records(client, client.did, collection)
    conflict: bool | str | None = None
    for record in chain(filter(None, [ours]), foreign):
        found = _agrees(client, record, schema)
        if found is True:
            return str(record.uri)
        conflict = conflict or found
    if conflict:
        raise SchemaConflictError(conflict)
    return None


def _agrees(client: AtmosphereClient, record: Record, schema: Schema) -> bool | str | None:
    """True: this is it. None: another name or version. A str: how the fields differ."""
    value = record.value
    if value.get("name") != schema.name or value.get("version") != schema.version:
        return None
    try:
        existing = parsed_schema(client, record)
        if record.uri.collection == ALT_SCHEMA_COLLECTION:
            existing, schema = _in_order(existing), _in_order(schema)
        diff = compare(existing, schema)
    except SchemaError as error:
        diff = error  # type: ignore[assignment]
    if not diff:
        return True
    return (
        f"{schema.name}@{schema.version} is already published with other fields, as {record.uri}. "
        f"Publish under another version; version=None chooses one.\n{diff}"
    )


def _in_order(schema: Schema) -> Schema:
    """By name of the fields: records of the newer family keep no other order."""
    return replace(schema, fields=tuple(sorted(schema.fields, key=lambda field: field.name)))


def publish_next(client: AtmosphereClient, schema: Schema) -> str:
    """The newest version with these fields, else the one after the latest, published.

    The version in ``schema`` plays no part. The first is 1.0.0.
    """
    for _ in range(_MAX_TRIES):
        versions = _versions(client, schema.name)
        # Programs with two versions of a class run at once: each finds its own.
        for record in versions:
            if _has_fields(client, record, schema):
                return str(record.uri)
        version = "1.0.0"
        if versions:
            version = next_version(parsed_schema(client, versions[0]), schema)
        try:
            absent = {(schema.name, version): None}
            return publish_schema(client, schema.with_version(version), found=absent)
        except SchemaConflictError:
            continue  # another process took this version
    raise AtmosphereError(f"Versions of {schema.name} are published by others again and again.")


def _has_fields(client: AtmosphereClient, record: Record, schema: Schema) -> bool:
    try:
        return not compare(parsed_schema(client, record), schema)
    except SchemaError:
        return False  # a malformed old version is no reason not to publish


def _versions(client: AtmosphereClient, name: str) -> list[Record]:
    """The records of every version of a class, newest first."""
    found: list[tuple[Version, Record]] = []
    ours = records_in(client, client.did, SCHEMA_COLLECTION, schema_range(name))
    for record in (*ours, *foreign_records(client, client.did, SCHEMA_COLLECTION)):
        try:
            if record.value.get("name") == name:
                found.append((Version.parse(record.value["version"]), record))
        except (KeyError, RefError):
            continue
    return [record for _, record in sorted(found, key=lambda pair: pair[0], reverse=True)]


def nested_schema(nested: Nested) -> Schema:
    """The schema of samples inside samples, as it is published."""
    return Schema.of_nested(nested)


def _publish_nested(
    client: AtmosphereClient, nested: Nested, found: Mapping[tuple[str, str], str | None]
) -> str:
    schema = nested_schema(nested)
    if nested.version:
        return publish_schema(client, schema, found=found)
    return publish_next(client, schema)
