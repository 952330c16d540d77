"""docs/architecture.md shows the house as it stands."""

from __future__ import annotations

import re
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
