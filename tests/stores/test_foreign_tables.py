"""Files of other programs that have the name of a sample table are never written to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.local import DiskDataStore, LocalIndex

FOREIGN = b"\x01\0\0\0energon"


@atdata.packable
class Row:
    text: str


ROWS = [Row(str(n)) for n in range(30)]


def copied(rows: atdata.Dataset[Row], folder: Path) -> Any:
    store = DiskDataStore(folder)
    return store.copy_shards(rows.known_shards(), rows.source.open_shard, prefix="p")


WRITES: dict[str, tuple[str, Callable[[atdata.Dataset[Row], Path], Any]]] = {
    "one shard": ("x.tar", lambda rows, to: atdata.write_samples(ROWS, to / "x.tar")),
    "members": (
        "x.tar",
        lambda rows, to: atdata.write_samples(ROWS, to / "x.tar", layout="members"),
    ),
    "many": (
        "x-000000.tar",
        lambda rows, to: atdata.write_samples(ROWS, to / "x.tar", maxcount=10),
    ),
    "columns": (
        "x.tar",
        lambda rows, to: atdata.write_columns(
            {"text": [row.text for row in ROWS]}, to / "x.tar", sample_type=Row
        ),
    ),
    "store": (
        "p/data-000000.tar",
        lambda rows, to: DiskDataStore(to).write_shards(rows, prefix="p"),
    ),
    "copies": ("p/data-000000.tar", copied),
    "index": (
        "p/data-000000.tar",
        lambda rows, to: LocalIndex(
            to.with_suffix(".db"), data_store=DiskDataStore(to)
        ).insert_dataset(rows, name="rows", prefix="p"),
    ),
}


@pytest.mark.parametrize("way", WRITES)
def test_a_table_of_another_program_stays(way: str, tmp_path: Path) -> None:
    """Every way of writing shards leaves such a file as it is, and replaces one of its own."""
    rows = atdata.write_samples(ROWS, tmp_path / "rows.tar")
    name, write = WRITES[way]
    for beginning, stays in ((FOREIGN, True), (b"ATDTABLE of before", False)):
        folder = tmp_path / ("theirs" if stays else "ours")
        table = folder / f"{name}.idx"
        table.parent.mkdir(parents=True)
        table.write_bytes(beginning)
        write(rows, folder)
        assert (table.read_bytes() == beginning) == stays
        shard = table.with_suffix("")
        assert [row.text for row in atdata.Dataset[Row](shard).shuffled(seed=1)]
