"""Type checkers: README and docs pass mypy and Pyright, strict, and so does what a user writes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.docs.test_extending import FILE
from tests.docs.test_pages import BLOCK, PACKAGE, PAGES, program_of

PROGRAM = """
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

import atdata


class Digit(atdata.PackableSample):
    image: NDArray[np.uint8]
    label: int
    seen: datetime | None = None


@atdata.packable(frozen=True)
class Plain:
    image: NDArray[np.uint8]
    label: int = 0


digit = Digit(np.zeros((28, 28), np.uint8), 3)
packed: bytes = digit.packed
again: Digit = Digit.from_bytes(packed)
made: Digit = Digit.from_data({"image": digit.image, "label": 3})
written: atdata.Dataset[Digit] = atdata.write_samples([digit, again, made], "digits.tar")

dataset = atdata.Dataset[Digit]("digits.tar")
for batch in dataset.ordered(batch_size=3):
    shape: tuple[int, ...] = batch.image.shape
    labels: list[int] = batch.label
    total: int = sum(sample.label for sample in batch)
    first: Digit = batch.samples[0]
    keys: list[str] = batch.keys
    column = batch.column("image").mean()
for columns in dataset.batches(3, fill={"seen": datetime(2024, 1, 1)}):
    print(columns["image"].shape, columns["seen.mask"].sum())
for tensors in dataset.to_torch(3, num_workers=2):
    print(tensors["image"].shape)
one: Digit = dataset[0]
labels_of_some: list[int] = dataset[:2].label
by_key: Digit = dataset.by_key("000000000")
numbers: list[int] = list(dataset.map(lambda sample: sample.label, int))
threes: atdata.Dataset[Digit] = dataset.filter(lambda sample: sample.label == 3)
untyped = atdata.DictSample({"x": 1})
x: Any = untyped.x
plain = Plain(digit.image)
print(plain.label + 1, plain.image.shape)
"""

WRONG = """
import atdata


@atdata.packable
class Digit:
    label: int


class Point(atdata.PackableSample):
    x: float


Digit("3")  # wrong
Point()  # wrong
for digit in atdata.Dataset[Digit]("digits.tar"):
    print(digit.lable)  # wrong
"""

DOCUMENTS = {
    # Not the name of a module: a page is called types.
    f"page_{page.stem.lower().replace('-', '_')}": program_of(page.read_text())
    for page in PAGES
    if BLOCK.search(page.read_text()) and PACKAGE not in page.read_text()
}
PACKAGES = [page.read_text() for page in PAGES if PACKAGE in page.read_text()]
for name, text in FILE.findall("\n".join(PACKAGES)):
    if name.endswith(".py"):
        stem = name.removesuffix(".py")
        DOCUMENTS[stem] = f"{DOCUMENTS.get(stem, '')}{text}\n\n"
PROGRAMS = {**DOCUMENTS, "right": PROGRAM, "wrong": WRONG}
UNTYPED = ("msgpack", "webdataset")
"""Packages without types that documents import: a user of strict checkers writes such stubs."""
STUB = "from typing import Any\n\ndef __getattr__(name: str) -> Any: ...\n"
PYRIGHT = {
    "typeCheckingMode": "strict",
    "ignore": ["typings"],
    # A page shows values, and a class before and after a change.
    "reportUnusedExpression": False,
    "reportRedeclaration": False,
}


def mypy(folder: Path) -> dict[str, set[int]]:
    """Lines with errors, by file."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache"]
    command += ["--disable-error-code=no-redef", "--exclude=typings", "."]
    environment = {**os.environ, "MYPYPATH": "typings"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return _by_file(re.findall(r"^(\w+)\.py:(\d+): error", done.stdout, re.MULTILINE), done.stdout)


def pyright(folder: Path) -> dict[str, set[int]]:
    """The same."""
    (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    errors = [e for e in json.loads(done.stdout)["generalDiagnostics"] if e["severity"] == "error"]
    found = [(Path(e["file"]).stem, e["range"]["start"]["line"] + 1) for e in errors]
    return _by_file(found, json.dumps(errors, indent=1))


def _by_file(found: Iterable[tuple[str, int | str]], said: str) -> dict[str, set[int]]:
    print(said)
    lines: dict[str, set[int]] = {name: set() for name in PROGRAMS}
    for name, line in found:
        lines[name].add(int(line))
    return lines


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_type_checkers_pass_what_is_right(
    checker: Callable[[Path], dict[str, set[int]]], tmp_path: Path
) -> None:
    """No errors in any page and in a user's program; those that there are, are found."""
    for package in UNTYPED:
        (tmp_path / "typings" / package).mkdir(parents=True)
        (tmp_path / "typings" / package / "__init__.pyi").write_text(STUB)
    for name, text in PROGRAMS.items():
        (tmp_path / f"{name}.py").write_text(text)
    found = checker(tmp_path)
    assert {name: lines for name, lines in found.items() if lines and name != "wrong"} == {}
    marked = {n for n, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# wrong")}
    assert len(marked) == 3
    assert marked <= found["wrong"]
