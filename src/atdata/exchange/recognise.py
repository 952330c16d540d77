"""A path → the format of what it names, by its first bytes or the end of its name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from atdata._registry import FORMATS, Format, load_function
from atdata.errors import OptionError, ShardError, ShardNotFoundError, SourceError
from atdata.exchange.importer import Importer
from atdata.shards.tar.sniff import refuse_other_forms
from atdata.system.files import open_file, user_path


def importer_of_path(path: str, sample_type: type | None = None) -> Importer[Any]:
    """What a path names, as samples: a file of a table, a folder of such files, or of pictures.

    Args:
        path: The path; a pattern with ``*`` for several files.
        sample_type: Type of the samples; None: one is made.

    Raises:
        ShardNotFoundError: There is no such file.
        OptionError: It is shards already, or of no format that is known; says what it is.
    """
    row = format_of(path)
    assert row.reader is not None
    read = load_function(row.reader)
    if row.reads_by == "from_images":
        if sample_type is not None:
            raise OptionError("Pictures of a folder have a type of their own: leave the type out.")
        return read(path)  # type: ignore[no-any-return]
    return read(path, sample_type)  # type: ignore[no-any-return]


def format_of(path: str) -> Format:
    """The format of what a path names. Errors are those of `importer_of_path`."""
    place = user_path(path)
    if place.is_dir():
        return _of_folder(place)
    if place.is_file():
        return _of_file(place)
    found = of_name(path)
    if found is None or not any(mark in path for mark in "*?["):
        raise ShardNotFoundError(f"There is no file or folder {path!r}.")
    return found


def of_name(path: str) -> Format | None:
    """The format of files that end like this."""
    name = Path(path).name.lower()
    rows = (row for row in FORMATS.values() if name.endswith(row.suffixes))
    return next(rows, None) if name else None


def _of_folder(place: Path) -> Format:
    found: Counter[str] = Counter()
    for file in place.rglob("*"):
        row = of_name(file.name)
        if file.suffix == ".tar":
            raise OptionError(
                f"{place} has shards already, such as {file.name}: atdata insert records them."
            )
        # A table of pictures lies next to them.
        if row is not None and file.stem != "metadata":
            found[row.reads_by] += 1
    if len(found) != 1:
        shown = ", ".join(f"{count:,} for {name}" for name, count in found.items())
        which = f"several formats ({shown})" if found else "no format that is known"
        raise OptionError(
            f"{place} has files of {which}. Name the files of one, such as "
            f"{str(place / '*.parquet')!r}. Known: {_known()}."
        )
    [name] = found
    return next(row for row in FORMATS.values() if row.reads_by == name)


def _of_file(place: Path) -> Format:
    try:
        with open_file(place) as file:
            start = file.read(512)
    except OSError as error:
        raise SourceError(f"{place} cannot be read: {error}") from error
    for row in FORMATS.values():
        if start.startswith(row.magic):
            return row
    row_by_name = of_name(place.name)
    if row_by_name is not None and row_by_name.reads_by == "from_images":
        raise OptionError(f"{place} is one picture: name its folder.")
    if row_by_name is not None and not row_by_name.magic and _is_itself(start):
        return row_by_name
    if row_by_name is not None and start.startswith(b"PK"):
        return row_by_name
    try:
        refuse_other_forms(memoryview(start))
    except ShardError as error:
        raise OptionError(
            f"{place} cannot be imported: it is {error}. Known: {_known()}."
        ) from None
    raise OptionError(f"{place} is a shard already: atdata insert records it.")


def _is_itself(start: bytes) -> bool:
    """Whether text may be what its name says: a page or a pointer may have taken its place."""
    text = start.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    return not text.startswith((b"<!doctype", b"<html", b"version https://git-lfs"))


def _known() -> str:
    rows = (row for row in FORMATS.values() if row.suffixes)
    return ", ".join(f"{row.what} ({row.suffixes[0]})" for row in rows)
