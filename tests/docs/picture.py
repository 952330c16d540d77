"""The picture in docs/architecture.md, made of the modules: ``python -m tests.docs.picture``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.test_house import LAYERS, NESTED, SRC

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"
START, END = "```text\natdata/\n", "\n```\n"


def said(module: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(module.read_text())) or ""
    return " ".join(text.partition("\n\n")[0].split()).rstrip(".").replace("``", "")


def lines(folder: Path, depth: int) -> Iterator[str]:
    """One line a module, folders after files."""
    indent = "  " * depth
    for path in sorted(folder.glob("*.py")):
        if path.name not in ("__init__.py", "__main__.py"):
            yield f"{indent}{path.name:<{24 - 2 * depth}}{said(path)}"
    for path in sorted(folder.glob("*/__init__.py")):
        yield from room(path.parent, depth)


def room(folder: Path, depth: int) -> Iterator[str]:
    """A folder and what is in it."""
    name = f"{folder.name}/"
    yield f"{'  ' * depth}{name:<{24 - 2 * depth}}{said(folder / '__init__.py')}"
    yield from lines(folder, depth + 1)


def picture() -> str:
    """Every room, from the ground up."""
    found: list[str] = []
    for name in (name for layer in LAYERS for name in sorted(layer - NESTED)):
        if (SRC / name).is_dir():
            found += room(SRC / name, 1)
        else:
            found.append(f"  {name + '.py':<22}{said(SRC / f'{name}.py')}")
    return "\n".join(found)


def main() -> None:
    """Redraw the picture."""
    before, start, rest = PAGE.read_text().partition(START)
    PAGE.write_text(f"{before}{start}{picture()}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
