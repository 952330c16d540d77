"""docs/architecture.md shows the house as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.docs import picture
from tests.test_house import LAYERS, SRC

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
LINE = re.compile(r"^( *)([\w.]+(?:/|\.py))(?: |$)", re.MULTILINE)


def pictured() -> set[str]:
    """Every file in the picture, by its path below the package."""
    drawn = PAGE.partition(picture.START)[2].partition(picture.END)[0]
    folders: list[str] = []
    found = set()
    for indent, name in LINE.findall(drawn):
        del folders[max(0, len(indent) // 2 - 1) :]
        if name.endswith("/"):
            folders.append(name)
        else:
            found.add("".join(folders) + name)
    return found


def test_every_module_is_in_the_picture() -> None:
    """The picture has every module that there is, and none that there is not."""
    there = {
        str(path.relative_to(SRC))
        for path in SRC.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    }
    assert pictured() == there


def test_the_layers_are_those_that_are_held() -> None:
    """The order of the rooms on the page is the one that test_house.py holds."""
    line = next(line for line in PAGE.splitlines() if line.startswith("`_secrets` <"))
    written = [set(re.findall(r"`([\w/]+)`", layer)) for layer in line.split("<")]
    assert written == LAYERS


COUNTS = re.compile(r"(\d+) for the first ordered one, (\d+) for a shuffled one,\s+and (\d+)")


def test_the_tour_names_the_files_that_a_batch_passes_through() -> None:
    """Whoever follows the tour finds every file that runs in it, and no more than it says."""
    command = [sys.executable, "-m", "bench.flow", "--files"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    heads = re.split(r"^(\w.*?) {2,}.*$", ran.stdout, flags=re.MULTILINE)[1:]
    files = {name: listed.split() for name, listed in zip(heads[::2], heads[1::2], strict=True)}
    tour = PAGE.partition("## Follow one batch")[2].partition("### Where is")[0]
    first = files["ordered, first batch"]
    assert [file for file in first if f"{Path(file).name}`" not in tour] == []
    said = COUNTS.search(tour)
    assert said is not None
    assert len(first) <= int(said[1])
    assert len(files["shuffled, first batch"]) <= int(said[2])
    assert len(files["ordered, next batch"]) <= int(said[3])
