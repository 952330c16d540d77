"""SQLite files on disks that are full, that may only be read, or that other machines use."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from atdata.errors import BackendError
from atdata.local import LocalIndex
from atdata.local.backends.base import EntryRow
from atdata.local.backends.sqlite import SqliteBackend
from atdata.system import mounts as _mounts
from tests.local.conftest import MakeDigits


def journal(path: Path) -> str:
    """The journal that a file asks for."""
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


FILL = """
import resource, signal, sys
from pathlib import Path
from atdata.errors import BackendError
from atdata.local.backends.base import EntryRow
from atdata.local.backends.sqlite import SqliteBackend

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
backend = SqliteBackend(Path(sys.argv[1]))
for number in range(1, 100):
    try:
        assert backend.add_entry(EntryRow("a", number, "x", "." * 10_000))
    except BackendError as error:
        print(number - 1, len(backend.history("a")), error)
        break
"""


def test_a_full_disk(tmp_path: Path) -> None:
    """A full disk is an error that says so; stored data stays, and writing works again later."""
    path = tmp_path / "index.db"
    run = subprocess.run(
        [sys.executable, "-c", FILL, str(path)], capture_output=True, text=True, check=True
    )
    written, left, said = run.stdout.split(" ", 2)
    assert 0 < int(written) == int(left)
    assert "make room" in said
    with closing(SqliteBackend(path)) as backend:
        assert len(backend.history("a")) == int(left)
        assert backend.add_entry(EntryRow("a", int(left) + 1, "x", "." * 10_000))


READER = """
import json, os, sys
from atdata.errors import BackendError
from atdata.local import LocalIndex
# Python itself may be where the other user cannot read.
import atdata.local.backends.sqlite, importlib.metadata

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
index = LocalIndex(sys.argv[1])
for line in sys.stdin:
    try:
        index.delete_dataset("a")
    except BackendError as error:
        refused = str(error)
    found = [entry.name for entry in index.search("some")]
    print(json.dumps([[e.name for e in index.list_datasets()], found, refused]), flush=True)
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that others may read, not write."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_file_that_may_only_be_read(shared: Path, digits: MakeDigits) -> None:
    """Who may not write reads an index all the same, whatever its owner does meanwhile."""
    path, is_root = shared / "index.db", os.geteuid() == 0

    def add(name: str) -> LocalIndex:
        shared.chmod(0o755)
        path.touch()
        path.chmod(0o644)
        index = LocalIndex(path)
        index.insert_dataset(digits(), name=name, description="some")
        return index

    add("a").close()
    if not is_root:
        path.chmod(0o444)
        shared.chmod(0o555)
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None

        def ask() -> list[str]:
            print(file=reader.stdin, flush=True)
            names, found, refused = json.loads(reader.stdout.readline())  # type: ignore[union-attr]
            assert names == found
            assert "write" in refused
            return list(names)

        assert ask() == ["a"]
        if is_root:
            # During a write, and after one.
            for number in range(10):
                with add(f"b{number}"):
                    assert ask() == ["a", *(f"b{n}" for n in range(number + 1))]
                assert ask() == ["a", *(f"b{n}" for n in range(number + 1))]
        reader.stdin.close()
    assert reader.returncode == 0


MOUNTS = """\
22 28 0:20 / /proc rw,nosuid - proc proc rw
28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 28 0:35 / /home rw,relatime shared:2 - nfs4 server:/home rw,vers=4.2
41 40 0:36 / /home/me/local rw - ext4 /dev/sdb1 rw
42 28 0:37 / /mnt/with\\040space rw - cifs //server/share rw
43 28 0:38 / /mnt/twice rw - ext4 /dev/sdc1 rw
44 28 0:39 / /mnt/twice rw master:3 - fuse.sshfs me@server: rw
damaged
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/index.db", "ext4"),
        ("/homes/index.db", "ext4"),
        ("/home/index.db", "nfs4"),
        ("/home/me/index.db", "nfs4"),
        ("/home/me/local/index.db", "ext4"),
        ("/mnt/with space/a/index.db", "cifs"),
        ("/mnt/twice/index.db", "fuse.sshfs"),
    ],
)
def test_the_kind_of_a_file_system(path: str, kind: str) -> None:
    """The mount that is nearest above a path, and of two at one place the later one, counts."""
    assert _mounts.kind_of(Path(path), MOUNTS) == kind


def test_no_log_where_other_machines_may_write(
    tmp_path: Path, digits: MakeDigits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system across a network an index has a journal that needs no shared memory."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with LocalIndex(old) as index:
        index.insert_dataset(digits(), name="a")
    assert journal(old) == "wal"
    assert _mounts.network_file_system(tmp_path) is None
    kind = _mounts.kind_of(tmp_path.resolve(), Path("/proc/self/mountinfo").read_text())
    monkeypatch.setattr(_mounts, "ACROSS", _mounts.ACROSS | {kind})
    for path in (old, new):
        with LocalIndex(path) as index:
            index.insert_dataset(digits(), name="b")
        assert journal(path) == "delete"
        assert not path.with_name(f"{path.name}-shm").exists()
    with LocalIndex(old) as index:
        assert [entry.name for entry in index.list_datasets()] == ["a", "b"]


def test_a_journal_that_somebody_chose_stays(tmp_path: Path, digits: MakeDigits) -> None:
    """An index whose journal was changed by hand keeps it, and loses nothing of many writers."""
    path = tmp_path / "index.db"
    LocalIndex(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")

    def write(name: str) -> list[bool]:
        with closing(SqliteBackend(path)) as backend:
            rows = [EntryRow(name, number, "x", ".") for number in range(1, 6)]
            return [backend.add_entry(row) and backend.newest(name) == row for row in rows]

    with ThreadPoolExecutor(4) as pool:
        assert all(all(done) for done in pool.map(write, "abcd"))
    with LocalIndex(path) as index:
        index.insert_dataset(digits(), name="e")
        assert [row.name for row in index._backend.entries("", 10)] == list("abcde")
    assert journal(path) == "delete"


def test_a_file_that_is_no_database_is_not_changed(tmp_path: Path) -> None:
    """Looking for a log in a file leaves it alone."""
    path = tmp_path / "index.db"
    path.write_bytes(b"some text")
    with pytest.raises(BackendError, match="no SQLite database"):
        SqliteBackend(path)
    assert path.read_bytes() == b"some text"
