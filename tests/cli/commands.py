"""Run the command line in its own process, folder and environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from tests.docs.running import environment

COMMAND = (sys.executable, "-m", "atdata")

TYPES = """
import atdata
import numpy as np
from numpy.typing import NDArray

@atdata.packable
class Row:
    text: str
    vector: NDArray[np.float32]
    score: float | None = None
"""
"""A module of the user's with a sample type."""


def atdata_command(
    folder: Path, *arguments: str, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``atdata`` with these arguments; the caller checks the exit code."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(folder, more or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


@contextmanager
def running(
    folder: Path, *arguments: str, more: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """``atdata`` in the background; killed at the end, so that a failed test ends too."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(folder, more or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def documents(folder: Path, *arguments: str, more: Mapping[str, str] | None = None) -> list[Any]:
    """What a command prints with ``--json``. The command must succeed."""
    done = atdata_command(folder, *arguments, "--json", more=more)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def with_cache() -> dict[str, str]:
    """The cache of this user, so that the servers from npm are not fetched again."""
    cache = platformdirs.user_cache_path("atdata").parent
    return {"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(cache)}
