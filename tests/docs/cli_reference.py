"""The generated part of docs/cli.md: ``python -m tests.docs.cli_reference`` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from atdata.cli.app import app
from atdata.cli.exit_codes import MEANINGS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
START = "<!-- made by python -m tests.docs.cli_reference: from here on -->"


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Each command below a group with its full name, in the order of the help."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word in command.commands:
        _, child, _ = command.resolve_command(typer.Context(command), [word])
        yield from commands(child, f"{name} {word}")


def reference() -> str:
    """Exit codes and commands as Markdown."""
    lines = ["", "## Exit codes", "", "| code | meaning |", "| --- | --- |"]
    lines += [f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()]
    for name, command in commands(typer.main.get_command(app), "atdata"):
        lines += ["", f"## {name}", ""]
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        words = [name, *(_value(p) for p in arguments)]
        words += [f"{p.opts[0]} {_value(p)}" for p in options if p.required]
        lines += ["```sh", " ".join(words), "```", "", *_text(command.help)]
        rows = [(_names(p), _help(p)) for p in (*arguments, *options)]
        if rows:
            lines += ["", "| | |", "| --- | --- |"]
            lines += [f"| `{names}` | {text} |" for names, text in rows]
    return "\n".join(lines) + "\n"


def _text(said: str) -> list[str]:
    return said.strip().replace("\n\n", "\0").replace("\n", " ").replace("\0", "\n\n").splitlines()


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return _value(parameter)
    names = ", ".join(parameter.opts)
    return names if parameter.is_flag else f"{names} {_value(parameter)}"


def _value(parameter: Any) -> str:
    assert parameter.metavar, f"{parameter.name} needs a metavar, for the help and this page"
    return str(parameter.metavar)


def _help(parameter: Any) -> str:
    said = " ".join((parameter.help or "").split())
    default = parameter.default
    if isinstance(default, int) and not isinstance(default, bool):
        said += f" Default: {default}."
    return said


def main() -> None:
    """Rewrite the page."""
    head = PAGE.read_text().partition(START)[0]
    PAGE.write_text(f"{head}{START}\n{reference()}")


if __name__ == "__main__":
    main()
