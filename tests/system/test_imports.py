"""Nothing is imported on first use where a forked child would wait for it for ever."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata import write_samples
from atdata.testing.network import Account
from tests.services.s3 import S3Server
from tests.sources.web import WebServer

SRC = Path(atdata.__file__).parent

PROGRAM = """
import json, sys, threading, traceback
import atdata
from atdata import Dataset, load_dataset, write_samples
from atdata.local import DiskDataStore, LocalIndex, S3DataStore
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore
from atdata.promote import promote_to_atmosphere
from atdata.system import forks

@atdata.packable
class Number:
    number: int

found, busy = {}, threading.local()

def watch(event, arguments):
    if event != "import" or forks._loading._is_owned() or getattr(busy, "yes", False):
        return
    busy.yes = True
    stack = [f for f in traceback.extract_stack() if "importlib" not in f.filename][:-1]
    found.setdefault(arguments[0], [f"{f.filename}:{f.lineno}" for f in stack[-6:]])
    busy.yes = False

def read(place, sample_type=Number):
    dataset = Dataset[sample_type](place) if isinstance(place, str) else place
    assert dataset.count() == 20 and dataset[5].number == 5
    assert len(list(dataset.shuffled(seed=1))) == len(list(dataset)) == 20
    assert dataset.by_key("000000007").number == 7 and len(list(dataset.batches(7))) == 3

def keep(index, folder):
    written = write_samples([Number(i) for i in range(20)], folder + "/given.tar", fsync=False)
    entry = index.insert_dataset(written, name="numbers", license="MIT", tags=["t"])
    assert index.search("numbers") and list(index.list_datasets())
    read(load_dataset("@local/numbers", sample_type=Number, index=index, split="train"))
    return entry

JOB
"""

JOBS = {
    "local": "read(sys.argv[1])",
    "http": "read(sys.argv[1])",
    "write": "write_samples([Number(i) for i in range(20)], sys.argv[1] + '/x.tar')",
    "s3": """
store = S3DataStore(json.loads(sys.argv[1]), bucket=sys.argv[2])
keep(LocalIndex(sys.argv[3] + "/index.db", data_store=store), sys.argv[3])
""",
    "index": """
keep(LocalIndex(sys.argv[1], data_store=DiskDataStore(sys.argv[2])), sys.argv[2])
""",
    "network": """
index = LocalIndex(sys.argv[1] + "/index.db", data_store=DiskDataStore(sys.argv[1]))
entry = keep(index, sys.argv[1])
client = AtmosphereClient()
client.login(*json.loads(sys.argv[2]))
uri = promote_to_atmosphere(entry, index, client, data_store=PDSBlobStore(client))
read(load_dataset(uri, sample_type=Number, split="train"))
list(AtmosphereIndex(client).list_datasets())
""",
}


def late_imports(job: str, *arguments: str) -> dict[str, list[str]]:
    """What a process imports, after `import atdata`, while a fork would not wait for it."""
    # Whoever starts a service or a thread of its own imports before: the hook is set here.
    program = PROGRAM.replace(
        "JOB", f"sys.addaudithook(watch)\n{JOBS[job]}\nprint(json.dumps(found))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """A shard of twenty samples with its table."""

    @atdata.packable
    class Number:
        number: int

    write_samples([Number(i) for i in range(20)], tmp_path / "x.tar", fsync=False)
    return tmp_path / "x.tar"


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def index_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty index."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/index.db"
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


def test_reading_and_writing_files(shard: Path, tmp_path: Path) -> None:
    """Local shards."""
    assert late_imports("local", str(shard)) == {}
    assert late_imports("write", str(tmp_path)) == {}


def test_reading_over_http(shard: Path, web: WebServer) -> None:
    """The codec of host names is one that urllib3 has imported on first use."""
    for name in ("x.tar", "x.tar.idx"):
        web.files[f"/{name}"] = shard.with_name(name).read_bytes()
    assert late_imports("http", f"{web.url}/x.tar") == {}


def test_a_bucket(s3_server: S3Server, s3_bucket: str, tmp_path: Path) -> None:
    """Shards in a bucket."""
    credentials = json.dumps(s3_server.credentials())
    assert late_imports("s3", credentials, s3_bucket, str(tmp_path)) == {}


def test_an_index(index_url: str, tmp_path: Path) -> None:
    """Insert, search and load in each kind of index."""
    assert late_imports("index", index_url, str(tmp_path)) == {}


def test_the_network(account: Account, tmp_path: Path) -> None:
    """Log in, promote with blobs, search and read."""
    login = json.dumps([account.handle, account.password])
    assert late_imports("network", str(tmp_path), login) == {}


def test_functions_import_where_a_fork_waits() -> None:
    """An import in a function stands in `importing()`, but in commands and in helpers for tests."""
    found = [
        f"{path.relative_to(SRC)}:{node.lineno}"
        for path in SRC.rglob("*.py")
        if path.relative_to(SRC).parts[0] not in ("cli", "testing")
        for node in _unguarded(ast.parse(path.read_text()), inside=False)
    ]
    assert found == []


def test_distinct_values_are_not_found_by_numpy() -> None:
    """`np.unique` of values alone imports `numpy.ma` on first use; `distinct` does not."""
    alone = re.compile(r"np\.unique\((?![^\n]*return_)")
    found = [
        str(path.relative_to(SRC)) for path in SRC.rglob("*.py") if alone.search(path.read_text())
    ]
    assert found == []


def _unguarded(node: ast.AST, *, inside: bool) -> Iterator[Any]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.With) and any(
            ast.unparse(item.context_expr) == "importing()" for item in child.items
        ):
            continue
        if inside and isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        yield from _unguarded(
            child, inside=inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        )
