"""The schemas of a local index: published once, never changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from atdata._json_checks import in_schema
from atdata._limits import limits
from atdata._refs import AtUri, LocalSchemaRef, Version, parse_schema_ref
from atdata.errors import BackendError, SchemaConflictError, SchemaError, SchemaNotFoundError
from atdata.indexing.did_you_mean import did_you_mean
from atdata.local.backends.base import PAGE_ROWS, Backend, SchemaRow, in_pages
from atdata.local.mirrored import SCHEMA_NOTE
from atdata.samples.kinds import Nested
from atdata.schema.checks import check_limits
from atdata.schema.evolve import compare, next_version
from atdata.schema.model import Schema
from atdata.schema.record import from_record, to_record
from atdata.schema.reflect import schema_of

_MAX_TRIES: Final = 100
"""How often others may be faster."""


class SchemaRecord(dict[str, Any]):
    """The record of a schema: ``name``, ``version``, ``fields``, …, and its reference.

    Attributes:
        ref: ``atdata://local/sampleSchema/{Class}@{version}``.
    """

    def __init__(self, ref: str, record: Mapping[str, Any]) -> None:
        super().__init__(record)
        self.ref = ref


class Schemas:
    """Publishes and finds the schemas in one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def publish(
        self,
        sample_type: type | Schema,
        *,
        version: str | None,
        description: str | None,
        metadata: Mapping[str, Any] | None,
    ) -> str:
        """See `LocalIndex.publish_schema`."""
        if isinstance(sample_type, Schema):
            schema = sample_type
            version = schema.version if version is None else version
            if description is not None or metadata is not None:
                schema = replace(schema, description=description, metadata=metadata)
        else:
            schema = schema_of(sample_type, description=description, metadata=metadata)
        _check(schema)
        if version is None:
            return self._publish_next(schema)
        return self._publish_as(schema.with_version(version))

    def _publish_as(self, schema: Schema) -> str:
        """Find the schema under its version, or add it."""
        for _ in range(_MAX_TRIES):
            row = self._backend.schema(_key(_ref_of(schema)))
            if row is not None:
                existing = self._read(row)
                if existing.fields != schema.fields:
                    raise _conflict(existing, schema)
                return str(_ref_of(existing))
            # Another process may add it in between: then look again.
            if self._add(schema):
                return str(_ref_of(schema))
        raise self._unsettled(schema)

    def _publish_next(self, schema: Schema) -> str:
        """Find the newest version with these fields, or add the one after the latest."""
        for _ in range(_MAX_TRIES):
            rows = self._versions(schema.class_name)
            if rows:
                # Classes of several modules may share a name, and so the row of versions.
                own = [row for row in rows if _record(row).get("name") == schema.name] or rows
                # Programs with two versions of a class run at once: each finds its own.
                for row in reversed(own):
                    existing = self._read(row)
                    if existing.fields == schema.fields:
                        return str(_ref_of(existing))
                schema = schema.with_version(next_version(self._read(own[-1]), schema))
                if any(row.key == _key(_ref_of(schema)) for row in rows):
                    last = Version.parse(_parse_key(rows[-1].key).version)
                    schema = schema.with_version(str(Version(last.major + 1, 0, 0)))
            if self._add(schema):
                return str(_ref_of(schema))
        raise self._unsettled(schema)

    def _unsettled(self, schema: Schema) -> BackendError:
        return BackendError(
            f"{self._backend.address}: {_ref_of(schema)} was neither found nor could it be added, "
            f"{_MAX_TRIES} times. If many programs publish versions of {schema.name} at once, try "
            "again; else the index is damaged: restore it from a copy."
        )

    def _add(self, schema: Schema) -> bool:
        record = to_record(schema, self._publish_nested)
        record["createdAt"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        row = SchemaRow(_key(_ref_of(schema)), json.dumps(record, separators=(",", ":")))
        return self._backend.add_schema(row) == row

    def _publish_nested(self, kind: Nested) -> str:
        schema = Schema.of_nested(kind)
        if kind.version is not None:
            try:
                return self._publish_as(schema)
            except SchemaConflictError:
                # Where it came from that version has these fields; here it has others.
                pass
        return self._publish_next(schema)

    def record(self, ref: str) -> SchemaRecord:
        """See `LocalIndex.get_schema`."""
        if str(ref).startswith("at://") and (kept := self._backend.note(f"{SCHEMA_NOTE}{ref}")):
            return _mirrored(ref, kept)
        parsed = self.parse(ref)
        row = self._backend.schema(_key(parsed))
        if row is None:
            raise self._not_found(parsed)
        return _record(row)

    def records(self) -> Iterator[SchemaRecord]:
        """Every schema, by class name and then by version; then copies of the network's."""
        yield from map(_record, self._rows("", None))
        for key, kept in self._backend.each_note(SCHEMA_NOTE):
            yield _mirrored(key.removeprefix(SCHEMA_NOTE), kept)

    def schema(self, ref: str) -> Schema:
        """See `LocalIndex.schema_of_ref`."""
        return from_record(self.record(ref), self.schema)

    def parse(self, ref: str) -> LocalSchemaRef:
        """A reference of this index.

        Raises:
            SchemaRefError: It cannot be parsed.
            SchemaNotFoundError: It is one of the network.
        """
        parsed = parse_schema_ref(ref)
        if isinstance(parsed, AtUri):
            raise SchemaNotFoundError(
                f"{ref} is a schema of the network, not of this index. Publish it here with "
                "index.publish_schema(atmosphere_index.decode_schema(ref))."
            )
        return parsed

    def _read(self, row: SchemaRow) -> Schema:
        return from_record(_record(row), self.schema)

    def _versions(self, class_name: str) -> list[SchemaRow]:
        """Every version of the classes of this name, oldest first."""
        return list(self._rows(f"{class_name} ", f"{class_name}!"))

    def _rows(self, after: str, before: str | None) -> Iterator[SchemaRow]:
        return in_pages(
            lambda last: self._backend.schemas(last, before, PAGE_ROWS), lambda row: row.key, after
        )

    def _not_found(self, ref: LocalSchemaRef) -> SchemaNotFoundError:
        name = ref.class_name
        versions = [_parse_key(row.key).version for row in self._versions(name)]
        if versions:
            hint = f"Published versions of {name}: {', '.join(versions[-10:])}."
        else:
            rows = self._backend.schemas("", None, PAGE_ROWS)
            rows += self._backend.schemas(name[:1], None, PAGE_ROWS)
            names = {_parse_key(row.key).class_name for row in rows}
            hint = did_you_mean(name, names).rstrip() or "Publish it: publish_schema()."
            if not names:
                hint = f"It has none: is {self._backend.address} the right place? {hint}"
        return SchemaNotFoundError(
            f"This index has no schema {ref}. {hint} index.list_schemas() shows what is published."
        )


def _check(schema: Schema) -> None:
    """Refuse what could not be read back, before anything is written."""
    if len(schema.name) > limits.name_length:
        raise SchemaError(
            f"{schema.name[:80]}…: a name has at most {limits.name_length} characters."
        )
    check_limits(schema.name, schema.fields)
    if schema.metadata is not None:
        in_schema.mapping(schema.metadata, f"{schema.name}: metadata")
    inside: dict[str, Schema] = {}

    def stand_in(kind: Nested) -> str:
        ref = str(LocalSchemaRef(f"Nested{len(inside)}", "1.0.0"))
        inside[ref] = Schema.of_nested(kind).with_version("1.0.0")
        return ref

    try:
        from_record(to_record(schema, stand_in), inside.__getitem__)
    except SchemaError as error:
        raise SchemaError(f"{schema.name} cannot be published. {error}") from error
    for nested in inside.values():
        _check(nested)


def _conflict(existing: Schema, schema: Schema) -> SchemaConflictError:
    return SchemaConflictError(
        f"{_ref_of(schema)} is published with other fields:\n{compare(existing, schema)}\n"
        "Publish it with version=None to get the next version, or under a version of your own."
    )


def _ref_of(schema: Schema) -> LocalSchemaRef:
    return LocalSchemaRef(schema.class_name, schema.version)


# A space sorts before every character of a class name, so that the versions of one class stand
# together, in order.
def _key(ref: LocalSchemaRef) -> str:
    version = Version.parse(ref.version)
    return f"{ref.class_name} {version.major:09d}.{version.minor:09d}.{version.patch:09d}"


def _parse_key(key: str) -> LocalSchemaRef:
    class_name, _, version = key.rpartition(" ")
    try:
        return LocalSchemaRef(class_name, str(Version(*map(int, version.split(".")))))
    except (ValueError, TypeError) as error:
        raise _damaged(key, error) from error


def _record(row: SchemaRow) -> SchemaRecord:
    try:
        return SchemaRecord(str(_parse_key(row.key)), json.loads(row.document))
    except (ValueError, TypeError) as error:
        raise _damaged(row.key, error) from error


def _mirrored(uri: str, kept: str) -> SchemaRecord:
    try:
        return SchemaRecord(uri, json.loads(kept))
    except (ValueError, TypeError) as error:
        raise _damaged(uri, error) from error


def _damaged(what: str, error: Exception) -> BackendError:
    return BackendError(
        f"The index is damaged: the schema {what!r} cannot be read ({type(error).__name__}). "
        "Restore the index from a copy."
    )
