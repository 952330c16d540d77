"""The type of samples that a schema file next to their shards records."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import IO, Any, Final

from atdata._limits import limits
from atdata._protocols import DataSource
from atdata._shardlist import head_of, scheme_of
from atdata.errors import (
    NotFoundError,
    SchemaConflictError,
    SchemaError,
    ShardError,
    SourceError,
    UnknownKindError,
)
from atdata.net.documents import parse_json
from atdata.schema.build import build_type
from atdata.schema.model import Schema
from atdata.schema.readable import why_unreadable
from atdata.schema.schema_file import BEGINNING, SUFFIX, from_document
from atdata.sources.capabilities import local_path, open_neighbour
from atdata.system.files import open_file

_MOST_REQUESTS: Final = 100
"""Schema files that are asked for on servers, one after the other."""


def recorded_type(source: DataSource) -> type[Any] | None:
    """The type that schema files next to all shards of a source record.

    Returns:
        None if a shard has none, or they record different types.

    Raises:
        UnknownKindError: The type has a kind that this version does not know.
        SchemaError: A schema file is damaged or too large.
    """
    found = recorded_schema(source)
    return None if found is None else build_type(found[0])


def check_recorded(source: DataSource, sample_type: type) -> None:
    """Refuse a type as which no sample can be read, by what schema files next to shards record.

    Raises:
        SchemaConflictError: Names the first field that differs.
        SchemaError: A schema file is damaged or too large.
    """
    try:
        found = recorded_schema(source)
    except UnknownKindError:
        return
    if found is None:
        return
    schema, place = found
    reason = why_unreadable(schema, sample_type)
    if reason is not None:
        raise SchemaConflictError(
            f"The samples cannot be read as {sample_type.__name__}: {place} records them as "
            f"{schema.name}. {reason}. Leave the type out to read them as they were written; or "
            "remove that file, if it is of other shards."
        )


def recorded_schema(source: DataSource) -> tuple[Schema, str] | None:
    """The schema that all shards of a source have next to them, and the first file that has it.

    Result and errors are those of `recorded_type`.
    """
    files = _SchemaFiles(source)
    found: tuple[Schema, str] | None = None
    for shard in source.shard_list:
        own = files.of(shard)
        if own is None:
            return None
        found = found or own
        if own[0] != found[0] or own[0].name != found[0].name:
            return None
    return found


class _SchemaFiles:
    """The schema files next to the shards of a source, each read once."""

    def __init__(self, source: DataSource) -> None:
        self._source = source
        self._read: dict[str, tuple[Schema, str] | None] = {}
        self._requests = 0

    def of(self, shard: str) -> tuple[Schema, str] | None:
        """The schema of a shard's samples and the file that it is in, if there is one."""
        path = local_path(self._source, shard)
        plain = str(path) if path is not None else shard
        if path is None and scheme_of(shard) != "s3":
            plain = shard.partition("?")[0]
        # Numbered shards have one file together; a shard that was written alone may have a number.
        for described in filter(None, (head_of(plain), plain)):
            if described not in self._read:
                self._read[described] = self._schema(shard, path, described + SUFFIX)
            if (found := self._read[described]) is not None:
                return found
        return None

    def _schema(self, shard: str, path: Path | None, place: str) -> tuple[Schema, str] | None:
        data = self._local(Path(place)) if path is not None else self._remote(shard, place)
        try:
            schema = None if data is None else _parsed(data)
        except SchemaError as error:
            raise type(error)(f"{place}: {error}") from None
        return None if schema is None else (schema, place)

    def _local(self, place: Path) -> bytes | None:
        try:
            with open_file(place) as file:
                return file.read(limits.schema_file + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SourceError(
                f"{place}: the type of the samples cannot be read ({error.strerror}). Make the "
                "file readable, or remove it."
            ) from error

    def _remote(self, shard: str, place: str) -> bytes | None:
        self._requests += 1
        if self._requests > _MOST_REQUESTS:
            return None
        try:
            name = place.rpartition("/")[2]
            with closing(open_neighbour(self._source, shard, name)) as stream:
                return _read_at_most(stream, limits.schema_file + 1)
        except (NotFoundError, SourceError, ShardError):
            # None, or no permission to read it: as if the shards had been written without.
            return None


def _read_at_most(stream: IO[bytes], most: int) -> bytes:
    chunks = []
    while most and (chunk := stream.read(min(most, 1 << 20))):
        chunks.append(chunk)
        most -= len(chunk)
    return b"".join(chunks)


def _parsed(data: bytes) -> Schema | None:
    """The schema in a file; None if another program wrote it, or it names no type."""
    ours = data.startswith(BEGINNING)
    if len(data) > limits.schema_file:
        if ours:
            raise SchemaError(
                f"a schema file of more than {limits.schema_file:,} bytes, which "
                "limits.schema_file allows."
            )
        return None
    try:
        document = parse_json(data)
    except ValueError as error:
        if ours:
            raise SchemaError(
                f"damaged: {error}. Remove it and give the type, or write the samples again."
            ) from None
        return None
    return from_document(document)
