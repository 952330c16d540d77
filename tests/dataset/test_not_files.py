"""What is no regular file, as a shard or as its table, is an error or scanned; never a hang."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import os, socket, stat, sys
from pathlib import Path
import atdata
from atdata.errors import AtdataError
from atdata.local import DiskDataStore, LocalIndex

@atdata.packable
class Item:
    number: int

folder = Path(sys.argv[1])
os.chdir(folder)  # names of sockets are short
kind = sys.argv[2]

def put(path):
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")

ways = {
    "iterated": lambda ds: [s.number for s in ds],
    "batches": lambda ds: [n for b in ds.ordered(4) for n in b.number],
    "positions": lambda ds: [ds[i].number for i in range(9)],
    "slice": lambda ds: ds[:].number,
    "keys": lambda ds: [ds.by_key(f"{i:09d}").number for i in range(9)],
    "shuffled": lambda ds: sorted(s.number for s in ds.shuffled(seed=1)),
    "parts": lambda ds: [s.number for s in ds.split(0, 1)],
    "length": lambda ds: list(range(len(ds))),
    "checked": lambda ds: [s.number for s in ds.verified("full")],
    "described": lambda ds: list(range(ds.describe_shards()[0].samples)),
    "inserted": lambda ds: list(range(LocalIndex(folder / f"{secrets()}.db").insert_dataset(
        ds, name="x").shards[0].samples)),
    "stored": lambda ds: list(range(LocalIndex(folder / f"{secrets()}.db", data_store=DiskDataStore(
        folder / "store")).insert_dataset(ds, name="x").shards[0].samples)),
}
def secrets():
    return os.urandom(4).hex()

written = atdata.write_samples([Item(i) for i in range(9)], "x.tar")
put(Path("x.tar.idx"))
for way, read in ways.items():
    assert read(atdata.Dataset[Item]("x.tar")) == list(range(9)), way
put(Path("y.tar"))
for way, read in ways.items():
    try:
        read(atdata.Dataset[Item]("y.tar"))
    except AtdataError as error:
        if kind != "folder":
            assert "y.tar" in str(error), error
            assert kind in str(error) or "no such file" in str(error), error
    else:
        raise AssertionError(way)
"""


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_what_is_no_file_is_told_or_passed_over(tmp_path: Path, kind: str) -> None:
    """A table that is none is made by a scan; a shard that is none is an error that says so."""
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path), kind]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-2000:]
