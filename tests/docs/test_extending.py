"""The package of docs/extending.md: made from the page, installed, and used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from zipfile import ZipFile

import pytest

import atdata
from atdata.testing.network import Network
from tests.docs.running import environment
from tests.docs.test_pages import ROOT

FILE = re.compile(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@atdata.packable
class Word:
    """A sample."""

    text: str


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the package's files, and in ``site`` what pip makes of them."""
    folder = tmp_path_factory.mktemp("package")
    files: dict[str, str] = defaultdict(str)
    for name, text in FILE.findall((ROOT / "docs" / "extending.md").read_text()):
        files[name] += f"{text}\n\n"
    assert sorted(files) == ["atdata_example.py", "pyproject.toml", "test_example.py"]
    for name, text in files.items():
        (folder / name).write_text(text)
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(folder / "site")]
    command = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    done = subprocess.run([*command, *options, "."], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a web server of the folder ``web``."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run(folder: Path, more: dict[str, str], *arguments: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment(folder, more), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_passes_the_suites(package: Path, tmp_path: Path) -> None:
    """Store and source do all that ours do; the store copies shards as well."""
    paths = {"PYTHONPATH": os.pathsep.join([str(package / "site"), *sys.path])}
    tests = str(package / "test_example.py")
    said = run(tmp_path, paths, "pytest", "-rs", "-p", "no:cacheprovider", "--rootdir=.", tests)
    assert "passed" in said
    assert "SupportsCopy." not in said


def test_it_is_named_on_the_command_line(
    package: Path, tmp_path: Path, served: str, network: Network
) -> None:
    """Shards of an archive go to the folder, then to the network, where others read them."""
    atdata.write_samples([Word(f"word {n}") for n in range(20)], tmp_path / "w.tar", maxcount=6)
    with ZipFile(tmp_path / "words.zip", "w") as archive:
        for shard in sorted(tmp_path.glob("w-*.tar")):
            archive.write(shard, shard.name)
    account = network.create_account()
    everyone = {**network.environment(), "ATDATA_ALLOW_PRIVATE": "1"}
    user = {**everyone, "PYTHONPATH": str(package / "site"), "ATDATA_PASSWORD": account.password}
    first = f"webfolder://{tmp_path}/web?at={served}"
    source = f"zip://{tmp_path}/words.zip"
    run(tmp_path, user, "atdata", "insert", source, "--name", "words", "--store", first)
    listed = json.loads(run(tmp_path, user, "atdata", "show", "words", "--json"))
    assert all(shard.startswith(served) for shard in listed["data_urls"])

    # Promoted from this machine to the store, and read by somebody without the package.
    run(tmp_path, user, "atdata", "insert", str(tmp_path / "w-*.tar"), "--name", "local")
    promote = ("promote", "local", "--handle", account.handle, "--store", first, "--json")
    uri = json.loads(run(tmp_path, user, "atdata", *promote))["uri"]
    found = run(tmp_path, everyone, "atdata", "head", uri, "-n", "99", "--json").splitlines()
    assert [json.loads(sample)["text"] for sample in found] == [f"word {n}" for n in range(20)]
