"""Files of other formats: found, read, and written whole or not at all."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from atdata._registry import require
from atdata.errors import OptionError, ShardNotFoundError, SourceError, StoreError
from atdata.system.durable import make_folders, place_file
from atdata.system.files import user_path
from atdata.system.scratch import Scratch

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def expanded(path: str | Path | Sequence[str | Path], suffix: str) -> list[Path]:
    """The files that a caller names, in order; of a folder those with this suffix.

    Raises:
        ShardNotFoundError: There is none.
    """
    if not isinstance(path, str | Path):
        return [file for each in path for file in expanded(each, suffix)]
    place = user_path(path)
    if place.is_dir():
        found = sorted(place.rglob(f"*{suffix}"))
        if not found:
            raise ShardNotFoundError(f"The folder {str(place)!r} has no {suffix} files.")
        return found
    if place.exists():
        return [place]
    whole = place.absolute()
    found = sorted(Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))))
    if not found:
        raise ShardNotFoundError(f"There is no file {str(place)!r}.")
    return found


@contextmanager
def read_errors(file: Path, what: str) -> Iterator[None]:
    """Turn what pyarrow raises about a file into our error.

    Raises:
        SourceError: It is not what it should be, damaged, or cannot be read.
    """
    pyarrow = require("pyarrow", purpose=what)
    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{file} cannot be read as {what}: {error}") from error


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A path to write a file to, which gets its name when the block ends without an error.

    Raises:
        OptionError: The path is that of a folder, or a URL.
        StoreError: The disk is full, or cannot be written.
    """
    if isinstance(path, str) and "://" in path:
        raise OptionError(f"{path!r} is a URL; files are written to a path.")
    final = user_path(path)
    if final.is_dir():
        raise OptionError(f"{str(final)!r} is a folder; name the file to write.")
    try:
        make_folders(final.parent)
        with Scratch(final.parent, f".{final.name}.atdata-") as scratch:
            part = scratch.path / final.name
            yield part
            place_file(part, final)
    except OSError as error:
        if isinstance(error, StoreError | SourceError | ShardNotFoundError):
            raise
        full = "the disk is full" if error.errno in _FULL else str(error)
        raise StoreError(f"{final} was not written: {full}.") from error
