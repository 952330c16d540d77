"""The table of index backends, sources and stores, with rows of other packages."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest

from atdata._registry import INDEX_BACKENDS, SHARD_SCHEMES, STORES
from atdata.errors import UrlError

TABLES = (INDEX_BACKENDS, SHARD_SCHEMES, STORES)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.group)
def test_every_row_of_ours_loads(table: object) -> None:
    """Each name leads to a class."""
    assert isinstance(table, type(STORES))
    for name in table.ours:
        assert isinstance(table.load(name), type), name


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.group)
def test_an_unknown_name_is_an_error_that_lists_the_known(table: object) -> None:
    """A mistyped scheme is answered with those that there are."""
    assert isinstance(table, type(STORES))
    with pytest.raises(UrlError) as caught:
        table.load("sqlit3")
    schemes = {name for name, row in table.ours.items() if row.is_scheme}
    assert all(scheme in str(caught.value) for scheme in schemes)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.group)
def test_extras_are_those_of_the_package(table: object) -> None:
    """The extra that a row names can be installed."""
    assert isinstance(table, type(STORES))
    extras = {row.extra for row in table.ours.values()} - {None}
    assert extras <= set(metadata("atdata").get_all("Provides-Extra") or ())


NETWORK = """
import sys
from atdata import Dataset
from atdata._shardlist import LocatedUrl
from atdata.errors import UnsafeUrlError

for url in ("other://host/data.tar", "{https://host/data,other://host/data}.tar"):
    try:
        Dataset(LocatedUrl(url, stranger=True)).shard_list
    except UnsafeUrlError:
        pass
    else:
        raise SystemExit("not refused")
assert "other" not in sys.modules
"""


def test_a_record_loads_no_package(tmp_path: Path) -> None:
    """A URL from the network whose scheme another package reads is refused, unread and unloaded."""
    _package(tmp_path, "[atdata.source]\nother = other:Reader\n", "raise SystemExit('loaded')")
    _run(tmp_path, NETWORK)


PACKAGE = """
from atdata.local import DiskDataStore


class Impostor:
    pass


class Other(DiskDataStore):
    pass
"""
PROGRAM = """
from atdata._registry import STORES
from atdata.local import S3DataStore
from other import Other

assert STORES.load("s3") is S3DataStore
assert STORES.load("other") is Other
assert set(STORES) == {"blobs", "file", "other", "s3"}
assert STORES.get("absent") is None
"""


def test_other_packages_add_rows_and_replace_none(tmp_path: Path) -> None:
    """An entry point brings a name of its own, in any case; one named as ours is not loaded."""
    _package(tmp_path, "[atdata.store]\nOther = other:Other\ns3 = other:Impostor\n", PACKAGE)
    _run(tmp_path, PROGRAM)


BROKEN = """
import pytest
from atdata._registry import STORES
from atdata.errors import EntryPointError

for name, failed in {
    "absent": "No module named 'absent'",
    "classless": "has no attribute 'Absent'",
    "failing": "ZeroDivisionError",
    "malformed": "module:Class",
}.items():
    with pytest.raises(EntryPointError, match=failed) as caught:
        STORES.load(name)
    assert all(part in str(caught.value) for part in (f"'{name} = ", "atdata.store", "'other'"))
"""


def test_an_entry_point_that_does_not_load_is_named(tmp_path: Path) -> None:
    """The error names the package, its entry point, the group, and what failed."""
    points = "absent = absent:A\nclassless = other:Absent\nfailing = fails:A\nmalformed = !\n"
    _package(tmp_path, f"[atdata.store]\n{points}", PACKAGE)
    (tmp_path / "fails.py").write_text("1 / 0")
    _run(tmp_path, BROKEN)


OTHERS = """
import pytest
from atdata import Dataset
from atdata.errors import EntryPointError, UrlError
from atdata.local import LocalIndex
from atdata.stores.open_store import open_store

LocalIndex("index.db").close()
open_store("copies")
for ask in (open_store, LocalIndex, lambda url: Dataset(url).shard_list):
    with pytest.raises(UrlError, match=message):
        ask("absent://x")
if loads:
    for ask in (open_store, LocalIndex):
        with pytest.raises(EntryPointError, match="broken = not valid!!"):
            ask("broken://x")
"""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("broken = not valid!!", "Known: .*broken"),
        ("broken", "entry points of the package 'other' cannot be read"),
    ],
)
def test_a_malformed_entry_point_breaks_no_other_look_up(
    tmp_path: Path, line: str, message: str
) -> None:
    """Whatever another package has in its metadata, what does not ask for it works."""
    groups = ("atdata.index", "atdata.source", "atdata.store")
    _package(tmp_path, "".join(f"[{group}]\n{line}\n" for group in groups), "")
    _run(tmp_path, f"message, loads = {message!r}, {'=' in line}\n{OTHERS}")


STRICT = """
import pytest
from atdata.errors import UrlError
from atdata.stores.open_store import open_store

with pytest.raises(UrlError, match="write strict://folder"):
    open_store("strict://")
"""


def test_a_store_may_refuse_a_url_with_any_value_error(tmp_path: Path) -> None:
    """The caller gets the error that the protocol promises, with the store's advice."""
    code = """
class Strict:
    @classmethod
    def from_url(cls, url):
        raise ValueError("write strict://folder")
"""
    _package(tmp_path, "[atdata.store]\nstrict = other:Strict\n", code)
    _run(tmp_path, STRICT)


def _package(folder: Path, points: str, code: str) -> None:
    """Install a package ``other`` in a folder, as pip would."""
    (folder / "other.py").write_text(code)
    info = folder / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)


def _run(folder: Path, code: str) -> None:
    """Run a program that finds the package next to it."""
    program = folder / "program.py"
    program.write_text(code)
    subprocess.run([sys.executable, program], check=True, timeout=60, cwd=folder)
