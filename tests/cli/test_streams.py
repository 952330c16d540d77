"""Standard output that is closed or full, whatever the command prints."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.commands import COMMAND
from tests.docs.running import environment

PRINTS = [("--help",), ("--version",), ("ls", "-h"), ("schema", "--help")]


def ended(folder: Path, command: tuple[str, ...], stdout: int) -> tuple[int, str]:
    """The exit code of a command that prints to this file, and its standard error."""
    done = subprocess.run(
        [*COMMAND, *command],
        cwd=folder,
        env=environment(folder, {}),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", PRINTS, ids=" ".join)
def test_a_closed_pipe(tmp_path: Path, command: tuple[str, ...]) -> None:
    """The command exits silently with 141."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert ended(tmp_path, command, writing) == (141, "")
    finally:
        os.close(writing)


@pytest.mark.parametrize("command", PRINTS, ids=" ".join)
def test_a_full_disk(tmp_path: Path, command: tuple[str, ...]) -> None:
    """One line says so, and the command fails."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        code, said = ended(tmp_path, command, full)
    finally:
        os.close(full)
    assert code == 1
    assert "No space left" in said
    assert "Traceback" not in said
