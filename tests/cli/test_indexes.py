"""Commands that only read never create an index, and say if there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import atdata_command, documents

LOOKS = [
    ("ls",),
    ("search", "rows"),
    ("show", "rows"),
    ("show", "@local/rows@1.0.0"),
    ("head", "rows"),
    ("verify", "rows"),
    ("schema", "ls"),
    ("schema", "show", "rows"),
    ("schema", "diff", "Row@1.0.0", "Row@2.0.0"),
    ("label", "rows", "rows", "1.0.0"),
    ("promote", "rows", "--handle", "a.test", "--dry-run"),
    ("promote", "@local/rows", "--handle", "a.test"),
]


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_looking_makes_no_index(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A mistyped path is an error that names it; a missing default index counts as empty."""
    for place in ("no/index.db", f"sqlite://{tmp_path}/no/index.db"):
        done = atdata_command(tmp_path, *command, "--index", place)
        assert (done.returncode, done.stdout) == (3, "")
        assert f"no index at '{place}'" in done.stderr
    done = atdata_command(tmp_path, *command, more={"ATDATA_INDEX": "own/index.db"})
    lists = command[0] in ("ls", "search") or command[:2] == ("schema", "ls")
    assert (done.returncode, done.stdout) == (0 if lists else 3, "")
    assert "no index yet" in done.stderr
    done = atdata_command(tmp_path, *command, "--index", "postgresql//me:s3cret@localhost/db")
    assert (done.returncode, done.stdout) == (2, "")
    assert "postgresql://" in done.stderr
    assert "s3cret" not in done.stderr
    assert not list(tmp_path.rglob("*.db"))
    assert not list(tmp_path.rglob("postgresql*"))


def test_a_label_has_one_name_in_every_command(folder: Path) -> None:
    """Every command takes ``@local/name@version``, and suggests it for ``name@version``."""
    documents(folder, "insert", "rows-000000.tar", "--name", "rows", "--type", "rows:Row")
    documents(folder, "label", "rows", "rows", "3.0.0")
    documents(folder, "show", "@local/rows@3.0.0")
    bare = atdata_command(folder, "show", "rows@3.0.0")
    assert (bare.returncode, bare.stdout) == (3, "")
    assert "Did you mean '@local/rows@3.0.0'? atdata ls shows all." in bare.stderr
