"""Starting the network, and talking to its servers."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import urllib3

from atdata._secrets import redacted, redacted_repr
from atdata.errors import SandboxError
from atdata.testing.network._node import find_node, install, launcher


@redacted_repr
@dataclass(frozen=True)
class Server:
    """One AT Protocol server (a PDS)."""

    url: str
    did: str
    handle_domain: str
    """What handles of its accounts end in, with the leading dot."""
    admin_password: str = field(repr=False)
    """Of the user ``admin``, by HTTP Basic, for the calls of ``com.atproto.admin``."""
    jwt_secret: str = field(repr=False)
    """Signs its access tokens; a test makes an expired one with it."""


@redacted_repr
@dataclass(frozen=True)
class Account:
    """An account on one of the servers."""

    handle: str
    did: str
    server_url: str
    password: str = field(repr=False)


class Network:
    """A running network. A context manager: at the end everything stops and is removed."""

    def __init__(
        self,
        plc_url: str,
        servers: Sequence[Server],
        accounts: Sequence[Account] = (),
        *,
        process: subprocess.Popen[str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.plc_url = plc_url
        """URL of the PLC directory, where DIDs are looked up."""
        self.servers = tuple(servers)
        self.accounts = tuple(accounts)
        """Those made at the start: alice on the first server, bob on the second."""
        self._process = process
        self._folder = folder

    def create_account(
        self, name: str | None = None, *, server: int = 0, password: str | None = None
    ) -> Account:
        """Make an account.

        Args:
            name: The handle up to the server's domain, 3 to 18 characters; a fresh one when None.
            server: Which server, counted from 0.
            password: A random one when None.

        Raises:
            SandboxError: The server refuses, for instance a name that is taken.
        """
        home = self.servers[server]
        handle = f"{name or 'user-' + secrets.token_hex(5)}{home.handle_domain}"
        password = password or secrets.token_urlsafe(12)
        body = {"handle": handle, "password": password, "email": f"{handle}@mail.test"}
        try:
            answer = urllib3.request(
                "POST",
                f"{home.url}/xrpc/com.atproto.server.createAccount",
                json=body,
                timeout=60,
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise SandboxError(
                f"no account {handle}: {home.url} does not answer: {error}"
            ) from error
        if answer.status != 200:
            said = answer.data.decode(errors="replace")[:500]
            raise SandboxError(f"no account {handle}: {home.url} answered {answer.status} {said}")
        return Account(handle, answer.json()["did"], home.url, password)

    def environment(self) -> dict[str, str]:
        """What to export so that atdata uses this network, and who can log in there.

        ``ATDATA_PLC_URL``, ``ATDATA_PDS_URL`` (the first server) and, for each account made at
        the start, ``ATDATA_ALICE_HANDLE`` and ``ATDATA_ALICE_PASSWORD``.
        """
        environment = {"ATDATA_PLC_URL": self.plc_url, "ATDATA_PDS_URL": self.servers[0].url}
        for account in self.accounts:
            name = account.handle.partition(".")[0].upper().replace("-", "_")
            environment[f"ATDATA_{name}_HANDLE"] = account.handle
            environment[f"ATDATA_{name}_PASSWORD"] = account.password
        return environment

    def to_json(self) -> dict[str, Any]:
        """The network as JSON, passwords included, for another process of the same user."""
        return {
            "plc_url": self.plc_url,
            "servers": [asdict(server) for server in self.servers],
            "accounts": [asdict(account) for account in self.accounts],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """A network that another process runs; closing it here does not stop it."""
        return cls(
            data["plc_url"],
            [Server(**server) for server in data["servers"]],
            [Account(**account) for account in data["accounts"]],
        )

    def close(self) -> None:
        """Stop everything and remove its data; nothing when another process runs it."""
        if self._process is not None:
            _stop(self._process)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return redacted(f"Network({self.plc_url!r}, {', '.join(s.url for s in self.servers)})")


def start(
    servers: int = 2,
    *,
    ports: Sequence[int] = (),
    accounts: Sequence[str] = ("alice", "bob"),
    blob_limit: int | None = None,
    rate_limits: bool = False,
    pds: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Network:
    """Start a PLC directory and servers, with an account or two.

    Takes about four seconds and 250 MB of memory. It ends with ``close()``, at the end of a
    ``with`` block, or with this process, however that dies. The directory keeps its data in
    memory, the servers in a temporary folder: nothing outlives it.

    Args:
        servers: How many servers.
        ports: Of the directory, then of each server; missing or 0 means any free one.
        accounts: Names of accounts to make, one on each server in turn.
        blob_limit: Largest blob, in bytes; the servers' own default (5 MiB) when None.
        rate_limits: Whether the servers count and refuse requests, as public ones do.
        pds: More settings of the servers, named as ``ServerEnvironment`` of ``@atproto/pds``
            names them, for instance ``{"inviteRequired": True}``.
        report: Receives a line if programs must be downloaded first.

    Raises:
        SandboxError: No Node, nothing could be fetched, or the servers did not start.
    """
    node, installed = find_node(), install(report)
    settings: dict[str, Any] = {"rateLimitsEnabled": rate_limits}
    if blob_limit is not None:
        settings["blobUploadLimit"] = blob_limit
    folder = Path(tempfile.mkdtemp(prefix="atdata-network-"))
    options = {
        "folder": str(folder),
        "servers": servers,
        "ports": list(ports),
        "pds": {**settings, **(pds or {})},
    }
    log = folder.with_name(f"{folder.name}.log")
    with log.open("w") as errors:
        process = subprocess.Popen(
            [node.program, str(launcher(installed)), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            # Not in our group: a Ctrl-C is for us, who then close the pipe.
            start_new_session=True,
            env=_environment(),
        )
    network = None
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            process.wait(10)
            why = log.read_text(errors="replace")[-1500:]
            raise SandboxError(f"The local network did not start. Its last words:\n{why}")
        started = json.loads(said)
        homes = [Server(**server) for server in started["servers"]]
        network = Network(started["plc_url"], homes, process=process, folder=folder)
        network.accounts = tuple(
            network.create_account(name, server=number % servers)
            for number, name in enumerate(accounts)
        )
    except BaseException:
        _stop(process)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        log.unlink(missing_ok=True)
    return network


def _environment() -> dict[str, str]:
    # Settings of a real server in the caller's environment must not reach these.
    return {k: v for k, v in os.environ.items() if not k.startswith(("PDS_", "PLC_", "NODE_"))}


def _stop(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
