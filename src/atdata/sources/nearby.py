"""What else is in a folder of shards, for errors and warnings."""

from __future__ import annotations

import os
import re
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Final

from atdata._registry import FORMATS
from atdata._warnings import warn
from atdata.errors import UnreadFilesWarning

_MAX_ENTRIES: Final = 10_000
"""Entries of a folder that are looked at."""
_MAX_SUFFIXES: Final = 5
COMPRESSED: Final = re.compile(
    r"\.(tar\.(gz|bz2|xz|zst|zstd|lz4|Z)|tgz|tbz2?|txz|tzst)$", re.IGNORECASE
)
"""Suffixes of compressed tars."""
_IMPORT: Final = (
    "make shards of them by: atdata import {0} --name NAME, or atdata.from_images({0!r})"
)
_TAR: Final = re.compile(r"\.tar$")


def warn_of_compressed(folder: Path) -> None:
    """Warn if a folder has compressed tars next to its shards: they are not read."""
    found = sorted(entry.name for entry in _entries(folder) if COMPRESSED.search(entry.name))
    if found:
        warn(
            UnreadFilesWarning(
                f"{folder}: {len(found):,} compressed {_s(len(found), 'tar')} {_were(found)} not "
                f"read, such as {found[0]}. Decompress them to plain .tar files"
            ),
        )


def instead_of_shards(folder: Path) -> str:
    """What a folder without a .tar holds, and what to do; "" if it is empty."""
    kinds: Counter[str] = Counter()
    compressed, below, others, folders = [], [], [], []
    for entry in _entries(folder):
        if entry.is_dir():
            folders.append(entry.name)
            if any(_TAR.search(inner.name) for inner in _entries(Path(entry.path))):
                below.append(entry.name)
        elif COMPRESSED.search(entry.name):
            compressed.append(entry.name)
        elif _TAR.search(entry.name.lower()):
            others.append(entry.name)
        else:
            kinds[os.path.splitext(entry.name)[1].lower() or "without an ending"] += 1  # noqa: PTH122
    if compressed:
        found = min(compressed)
        return (
            f"It holds {len(compressed):,} compressed {_s(len(compressed), 'tar')}, such as "
            f"{found}: decompress them to plain .tar files first."
        )
    if below:
        return (
            f"Its shards are one level down, in {_some(below)}: name one of these folders, or "
            f"{str(folder / '*' / '*.tar')!r} for all."
        )
    if others:
        return f"It holds {min(others)}, whose ending has to be .tar."
    if folders and any(
        Path(inner.name).suffix.lower() in FORMATS["images"].suffixes
        for name in folders[:_MAX_SUFFIXES]
        for inner in _entries(folder / name)
    ):
        return f"It holds folders of pictures: {_IMPORT.format(str(folder))}."
    if kinds:
        pictures = sum(count for kind, count in kinds.items() if kind in FORMATS["images"].suffixes)
        if pictures == sum(kinds.values()):
            return (
                f"It holds {pictures:,} {_s(pictures, 'picture')}: {_IMPORT.format(str(folder))}."
            )
        held = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(_MAX_SUFFIXES))
        return (
            f"It holds other files ({held}): make samples of them, and write these with "
            "atdata.write_samples; tables are taken by atdata import, too."
        )
    return ""


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [e for e in islice(entries, _MAX_ENTRIES) if not e.name.startswith(".")]
    except OSError:
        return []


def _some(names: list[str]) -> str:
    shown = ", ".join(f"{name}/" for name in sorted(names)[:3])
    return f"{shown}, …" if len(names) > 3 else shown


def _s(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"


def _were(found: list[str]) -> str:
    return "was" if len(found) == 1 else "were"
