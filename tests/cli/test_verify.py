"""`atdata verify` says what passed, and its exit code says the same."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

from tests.cli.commands import atdata_command, documents


def verdicts(folder: Path, *arguments: str) -> tuple[int, list[Any]]:
    done = atdata_command(folder, "verify", *arguments, "--json")
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_shards_as_they_were_written_pass(folder: Path) -> None:
    """By path and by name, every shard passes, and the exit code is 0."""
    found = documents(folder, "verify", "rows-{000000..000002}.tar")
    assert [v["status"] for v in found] == ["passed"] * 3
    assert [v["samples"] for v in found] == [7, 7, 6]
    inserted = atdata_command(
        folder, "insert", "rows-{000000..000002}.tar", "--name", "rows", "--type", "rows:Row"
    )
    assert inserted.returncode == 0, inserted.stderr
    for table in folder.glob("*.idx"):
        table.unlink()
    assert len(documents(folder, "verify", "rows")) == 3
    done = atdata_command(folder, "verify", "rows")
    assert done.stdout.splitlines()[-1] == "3 passed"


def test_a_changed_byte_fails(folder: Path) -> None:
    """One changed byte in a shard is found and reported with both hashes; exit code 5."""
    shard = folder / "rows-000001.tar"
    data = bytearray(shard.read_bytes())
    data[600] ^= 1
    shard.write_bytes(data)
    code, found = verdicts(folder, "rows-{000000..000002}.tar")
    assert code == 5
    assert [v["status"] for v in found] == ["passed", "failed", "passed"]
    assert "sha256: expected" in found[1]["reason"]


def test_a_shard_that_is_cut_or_gone_fails(folder: Path) -> None:
    """A truncated and a missing shard fail; the others are still checked."""
    shard = folder / "rows-000000.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    (folder / "rows-000001.tar").unlink()
    code, found = verdicts(folder, "rows-{000000..000002}.tar")
    assert code == 5
    assert [v["status"] for v in found] == ["failed", "failed", "passed"]
    done = atdata_command(folder, "verify", "rows-{000000..000002}.tar")
    for line, verdict in zip(done.stdout.splitlines()[:2], found[:2], strict=True):
        assert line == f"failed: {verdict['shard']}: {verdict['reason']}"
        assert line.count(Path(verdict["shard"]).name) == 1


def test_what_is_not_read_is_said(folder: Path) -> None:
    """verify and insert report members of a shard that are not samples, as text and as JSON."""
    shard = folder / "rows-000000.tar"
    with tarfile.open(shard, "a") as tar:
        for name in ("a.png", "b.png", "k.json"):
            tar.addfile(tarfile.TarInfo(name))
    verified = atdata_command(folder, "verify", "rows-000000.tar")
    assert "not read: 2 .png, 1 .json" in verified.stdout
    inserted = atdata_command(
        folder, "insert", "rows-000000.tar", "--name", "rows", "--type", "rows:Row"
    )
    for done in (verified, inserted):
        [line] = [line for line in done.stderr.splitlines() if "not read" in line]
        assert line.startswith(f"warning: {shard}: 3 members are not samples and were not read")
    found = documents(folder, "verify", "rows")
    assert [v["unread"] for v in found] == [{".png": 2, ".json": 1}]


def test_what_cannot_be_checked_has_not_passed(folder: Path) -> None:
    """Shards without a recorded hash are not checkable, which is not exit code 0."""
    for table in folder.glob("*.idx"):
        table.unlink()
    code, found = verdicts(folder, "rows-{000000..000002}.tar")
    assert code == 1
    assert [v["status"] for v in found] == ["not checkable"] * 3


def test_a_named_pipe_is_refused_by_every_command(folder: Path) -> None:
    """A named pipe in place of a shard is exit code 5, without waiting for a writer."""
    os.mkfifo(folder / "pipe.tar")
    for command in (
        ("head", "pipe.tar"),
        ("verify", "pipe.tar"),
        ("insert", "pipe.tar", "--name", "x"),
        ("insert", "pipe.tar", "--name", "x", "--type", "rows:Row"),
        ("insert", "pipe.tar", "--name", "x", "--store", "copies"),
    ):
        done = atdata_command(folder, *command)
        assert done.returncode == 5, done.stderr
        assert "a named pipe" in done.stdout + done.stderr


def test_a_shard_that_was_changed_says_what_to_do(folder: Path) -> None:
    """The error names the shard once, and what to do."""
    atdata_command(folder, "insert", "rows-000000.tar", "--name", "rows", "--type", "rows:Row")
    shutil.copy(folder / "rows-000002.tar", folder / "rows-000000.tar")
    done = atdata_command(folder, "head", "rows")
    assert done.returncode == 5
    assert done.stderr.count("rows-000000.tar") == 1
    assert "insert the dataset again to record it as it is" in done.stderr
    assert done.stderr.endswith(".\n")
