"""The threat model promises nothing that no test holds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text()
TEST = re.compile(r"`((?:tests|fuzz)/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")


def promises() -> list[str]:
    """The items of the lists below "What is promised"."""
    section = PAGE.partition("## What is promised")[2].partition("\n## ")[0]
    return [" ".join(item.split()) for item in re.split(r"\n- ", section)[1:]]


@pytest.mark.parametrize("promise", promises(), ids=lambda promise: promise[:50])
def test_each_promise_names_its_tests(promise: str) -> None:
    """At least one test, and every one of them exists."""
    named = TEST.findall(promise)
    assert named
    for file, name in named:
        tree = ast.walk(ast.parse((ROOT / file).read_text()))
        assert name in {node.name for node in tree if isinstance(node, ast.FunctionDef)}, name
