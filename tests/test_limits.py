"""The limits on what comes from outside: listed, set by the user, and asked for."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest

import atdata
from atdata._limits import Limits, limits
from atdata.errors import OptionError, SchemaError, ShardError
from atdata.samples.kinds import Field, Primitive
from atdata.schema.build import build_type
from atdata.schema.model import Schema

SRC = Path(atdata.__file__).parent


def test_every_limit_is_asked_for() -> None:
    """There is no limit that nothing asks for."""
    used = "\n".join(path.read_text() for path in SRC.rglob("*.py") if path.name != "_limits.py")
    assert [f.name for f in fields(Limits) if f"limits.{f.name}" not in used] == []


def test_every_limit_says_what_it_is() -> None:
    """A line of text follows each limit."""
    tree = ast.parse((SRC / "_limits.py").read_text())
    [body] = [n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Limits"]
    for number, node in enumerate(body):
        if isinstance(node, ast.AnnAssign):
            following = body[number + 1]
            assert isinstance(following, ast.Expr), ast.unparse(node)


def test_every_limit_is_on_the_page() -> None:
    """The page lists each limit with its default and what it is, and no other."""
    tree = ast.parse((SRC / "_limits.py").read_text())
    [body] = [n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Limits"]
    rows = []
    for node, following in pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            assert isinstance(following, ast.Expr)
            about = " ".join(str(ast.literal_eval(following.value)).replace("``", "`").split())
            rows.append(f"| `{node.target.id}` | {getattr(Limits(), node.target.id):,} | {about} |")
    page = (Path(__file__).parents[1] / "docs" / "threat-model.md").read_text()
    assert [line for line in page.splitlines() if re.match(r"\| `\w+` \| [\d,]+ \|", line)] == rows


def test_a_program_sets_a_limit() -> None:
    """A limit counts from the moment when it is set, and a block gives it back."""
    schema = Schema("m.Wide", "1.0.0", tuple(Field(f"f{i}", Primitive("int")) for i in range(20)))
    with limits.set(fields=10), pytest.raises(SchemaError, match="at most 10 are allowed"):
        build_type(schema)
    build_type(schema)
    assert atdata.limits is limits


def test_the_limit_of_samples(tmp_path: Path) -> None:
    """A shard with one sample more than the limit is refused, and said to be."""
    path = tmp_path / "a.tar"
    dataset = atdata.write_samples([atdata.DictSample(x=i) for i in range(11)], path)
    with limits.set(samples=11):
        assert len(list(dataset.ordered())) == 11
    with limits.set(samples=10), pytest.raises(ShardError, match="more than 10 samples"):
        list(dataset.ordered())


@pytest.mark.parametrize("value", [0, -1, 1.5, "7", None, True])
def test_what_is_no_limit(value: object) -> None:
    """A limit is a whole number from 1 on; anything else leaves it as it was."""
    before = limits.fields
    with pytest.raises(OptionError, match=r"limits\.fields"):
        limits.fields = value  # type: ignore[assignment]
    assert limits.fields == before


def test_the_environment_sets_a_limit() -> None:
    """ATDATA_LIMIT_FIELDS counts for a process and for those that it starts."""
    code = "import atdata; print(atdata.limits.fields)"
    for said, shown in (("5000", "5000\n"), ("many", "")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "ATDATA_LIMIT_FIELDS": said},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == shown
        assert shown or "ATDATA_LIMIT_FIELDS='many'" in done.stderr
