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
    assert all(name in str(caught.value) for name in table.ours)


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
    subprocess.run([sys.executable, program], check=True, timeout=60)
