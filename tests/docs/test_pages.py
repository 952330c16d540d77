"""Documentation is run: every Python block of every page, and what pages claim of other files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from atdata.testing.network import Network
from tests.docs.running import run
from tests.services.s3 import S3Server

ROOT = Path(__file__).resolve().parents[2]
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
PAGES = [*FRONT, ROOT / "examples" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PACKAGE = "<!-- package: "
"""What a page has that is a package, file by file; test_extending.py makes it."""
NEEDS = re.compile(r"<!-- needs: ([a-z0-9 ]+) -->")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def program_of(page: str) -> str:
    """The blocks of a page as one program, each line where it is on the page."""
    lines = [""] * (page.count("\n") + 1)
    for block in BLOCK.finditer(page):
        first = page.count("\n", 0, block.start(1))
        for number, line in enumerate(block[1].splitlines(), first):
            lines[number] = line
    return "\n".join(lines) + "\n"


def needed(page: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """Environment with the services that the page says it needs."""
    match = NEEDS.search(page)
    environment: dict[str, str] = {}
    for name in match[1].split() if match else ():
        environment.update(_SERVICES[name](request))
    return environment


def _redis(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"ATDATA_INDEX": request.getfixturevalue("redis_url")}


def _s3(request: pytest.FixtureRequest) -> dict[str, str]:
    server: S3Server = request.getfixturevalue("s3_server")
    bucket: str = request.getfixturevalue("s3_bucket")
    return {**server.credentials(), "BUCKET": bucket}


def _network(request: pytest.FixtureRequest) -> dict[str, str]:
    network: Network = request.getfixturevalue("network")
    account = network.create_account()
    return {
        **network.environment(),
        "ATDATA_ALLOW_PRIVATE": "1",
        "ATDATA_HANDLE": account.handle,
        "ATDATA_PASSWORD": account.password,
    }


_SERVICES = {"redis": _redis, "s3": _s3, "network": _network}


def _with_mark(page: Path) -> Any:
    marks = [pytest.mark.service] if NEEDS.search(page.read_text()) else []
    return pytest.param(page, marks=marks, id=str(page.relative_to(ROOT)))


@pytest.mark.parametrize(
    "page", [_with_mark(page) for page in PAGES if PACKAGE not in page.read_text()]
)
def test_the_page_runs(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Every Python block of the page runs, one after the other, as a reader would type them."""
    text = page.read_text()
    if not BLOCK.search(text):
        assert "```py" not in text, "a block of Python that is not run"
        return
    program = tmp_path / page.with_suffix(".py").name
    program.write_text(program_of(text))
    run(program, tmp_path, needed(text, request))


def test_install_lines_name_extras_that_there_are() -> None:
    """Every extra that the README installs is one of the package's."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = re.findall(r"atdata\[(\w+)\]", (ROOT / "README.md").read_text())
    assert named
    assert set(named) <= set(extras)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of the project leads to one that is there."""
    for target, _ in LINK.findall(CODE.sub("code", page.read_text())):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_figures_of_the_readme_are_measured() -> None:
    """Every figure that the README shows of a package is in docs/benchmarks.md, in its row."""
    section = (ROOT / "README.md").read_text().partition("## Speed")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z-]+) \| (\d.*) \|$", section, re.MULTILINE)
    assert len(rows) == 6
    measured = (ROOT / "docs" / "benchmarks.md").read_text()
    for name, cells in rows:
        found = "".join(re.findall(rf"^\| {name} +\|.*$", measured, re.MULTILINE))
        assert [cell for cell in cells.split(" | ") if f" {cell} (" not in found] == [], name


def test_every_make_target_is_described() -> None:
    """CONTRIBUTING.md has each target of the Makefile, and none that it does not have."""
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"`make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text())
    assert set(targets) == set(named)
    for workflow in (ROOT / ".github" / "workflows").iterdir():
        assert set(re.findall(r"\bmake ([a-z-]+)", workflow.read_text())) <= set(targets)
