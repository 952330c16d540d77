"""Start daemons so that they end with whoever asked for them, however that one died."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from atdata.testing.network import wait_for_end

ROOT = Path(__file__).resolve().parents[2]
"""The project's root: modules are run from here."""

_SUPERVISOR = Path(__file__).with_name("supervisor.py")


class ServiceUnavailable(Exception):
    """A service's program cannot be had on this machine; the text says how to get it."""


class ServiceFailed(Exception):
    """A service's program is there, but did not start; the text has the end of its log."""


@dataclass(frozen=True)
class Command:
    """One daemon: its arguments, and the user (uid, gid) that it runs as, if not the caller."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    user: tuple[int, int] | None = None
    stop_signal: int = signal.SIGTERM


def free_port() -> int:
    """A loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """Whether something accepts connections on 127.0.0.1 at this port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until the condition holds.

    Raises:
        ServiceFailed: It did not hold within so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ServiceFailed(f"{what} did not happen within {seconds:g} seconds")
        time.sleep(0.02)


@contextmanager
def temporary_folder(name: str, parent: Path | None = None) -> Iterator[Path]:
    """A folder that other users may enter (a daemon may run as one), removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"atdata-{name}-", dir=parent))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def supervised(
    commands: Sequence[Command], folder: Path, ready: Callable[[], bool], *, seconds: float = 60
) -> Iterator[None]:
    """Run daemons under a supervisor until the block ends or this process dies.

    The supervisor watches a pipe that this process holds: when it closes, the daemons are
    stopped and the folder is removed. Were the supervisor killed, the kernel ends the daemons.

    Args:
        commands: The daemons, started in this order.
        folder: Their folder; each one's output goes to ``folder/log``.
        ready: Asked again and again until it says that all of them answer.
        seconds: How long to wait for that.

    Raises:
        ServiceFailed: One ended, or they were not ready in time; with the end of the log.
    """
    spec = {"folder": str(folder), "commands": [asdict(command) for command in commands]}
    supervisor = subprocess.Popen(
        [sys.executable, str(_SUPERVISOR), json.dumps(spec)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert supervisor.stdin is not None
    assert supervisor.stdout is not None

    def answers() -> bool:
        if supervisor.poll() is not None:
            raise ServiceFailed(_failure(supervisor))
        return ready()

    try:
        try:
            wait_until(answers, seconds, f"starting {Path(commands[0].argv[0]).name}")
        except ServiceFailed as failure:
            log = folder / "log"
            tail = log.read_text(errors="replace")[-3000:] if log.exists() else ""
            raise ServiceFailed(f"{failure}\n{tail}") from None
        yield
    finally:
        supervisor.stdin.close()
        supervisor.wait(30)
        supervisor.stdout.close()


def _failure(supervisor: subprocess.Popen[bytes]) -> str:
    assert supervisor.stdout is not None
    return supervisor.stdout.read().decode(errors="replace")


def serve(start: Callable[[], AbstractContextManager[Any]]) -> None:
    """Run a service by hand: print what it says of itself as one JSON line, wait for the end.

    When the service cannot be had, the line is ``{"unavailable": "how to get it"}``; when it
    does not start, ``{"failed": "why"}``; the exit status is then 1.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with start() as service:
            print(json.dumps(asdict(service)), flush=True)
            wait_for_end()
    except ServiceUnavailable as missing:
        print(json.dumps({"unavailable": str(missing)}), flush=True)
        sys.exit(1)
    except ServiceFailed as failure:
        print(json.dumps({"failed": str(failure)}), flush=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
