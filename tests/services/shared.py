"""One running service for all worker processes of a test run, ended with the last of them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atdata.system.locks import lock
from tests.services.process import ROOT, ServiceFailed, ServiceUnavailable

_LAUNCHED: list[subprocess.Popen[str]] = []
"""Services that this process launched: others may still use them when it is done."""


@contextmanager
def attach(run_folder: Path, name: str, module: str, *arguments: str) -> Iterator[dict[str, Any]]:
    """Start a service, or join the one that another process of this run has started.

    The service's standard input is a named pipe that every user holds open for writing; the
    kernel closes it when the last one is gone, killed or not, and so the service ends.

    Args:
        run_folder: A folder that all processes of the run share.
        name: The service's name in it.
        module: What to run, as in ``python -m module``.
        arguments: Its arguments.

    Yields:
        The line that the service printed.

    Raises:
        ServiceUnavailable: It cannot be had here.
        ServiceFailed: It did not start.
    """
    pipe, state = run_folder / f"{name}.pipe", run_folder / f"{name}.json"
    with (run_folder / f"{name}.lock").open("w") as file:
        lock(file.fileno(), math.inf)
        holder = _join(pipe) if state.exists() else None
        if holder is None:
            holder, said = _launch(pipe, [sys.executable, "-m", module, *arguments])
            state.write_text(said)
    try:
        yield _understood(name, state.read_text())
    finally:
        os.close(holder)


def _join(pipe: Path) -> int | None:
    """Hold the pipe; None when nobody reads it any more."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def _launch(pipe: Path, argv: Sequence[str]) -> tuple[int, str]:
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe, 0o600)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    holder = os.open(pipe, os.O_WRONLY)
    os.set_blocking(reader, True)
    try:
        service = subprocess.Popen(
            argv, cwd=ROOT, stdin=reader, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
    finally:
        os.close(reader)
    _LAUNCHED.append(service)
    assert service.stdout is not None
    with service.stdout as output:
        return holder, output.readline()


def _understood(name: str, said: str) -> dict[str, Any]:
    if not said:
        raise ServiceFailed(f"{name}: ended without a word; run it by hand to see why")
    answer: dict[str, Any] = json.loads(said)
    if "unavailable" in answer:
        raise ServiceUnavailable(answer["unavailable"])
    if "failed" in answer:
        raise ServiceFailed(f"{name}: {answer['failed']}")
    return answer
