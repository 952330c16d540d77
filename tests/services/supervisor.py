"""Run daemons until standard input closes, then stop them and remove their folder.

Usage: ``python supervisor.py SPEC``, where SPEC is JSON: ``{"folder": …, "commands": [{"argv":
[…], "env": {…}, "user": [uid, gid] | null, "stop_signal": 15}]}``. Needs the standard library
alone, so that it starts in a few milliseconds.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_supervisor() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _launch(command: dict[str, Any], folder: Path, log: int) -> subprocess.Popen[bytes]:
    user, group = command["user"] or (None, None)
    return subprocess.Popen(
        command["argv"],
        env={**os.environ, **command["env"]},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        user=user,
        group=group,
        extra_groups=None if user is None else [],
        preexec_fn=_die_with_supervisor,
    )


def _stop(processes: list[subprocess.Popen[bytes]], commands: list[dict[str, Any]]) -> None:
    for process, command in zip(processes, commands, strict=False):
        process.send_signal(command["stop_signal"])
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main() -> int:
    """Returns 0 when stopped, 1 when a daemon ended by itself (its log is printed)."""
    spec = json.loads(sys.argv[1])
    folder = Path(spec["folder"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told_to_stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told_to_stop.append(number))
    log = os.open(folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
    processes: list[subprocess.Popen[bytes]] = []
    status = 0
    try:
        for command in spec["commands"]:
            processes.append(_launch(command, folder, log))
        while not told_to_stop:
            if any(process.poll() is not None for process in processes):
                status = 1
                break
            readable, _, _ = select.select([0], [], [], 0.2)
            if readable and not os.read(0, 4096):
                break
    finally:
        _stop(processes, spec["commands"])
        if status:
            text = (folder / "log").read_text(errors="replace")
            print(f"a daemon ended by itself:\n{text[-3000:]}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
