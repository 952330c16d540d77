"""Folders of pictures, by class or with a table of what they show."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Final

from atdata._limits import limits
from atdata._registry import FORMATS
from atdata.errors import AtdataError, OptionError, SchemaError, ShardNotFoundError, SourceError
from atdata.exchange.field_names import class_name, field_names
from atdata.exchange.importer import MODULE, Importer
from atdata.exchange.infer_values import Seen
from atdata.exchange.json_form import from_json
from atdata.samples.codec import codec_of
from atdata.samples.kinds import ClassLabel, Encoded, Field, Primitive
from atdata.samples.media import Image
from atdata.samples.picture_header import picture_format
from atdata.schema.build import build_type
from atdata.schema.model import Schema
from atdata.shards.columns.packers import Values
from atdata.system.files import open_file, user_path

SUFFIXES: Final = FORMATS["images"].suffixes
_TABLES: Final = ("metadata.jsonl", "metadata.csv")
_FILE_NAME: Final = "file_name"
"""The column of a table that names the picture, relative to the table's folder."""
_ROWS_BYTES: Final = 16 << 20
_MOST_ROWS: Final = 1024


def from_images(folder: str | Path, *, labels: bool | None = None) -> Importer[Any]:
    """The pictures of a folder as samples; their bytes are copied, not decoded.

    The field ``image`` is the picture, ``path`` its path in the folder. Where all pictures lie in
    folders of the first level, as in ``cats/1.jpg``, the names of these are the classes of the
    field ``label``. A ``metadata.csv`` or ``metadata.jsonl`` in the folder adds its columns: its
    column ``file_name`` names each picture, and every picture must be there.

    Args:
        folder: The folder; those below it are searched, links to folders are not followed.
        labels: Whether folders are classes; None: if all pictures lie in one, and the table, if
            there is one, has no column ``label``.

    Raises:
        ShardNotFoundError: There is no such folder, or no picture in it.
        SourceError: A file is no picture, or the table and the pictures do not match; names it.
    """
    place = user_path(folder)
    if not place.is_dir():
        raise ShardNotFoundError(f"There is no folder {str(place)!r}.")
    files = sorted(
        PurePosixPath(file.relative_to(place).as_posix())
        for file in place.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and not _is_hidden(file.relative_to(place))
        and file.is_file()
    )
    if not files:
        raise ShardNotFoundError(
            f"The folder {str(place)!r} has no pictures: files that end with "
            f"{', '.join(sorted(SUFFIXES))}."
        )
    table = _table(place)
    classes = sorted({file.parts[0] for file in files}) if _all_below(files) else []
    if labels is None:
        labels = bool(classes) and not any("label" in row for row in (table or {}).values())
    if labels and not classes:
        raise OptionError(
            f"labels=True: {files[0]} is not in a folder of its class, such as "
            f"cats/{files[0].name}."
        )
    fields = [Field("image", Encoded("image"))]
    if labels:
        fields.append(Field("label", ClassLabel(*classes)))
    fields.append(Field("path", Primitive("str")))
    rows, more, notes = _rows(place, files, table, {each.name for each in fields})
    made: type = _built(place, (*fields, *more))
    kinds = {each.name: each.value_kind for each in codec_of(made).fields}
    numbers = {name: number for number, name in enumerate(classes)}

    def batches() -> Iterator[Mapping[str, Values]]:
        rest = iter(files)
        while True:
            columns: dict[str, list[Any]] = {name: [] for name in kinds}
            size = 0
            for file in islice(rest, _MOST_ROWS):
                data = _picture(place / file)
                columns["image"].append(Image(data))
                columns["path"].append(str(file))
                if labels:
                    columns["label"].append(numbers[file.parts[0]])
                for name, value in rows.get(file, {}).items():
                    columns[name].append(from_json(kinds[name], value))
                size += len(data)
                if size >= _ROWS_BYTES:
                    break
            if not columns["image"]:
                return
            yield columns

    return Importer(made, batches, source=str(place), count=len(files), notes=tuple(notes))


def _built(place: Path, fields: tuple[Field, ...]) -> type:
    try:
        return build_type(Schema(f"{MODULE}.{class_name(place.name)}", "1.0.0", fields))
    except AtdataError as error:
        raise SchemaError(f"{place}: {error}") from None


def _is_hidden(file: Path) -> bool:
    return any(part.startswith(".") for part in file.parts)


def _all_below(files: list[PurePosixPath]) -> bool:
    return all(len(file.parts) > 1 for file in files)


def _picture(file: Path) -> bytes:
    try:
        with open_file(file) as opened:
            data = opened.read(limits.sample_bytes + 1)
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error}") from error
    if len(data) > limits.sample_bytes:
        raise SourceError(f"{file}: larger than limits.sample_bytes, {limits.sample_bytes:,}.")
    if picture_format(data) is None:
        raise SourceError(
            f"{file} is no picture by its first bytes. Remove it, or fetch it again. Nothing was "
            "written."
        )
    return data


def _table(place: Path) -> dict[PurePosixPath, dict[str, Any]] | None:
    """What a table says of each picture; None: there is no table."""
    found = [place / name for name in _TABLES if (place / name).is_file()]
    if not found:
        return None
    file = found[0]
    rows: dict[PurePosixPath, dict[str, Any]] = {}
    for number, row in enumerate(_lines(file), 1):
        name = row.pop(_FILE_NAME, None)
        if not isinstance(name, str):
            raise SourceError(
                f"{file}, row {number:,}: no {_FILE_NAME!r}, which names the picture."
            )
        if PurePosixPath(name) in rows:
            raise SourceError(f"{file}, row {number:,}: {name!r} has two rows.")
        rows[PurePosixPath(name)] = row
    return rows


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            if file.suffix == ".csv":
                for row in csv.DictReader(opened, strict=True):
                    if None in row or None in row.values():
                        raise SourceError(f"{file}: a line has another number of values.")
                    yield {key: _number(value) for key, value in row.items()}
                return
            for number, line in enumerate(opened, 1):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise SourceError(f"{file}, line {number:,}: no object, {{…}}.")
                yield row
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        if isinstance(error, AtdataError):
            raise
        raise SourceError(f"{file} cannot be read: {error}") from error


def _number(text: str) -> Any:
    """A value of CSV: None where it is empty, a number where it prints as it is written."""
    for convert in (int, float):
        try:
            if str(convert(text)) == text:
                return convert(text)
        except ValueError:
            continue
    return text or None


def _rows(
    place: Path,
    files: list[PurePosixPath],
    table: dict[PurePosixPath, dict[str, Any]] | None,
    taken: set[str],
) -> tuple[dict[PurePosixPath, dict[str, Any]], list[Field], list[str]]:
    if table is None:
        return {}, [], []
    for name, found, there in (
        ("has no row", files, table),
        ("is no file", table, dict.fromkeys(files)),
    ):
        lost = next((each for each in found if each not in there), None)
        if lost is not None:
            raise SourceError(f"{place}: {str(lost)!r} {name}; the table and the pictures differ.")
    seen: dict[str, Seen] = {}
    for row in table.values():
        for key in row:
            seen.setdefault(key, Seen())
    for row in table.values():
        for key, each in seen.items():
            each.add(row.get(key))
    keys = list(seen)
    names = field_names([*taken, *keys])[len(taken) :]
    name = f"{MODULE}.{class_name(place.name)}"
    fields = [
        Field(field, seen[key].kind(f"{name}.{field}"), bool(seen[key].nulls))
        for field, key in zip(names, keys, strict=True)
    ]
    rows = {
        file: {field: row.get(key) for field, key in zip(names, keys, strict=True)}
        for file, row in table.items()
    }
    pairs = zip(names, keys, strict=True)
    notes = [f"The column {key!r} is the field {field}." for field, key in pairs if field != key]
    return rows, fields, notes
