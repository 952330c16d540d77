"""One AT Protocol server in a process of its own, which can be killed and started again."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from atdata.testing.network import Network, Server
from atdata.testing.network._node import find_node, install, launcher


class LoneServer:
    """A server that keeps its port, its keys and its data through whatever happens to it.

    Args:
        plc_url: The directory, which another process runs.
    """

    def __init__(self, plc_url: str) -> None:
        self.plc_url = plc_url
        self.rotation_key = secrets.token_bytes(32)
        """Signs the operations that its accounts send to the directory."""
        self._folder = Path(tempfile.mkdtemp(prefix="atdata-server-"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port: int = free.getsockname()[1]
        self._settings = {
            "adminPassword": secrets.token_hex(16),
            "jwtSecret": secrets.token_hex(16),
            "plcRotationKeyK256PrivateKeyHex": self.rotation_key.hex(),
        }
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start it, again or for the first time; returns when it answers."""
        options = {
            "folder": str(self._folder),
            "servers": 1,
            "ports": [0, self._port],
            "plc": self.plc_url,
            "pds": {**self._settings, "rateLimitsEnabled": False},
        }
        command = [find_node().program, str(launcher(install())), json.dumps(options)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if not k.startswith(("PDS_", "PLC_"))},
        )
        assert self._process.stdout is not None
        started: dict[str, Any] = json.loads(self._process.stdout.readline())
        self.server = Server(**started["servers"][0])
        self.network = Network(self.plc_url, [self.server])
        """The server as one that accounts are made on."""

    @property
    def url(self) -> str:
        """Where it is."""
        return self.server.url

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
