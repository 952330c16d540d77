"""What is published: the wheel and the sdist, built here, and the wheel as its users install it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.docs.test_pages import ROOT, program_of

pytestmark = pytest.mark.service


def build(source: Path, *what: str, into: Path) -> list[Path]:
    """Wheels or sdists of a folder of sources."""
    targets = [word for target in what for word in ("-t", target)]
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(into), *targets]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(into.iterdir())


def contents(wheel: Path) -> dict[str, bytes]:
    """Every file of a wheel but the list of them."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/RECORD")]
        return {name: archive.read(name) for name in names}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return build(ROOT, "wheel", into=tmp_path_factory.mktemp("wheel"))[0]


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    """Lexicons, the programs of the test network and py.typed are there as well as the modules."""
    packaged = {name for name in contents(wheel) if name.startswith("atdata/")}
    source = ROOT / "src"
    files = (path for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert packaged == {path.relative_to(source).as_posix() for path in files}
    assert "atdata/py.typed" in packaged


def test_the_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """A distribution that builds from the sdist gets what we publish."""
    [sdist] = build(ROOT, "sdist", into=tmp_path / "dist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / sdist.name.removesuffix(".tar.gz")
    [again] = build(source, "wheel", into=tmp_path / "again")
    assert contents(again) == contents(wheel)


def test_the_readme_runs_with_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """In an environment with the wheel and what it requires, no more: README, version, demo."""
    made = tmp_path / "environment"
    uv = [sys.executable, "-m", "uv", "-q"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(made)], check=True)
    python = made / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [*uv, "pip", "install", "--python", str(python), str(wheel)]
    constraints = tmp_path / "constraints.txt"
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    constraints.write_text("\n".join(line.rstrip(" \\") for line in lines if "==" in line))
    done = subprocess.run([*install, "-c", str(constraints)], capture_output=True, text=True)
    if done.returncode != 0:
        assert os.environ.get("CI") != "true", done.stderr
        pytest.skip(f"the packages that the wheel requires cannot be installed: {done.stderr}")

    program = tmp_path / "readme.py"
    program.write_text(program_of((ROOT / "README.md").read_text()))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["HOME"] = str(tmp_path)
    where = "import atdata; print(atdata.__file__)"
    for arguments in (
        ["-c", where],
        [str(program)],
        ["-m", "atdata", "--version"],
        ["-m", "atdata", "demo", "--no-network"],
    ):
        done = subprocess.run(
            [str(python), *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        if where in arguments:
            assert Path(done.stdout.strip()).is_relative_to(made)
