"""JSON lines: one object a line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from atdata._limits import limits
from atdata.dataset.dataset import Dataset
from atdata.errors import AtdataError, EncodeError, OptionError, SchemaError, SourceError
from atdata.exchange.field_names import class_name, field_names
from atdata.exchange.fields import typed_fields
from atdata.exchange.files import expanded, whole_file
from atdata.exchange.importer import MODULE, Importer, samples_of
from atdata.exchange.infer_values import Seen
from atdata.exchange.json_form import from_json, to_json, without_json
from atdata.samples.codec import codec_of
from atdata.samples.kinds import Field, Misfit
from atdata.schema.build import build_type
from atdata.schema.model import Schema
from atdata.shards.columns.packers import Values
from atdata.system.files import open_file

T = TypeVar("T")
_ROWS: Final = 1024


def to_jsonl(dataset: Dataset[Any], path: str | Path) -> Path:
    """Write one JSON object a sample; see `Dataset.to_jsonl`."""
    chosen = typed_fields(dataset).values()
    for field in chosen:
        if lacks := without_json(field.kind):
            raise OptionError(
                f"{dataset.sample_type.__name__}.{field.name} is {lacks}, which JSON lacks. Leave "
                "it out, dataset.select(…), or write a Parquet file."
            )
    with whole_file(path) as file, file.open("w", encoding="utf-8", newline="\n") as lines:
        for number, sample in enumerate(dataset.ordered()):
            row = {}
            for field in chosen:
                try:
                    row[field.name] = to_json(field.value_kind, getattr(sample, field.name))
                except Misfit as misfit:
                    name = dataset.sample_type.__name__
                    raise EncodeError(
                        f"sample {number:,}: {name} {misfit.at(f'.{field.name}')}"
                    ) from None
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    return Path(path)


def from_jsonl(
    path: str | Path | Sequence[str | Path],
    sample_type: type[T] | None = None,
    *,
    columns: Sequence[str] | Mapping[str, str] | None = None,
) -> Importer[Any]:
    """The lines of JSON files as samples; a batch of lines at a time is in memory.

    Without a class the files are read twice: what a key holds is known at their end.

    Args:
        path: A file, also ``.jsonl.gz``; a pattern, a folder of them, or several files.
        sample_type: Type of the samples, whose fields are found by name; None: one is made of the
            values. Values of several sorts are `Json`.
        columns: The keys to import; as a dict, key → name of its field; None: all.

    Raises:
        SourceError: A file does not exist, or a line is no JSON object; names the line.
        EncodeError: A value does not fit; names file, line and key.
    """
    files = expanded(path, ".jsonl")
    where = str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1:,} more"
    asked: dict[str, str] | None = None
    if columns is not None:
        named = isinstance(columns, Mapping)
        asked = dict(columns) if named else {each: each for each in columns}  # type: ignore[arg-type]
    notes: list[str] = []
    count: int | None = None
    if sample_type is None:
        sample_type, read, count = _inferred(files, where, asked, notes)
    else:
        known = codec_of(sample_type).by_name
        read = {
            name: next((key for key, to in (asked or {}).items() if to == name), name)
            for name in known
        }
    made: type = sample_type

    def batches() -> Iterator[Mapping[str, Values]]:
        rows = _rows(files)
        while batch := list(islice(rows, _ROWS)):
            yield _converted(batch, made, read)

    return Importer(made, batches, source=where, count=count, notes=tuple(notes))


def _inferred(
    files: list[Path], where: str, asked: dict[str, str] | None, notes: list[str]
) -> tuple[type, dict[str, str], int]:
    seen: dict[str, Seen] = {}
    count = 0
    for _, _, row in _rows(files):
        count += 1
        for key, value in row.items():
            if asked is None or key in asked:
                if key not in seen:
                    seen[key] = Seen()
                    if len(seen) > limits.fields:
                        raise SchemaError(f"{where}: more than {limits.fields:,} keys.")
                seen[key].add(value)
    if not seen:
        raise SchemaError(f"{where}: no key in {count:,} lines, and so nothing to import.")
    for key in asked or ():
        if key not in seen:
            raise OptionError(f"{where} has no key {key!r}. It has: {', '.join(seen)}.")
    wanted = [asked[key] if asked else key for key in seen]
    names = field_names(wanted)
    name = f"{MODULE}.{class_name(files[0].name.partition('.')[0])}"
    fields = []
    for key, field in zip(seen, names, strict=True):
        found = seen[key]
        missing = count - found.count + found.nulls
        fields.append(Field(field, found.kind(f"{name}.{field}"), bool(missing)))
        if field != (asked or {}).get(key, key):
            notes.append(f"The key {key!r} is the field {field}.")
        if missing:
            notes.append(f"The field {field} is None in {samples_of(missing)}.")
    try:
        made = build_type(Schema(name, "1.0.0", tuple(fields)))
    except AtdataError as error:
        raise SchemaError(f"{where}: {error}") from None
    return made, dict(zip(names, seen, strict=True)), count


def _converted(
    batch: list[tuple[Path, int, dict[str, Any]]], made: type, read: dict[str, str]
) -> Mapping[str, Values]:
    codec: Any = codec_of(made)
    columns: dict[str, list[Any]] = {}
    for name, key in read.items():
        kind = codec.by_name[name].value_kind
        column = columns[name] = []
        for file, number, row in batch:
            try:
                column.append(from_json(kind, row[key]) if key in row else codec.missing(name))
            except Misfit as misfit:
                if not misfit.steps:
                    misfit.at(f".{key}")
                raise EncodeError(f"{file}, line {number:,}: {misfit}") from None
    return columns


def _rows(files: list[Path]) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    for file in files:
        for number, line in _lines(file):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise SourceError(f"{file}, line {number:,}: no JSON: {error}.") from None
            if not isinstance(row, dict):
                raise SourceError(
                    f"{file}, line {number:,}: expected an object, {{…}}, found "
                    f"{type(row).__name__}. JSON lines have one object a line."
                )
            yield file, number, row


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with open_file(file) as raw:
            lines: Any = gzip.GzipFile(fileobj=raw) if file.suffix == ".gz" else raw
            number = 0
            while line := lines.readline(limits.sample_bytes + 1):
                number += 1
                if len(line) > limits.sample_bytes:
                    raise SourceError(
                        f"{file}, line {number:,}: longer than limits.sample_bytes, "
                        f"{limits.sample_bytes:,}."
                    )
                if line.strip():
                    yield number, line.removeprefix(b"\xef\xbb\xbf")
    except (OSError, EOFError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{file} cannot be read: {error}") from error
