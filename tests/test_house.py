"""The house stands: layers, size of files, public names, and what `import atdata` may load."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import atdata

ROOT = Path(__file__).resolve().parent.parent
SRC = Path(atdata.__file__).parent
LAYERS = [
    {"_secrets"},
    {"errors"},
    {"system"},
    {
        "_arrays",
        "_digest",
        "_limits",
        "_nesting",
        "_registry",
        "_version",
        "_warnings",
    },
    {"_json_checks", "_refs"},
    {"_shardlist"},
    {"_protocols"},
    {"capabilities"},
    {"samples"},
    {"schema"},
    {"net"},
    {"shards/tar"},
    {"shards/columns"},
    {"shards/layouts"},
    {"shards"},
    {"sources"},
    {"stores"},
    {"lenses"},
    {"dataset/decode"},
    {"dataset/reading"},
    {"dataset/torch"},
    {"dataset"},
    {"exchange"},
    {"indexing"},
    {"atproto"},
    {"atmosphere", "local"},
    {"load"},
    {"promote"},
    {"testing"},
    {"cli"},
]
"""Rooms from the ground up. A room imports from rooms below it and from itself."""

NESTED = {layer for layers in LAYERS for layer in layers if "/" in layer}
"""Rooms within a room: they know nothing of the files next to them."""

WITHOUT_TAR = {"local", "atmosphere"}
"""The control path knows nothing of tar."""

MODULES = sorted(SRC.rglob("*.py"))


def room_of(*parts: str) -> str:
    """The room of a module, by the parts of its dotted name below the package."""
    nested = "/".join(parts[:2])
    return nested if nested in NESTED else parts[0]


def height(room: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if room in layer)


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(SRC.parent).with_suffix("").parts).removesuffix(".__init__")


def imported_names(path: Path) -> Iterator[tuple[str, int]]:
    """Dotted names that a file imports, in functions and for type checkers too, and their lines."""
    package = ".".join(path.relative_to(SRC.parent).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import in {package}"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((name, node.lineno) for name in names)


def imported_rooms(path: Path) -> Iterator[tuple[str, int]]:
    for name, line in imported_names(path):
        parts = name.split(".")
        if parts[0] == "atdata" and len(parts) > 1:
            yield room_of(*parts[1:]), line


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_a_room_imports_only_from_rooms_below(path: Path) -> None:
    """Data flows one way: no module imports from a room above its own."""
    room = room_of(*path.relative_to(SRC).with_suffix("").parts)
    if room in ("__init__", "__main__"):
        return
    place = str(path.relative_to(SRC))
    for other, line in imported_rooms(path):
        if other == room or other == "__version__":
            continue
        assert height(other) < height(room), f"{place}:{line} imports {other} from above"
        assert not (room in WITHOUT_TAR and other.startswith("shards")), (
            f"{place}:{line} knows of tar"
        )


def test_no_files_import_each_other() -> None:
    """No circle of imports: each file can be read, and loaded, without those that import it."""
    files = {module_of(path): path for path in MODULES}
    graph = {
        module: {
            name if name in files else name.rpartition(".")[0] for name, _ in imported_names(path)
        }
        for module, path in files.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_no_file_says_too_much(path: Path) -> None:
    """A file says one thing: none is over 500 lines."""
    assert len(path.read_text().splitlines()) <= 500


def test_locks_are_free_in_a_forked_child() -> None:
    """A lock that a thread holds at a fork would be held for ever in the child: none is bare."""
    bare = re.compile(r"\bR?Lock\(\)")
    found = {str(path.relative_to(SRC)) for path in MODULES if bare.search(path.read_text())}
    # The one that makes such locks, and renews them.
    assert found == {"system/forks.py"}


def test_every_public_name_exists() -> None:
    """Everything in __all__ can be had, those that load on first use included."""
    import atdata

    for name in atdata.__all__:
        assert getattr(atdata, name) is not None, name


def test_names_of_the_documents_exist() -> None:
    """Every import of the specification's programs works."""
    import atdata
    from atdata._protocols import AbstractDataStore, AbstractIndex, DataSource, IndexEntry
    from atdata.atmosphere import (
        AtmosphereClient,
        AtmosphereIndex,
        AtmosphereIndexEntry,
        PDSBlobStore,
    )
    from atdata.local import Index, LocalDatasetEntry, LocalIndex, S3DataStore
    from atdata.promote import promote_to_atmosphere

    assert Index is LocalIndex
    assert all(
        isinstance(cls, type)
        for cls in (
            *(AbstractDataStore, AbstractIndex, DataSource, IndexEntry, atdata.S3Source),
            *(AtmosphereClient, AtmosphereIndex, AtmosphereIndexEntry, PDSBlobStore),
            *(LocalDatasetEntry, S3DataStore, atdata.URLSource),
        )
    )
    assert callable(promote_to_atmosphere)


HEAVY = {
    *("boto3", "botocore", "atproto", "redis", "psycopg", "fsspec", "torch", "pandas"),
    *(
        "pyarrow",
        "polars",
        "datasets",
        "duckdb",
        "webdataset",
        "httpx",
        "pydantic",
        "typer",
        "rich",
        "sqlite3",
        "urllib3",
    ),
}


def test_importing_loads_nothing_heavy() -> None:
    """`import atdata` loads no SDK, driver, pandas, HTTP client or command line."""
    code = "import sys, json, atdata; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(out.stdout)}
    assert not loaded & HEAVY


def test_the_help_of_the_command_line_loads_no_command() -> None:
    """`atdata --help` answers at once: it loads neither NumPy nor what only some commands need."""
    code = """
import json, sys
from atdata.cli.app import app
try:
    app(["--help"])
finally:
    print(json.dumps(sorted(sys.modules)))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(out.stdout.splitlines()[-1])}
    assert "ls " in out.stdout
    assert not loaded & (HEAVY - {"typer"} | {"numpy"})


def test_importing_costs_little_compared_with_numpy(tmp_path: Path) -> None:
    """`import atdata` with its Dataset costs less than twice what `import numpy` does.

    Two costs of one process, so that a slow machine changes nothing; of several processes the one
    that other work disturbed least. As for a user, the bytecode is there; the environment may keep
    Python from writing it.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    code = """
from time import process_time as now
start = now()
import numpy
between = now()
import atdata
atdata.Dataset
print((now() - between) / (between - start))
"""
    runs = (
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        for _ in range(8)
    )
    assert min(float(run.stdout) for run in runs) < 2


def test_nothing_dangerous_is_called() -> None:
    """No eval, exec, pickle or shell anywhere in the package."""
    pattern = re.compile(
        r"(?<![\w.])(eval|exec)\(|\bimport pickle\b|\bpickle\.|allow_pickle=True|shell=True"
    )
    found = [
        f"{path.relative_to(SRC)}:{number}"
        for path in MODULES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found


def test_every_dependency_has_a_reason() -> None:
    """docs/dependencies.md names each dependency of the package and of its extras."""
    project = (ROOT / "pyproject.toml").read_text()
    section = project.partition("[project.scripts]")[0]
    names = set(re.findall(r'"([A-Za-z0-9_.-]+)(?:\[[a-z,]+\])?[><=]', section)) - {"hatchling"}
    text = (ROOT / "docs" / "dependencies.md").read_text()
    assert {name for name in names if f"`{name}`" not in text} == set()
