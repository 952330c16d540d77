"""A folder with a user's module and shards."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.commands import TYPES
from tests.docs.running import run

_WRITE = """
import atdata, numpy as np
from rows import Row
rows = [Row(f"text {i}", np.full(3, i, np.float32), i / 2 if i % 2 else None) for i in range(20)]
atdata.write_samples(rows, "rows.tar", maxcount=7)
"""


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that every test's folder starts with."""
    made = tmp_path_factory.mktemp("template")
    (made / "rows.py").write_text(TYPES)
    program = made / "write.py"
    program.write_text(_WRITE)
    run(program, made, {})
    return made


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """A folder with rows.py, which has the type Row, and 20 rows in three shards."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return tmp_path
