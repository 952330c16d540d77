"""docs/cli.md says what the commands do, and what pages show of the command line exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

import atdata
from atdata.cli.app import app
from tests.docs import cli_reference
from tests.docs.test_pages import PAGES

SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_reference_is_what_the_commands_say() -> None:
    """Every command, option and exit code is on the page, and none that is not there."""
    _, _, reference = cli_reference.PAGE.read_text().partition(cli_reference.START + "\n")
    assert reference == cli_reference.reference(), "run python -m tests.docs.cli_reference"


def test_the_help_lists_each_command_by_its_first_line() -> None:
    """``atdata --help``, which loads no command, has the line that the command's own help has."""
    group: Any = typer.main.get_command(app)
    for name, listed in group.commands.items():
        command: Any = group.resolve_command(typer.Context(group), [name])[1]
        assert command.name == name
        assert command.help.partition("\n")[0] == listed.help, name


def test_every_environment_variable_is_named() -> None:
    """The page names each variable that the package reads."""
    source = Path(atdata.__file__).parent
    read = set()
    for path in source.rglob("*.py"):
        read |= set(re.findall(r'"(ATDATA_[A-Z_]+)"', path.read_text()))
    page = cli_reference.PAGE.read_text()
    assert {name for name in read if f"`{name}`" not in page} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_a_page_exist(page: Path) -> None:
    """Every ``atdata …`` line of a page has a command and options that there are."""
    for block in SHELL.findall(page.read_text()):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["atdata"]:
                _check(words[1:], line)


def _check(words: list[str], line: str) -> None:
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        assert words, line
        assert words[0] in command.commands, line
        command = command.resolve_command(typer.Context(command), [words.pop(0)])[1]
    options = {name for p in command.params for name in p.opts}
    assert {word for word in words if word.startswith("-")} <= options, line
