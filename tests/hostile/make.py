"""Writes the corpus: ``python -m tests.hostile.make``. The same bytes each time."""

from __future__ import annotations

from pathlib import Path

from tests.hostile import addresses, beside, records, schemas, shards
from tests.hostile.items import Item

CORPUS = Path(__file__).parent / "corpus"
SMALL = 16_000
"""Bytes up to which a file is kept; larger ones are made each time."""


def items() -> list[Item]:
    """Every item, in order of path."""
    parts = (addresses, beside, records, schemas, shards)
    found = [item for part in parts for item in part.items()]
    assert len({item.path for item in found}) == len(found)
    return sorted(found, key=lambda item: item.path)


def files() -> dict[str, bytes]:
    """Path below the corpus → what belongs there."""
    kept = {item.path: item.data for item in items() if len(item.data) <= SMALL}
    lines = [f"{item.path}\tIt {item.tries}." for item in items()]
    return {**kept, "MANIFEST.tsv": ("\n".join(lines) + "\n").encode()}


def main() -> None:
    """Write every file, and remove what no longer belongs there."""
    wanted = files()
    for name, data in wanted.items():
        (CORPUS / name).parent.mkdir(parents=True, exist_ok=True)
        (CORPUS / name).write_bytes(data)
    for path in CORPUS.rglob("*"):
        if path.is_file() and path.relative_to(CORPUS).as_posix() not in wanted:
            path.unlink()
    print(f"{len(items())} items, {sum(map(len, wanted.values())):,} bytes kept")


if __name__ == "__main__":
    main()
