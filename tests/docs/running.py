"""Run programs as their users do: in a process and a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

KEPT = ("COVERAGE_PROCESS_CONFIG", "PATH", "PYTHONPATH", "LANG", "LC_ALL", "XDG_CACHE_HOME")
"""What of this process's environment a program gets."""


def environment(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    """An environment in which the user's folders are all below ``folder``."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    own = {
        "HOME": str(folder / "home"),
        "ATDATA_INDEX": str(folder / "index.db"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return {**kept, **own, **more}


def run(
    program: Path, folder: Path, more: Mapping[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a Python program in ``folder``; fails with its output when it does."""
    done = subprocess.run(
        [sys.executable, str(program), *arguments],
        cwd=folder,
        env=environment(folder, more),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{program.name}:\n{done.stdout}\n{done.stderr}"
    return done
