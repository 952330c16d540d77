"""Environments of other packages, each of its own, below the project's ``.cache``.

By hand: ``python -m bench.envs`` makes those that the tests use and prints their Pythons.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = ROOT / ".cache" / "envs"


TORCH: Final = tuple(shlex.split(os.environ.get("TORCH", ""))) or ("torch",)
"""What pip installs where torch is needed: each machine has its own build of it."""


class EnvironmentMissing(Exception):
    """An environment that cannot be had here; says why."""


class NoPython(EnvironmentMissing):
    """None of the Pythons that a package needs is on this machine."""


@dataclass(frozen=True)
class Environment:
    """Packages that must not meet ours."""

    name: str
    requirements: tuple[str, ...]
    """As ``uv pip install`` takes them; ``-e`` and a path relative to the project are two items."""
    pythons: tuple[str, ...] = ("3.12", "3.13")
    """Versions that will do, the best first."""
    torch: bool = False
    """Whether `TORCH` is installed before the requirements."""
    without: tuple[str, ...] = ()
    """What requirements require and is left out."""

    def with_torch(self) -> Environment:
        """The same with torch; first with the Python of this process, which a build may need."""
        own = "{}.{}".format(*sys.version_info)
        pythons = tuple(sorted(self.pythons, key=lambda version: version != own))
        return replace(self, name=f"{self.name}-torch", pythons=pythons, torch=True)

    @property
    def folder(self) -> Path:
        """Where it is; another list of requirements is another folder."""
        spec = "\n".join((*self.requirements, *self.pythons))
        if self.torch:
            spec += "\n".join((*TORCH, *self.without))
        if "-e" in self.requirements:
            spec += (ROOT / "pyproject.toml").read_text()
        return CACHE / f"{self.name}-{hashlib.sha256(spec.encode()).hexdigest()[:12]}"

    def python(self) -> Path:
        """Its Python, made on first use. Safe when several processes ask at once.

        Raises:
            NoPython: No Python of these versions was found.
            EnvironmentMissing: The packages could not be installed.
        """
        python = self.folder / "bin" / "python"
        ready = self.folder / ".ready"
        if ready.exists() and runs(python):
            return python
        CACHE.mkdir(parents=True, exist_ok=True)
        with locked(CACHE / f"{self.folder.name}.lock"):
            if not (ready.exists() and runs(python)):
                self._make(python)
                ready.touch()
        return python

    def _make(self, python: Path) -> None:
        base = find_python(*self.pythons)
        if base is None:
            raise NoPython(
                f"{self.name} needs Python {' or '.join(self.pythons)}, and none was found: "
                "neither by uv, nor in pyenv's folder, nor on the PATH."
            )
        uv = find_uv()
        shutil.rmtree(self.folder, ignore_errors=True)
        seed = ["--seed"] if self.torch else []
        made = _run([uv, "venv", "-q", *seed, "--python", str(base), str(self.folder)])
        if made.returncode == 0 and self.torch:
            pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            made = _run([*pip, *TORCH])
        if made.returncode == 0:
            left_out = self.folder / "left-out.txt"
            left_out.write_text("".join(f"{name}; python_version < '3'\n" for name in self.without))
            install = [uv, "pip", "install", "-q", "--python", str(python)]
            made = _run([*install, "--overrides", str(left_out), *self.requirements])
        if made.returncode != 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            why = made.stderr.strip().splitlines()
            # pip says much before; uv's whole message is the error.
            why = [line for line in why if line.startswith("ERROR:")][-1:] or why
            raise EnvironmentMissing(
                f"{self.name} could not be installed for Python {_version(base)}: "
                f"{' '.join(why)[:500]}"
            )


_PINS: Final = ("webdataset==1.0.2", "ormsgpack==1.13.1", "msgpack==1.2.4", "numpy==2.5.5")
PEER: Final = Environment("peer-0.7.0b1", ("atdata==0.7.0b1", *_PINS))
PEER_NPY: Final = Environment("peer-0.2.3b1", ("atdata==0.2.3b1", *_PINS))
# The same Python and packages as the package on PyPI, if available: only the code differs.
ANY_PYTHON: Final = ("3.12", "3.13", "3.11")
NUMPY: Final = "numpy==2.5.5 ; python_version >= '3.12'"
WEBDATASET: Final = Environment("webdataset", ("webdataset==1.0.2", NUMPY), ANY_PYTHON)
OURS: Final = Environment("ours", ("-e", "."), ANY_PYTHON)


def find_python(*versions: str) -> Path | None:
    """The first Python of the first of these versions (``3.12``) that runs; None: there is none."""
    for version in versions:
        for candidate in _candidates(version):
            if runs(candidate, version):
                return candidate
    return None


def runs(python: Path, version: str | None = None) -> bool:
    """Whether this is a Python that starts, of that version. A version manager's shim may not."""
    found = _version(python)
    return found is not None and version in (None, found)


def find_uv() -> str:
    """The uv of the project's environment, else the one on the PATH.

    Raises:
        EnvironmentMissing: There is none.
    """
    uv = shutil.which("uv", path=sysconfig.get_path("scripts")) or shutil.which("uv")
    if uv is None:
        raise EnvironmentMissing("uv was not found; `make setup` installs it.")
    return uv


def own_environ() -> dict[str, str]:
    """The variables of this process without those that lead one Python to another's packages."""
    leading = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in leading}


def _version(python: Path) -> str | None:
    try:
        shown = subprocess.run(
            [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return shown.stdout.strip() if shown.returncode == 0 else None


def _candidates(version: str) -> Iterator[Path]:
    yield Path(sys.executable)
    found = _run([find_uv(), "python", "find", "-q", "--no-python-downloads", version])
    if found.returncode == 0:
        yield Path(found.stdout.strip())
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted((pyenv / "versions").glob(f"{version}.*/bin/python3"), reverse=True)
    on_path = shutil.which(f"python{version}")
    if on_path is not None:
        yield Path(on_path)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environ = own_environ()
    return subprocess.run(command, capture_output=True, text=True, env=environ, cwd=ROOT)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file's lock against the other processes of this machine."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Make the environments that the tests use."""
    missing = 0
    for environment in (PEER, PEER_NPY):
        try:
            print(f"{environment.name}: {environment.python().relative_to(ROOT)}")
        except EnvironmentMissing as error:
            print(f"{environment.name}: {error}", file=sys.stderr)
            missing = 1
    return missing


if __name__ == "__main__":
    sys.exit(main())
