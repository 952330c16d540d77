"""The app: all commands, and how each of them ends."""

from __future__ import annotations

import keyword
import sys
import traceback
import warnings
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from atdata._secrets import redacted
from atdata.cli.error_wording import in_options
from atdata.cli.exit_codes import ExitCode, exit_code_of
from atdata.cli.plain import plain
from atdata.cli.standard_streams import CLOSED_PIPE
from atdata.errors import AtdataError
from atdata.system.forks import load_module

_COMMANDS: Final = {
    "demo": "Make, index, publish and read back a dataset, locally.",
    "sandbox": "Run an AT Protocol network on this machine until Ctrl-C.",
    "ls": "List the datasets of an index or an account.",
    "search": "Search the local index, best match first.",
    "discover": "Find the datasets of all accounts on servers or relays.",
    "show": "Show the shards, schema and description of a dataset.",
    "head": "Print the first samples; arrays appear as dtype and shape.",
    "verify": "Check every shard against what was recorded of it.",
    "insert": "Record shards as a dataset of the local index.",
    "convert": "Write the samples of a dataset to new shards of either layout.",
    "import": "Make shards of a table, pictures or arrays, and record them as a dataset.",
    "export": "Write a dataset as Parquet, CSV, JSON lines or arrays of NumPy.",
    "promote": "Publish a dataset on the network and print its AT URI.",
    "label": "Make NAME@VERSION mean this dataset, whatever revisions follow.",
    "lenses": "List the lenses of an account, and where to read their code.",
    "unpublish": "Delete one of your records from the network.",
    "schema": "List, show and compare schemas.",
}
"""Every command, each in the module of its name, with the first line of its help: only the command
that is run is loaded."""


class Commands(TyperGroup):
    """Loads a command when it is run, and ends a failed one with a message and an exit code."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        for name, line in _COMMANDS.items():
            self.add_command(TyperCommand(name, help=line))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that a command line names, and load it."""
        name, known, rest = super().resolve_command(ctx, args)
        return name, known and _loaded(str(known.name)), rest

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Parse the command line, and print the help or version if asked to."""
        try:
            return super().make_context(*arguments, **named)
        except BrokenPipeError:
            raise typer.Exit(CLOSED_PIPE) from None

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _warned
                return super().invoke(ctx)
        except (KeyboardInterrupt, typer.Abort):
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output has stopped reading, as `head` does.
            raise typer.Exit(CLOSED_PIPE) from None
        except (AtdataError, OSError) as error:
            raise self._ended(ctx, error, str(error)) from error
        except (typer.Exit, SystemExit):
            raise
        except Exception as error:
            if not _is_ours(error):
                raise
            message = f"{type(error).__name__}: {error}. atdata --debug … prints the traceback."
            raise self._ended(ctx, error, message) from error

    def _ended(self, ctx: Any, error: BaseException, message: str) -> typer.Exit:
        if ctx.params.get("debug"):
            trace = "".join(traceback.format_exception(error))
            print(redacted(trace), end="", file=sys.stderr)
        print(f"error: {plain(redacted(in_options(message)), lines=True)}", file=sys.stderr)
        return typer.Exit(exit_code_of(error))


def _loaded(name: str) -> Any:
    # Such as import, which no function can be called.
    word = f"{name}_" if keyword.iskeyword(name) else name
    found = getattr(load_module(f"atdata.cli.{word}"), word)
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name)(found)
    return typer.main.get_command(alone)


def _warned(message: Warning | str, *_: Any, **__: Any) -> None:
    # The line of code that warned means nothing at a shell.
    print(f"warning: {plain(redacted(str(message)), lines=True)}", file=sys.stderr)


def _is_ours(error: Exception) -> bool:
    # Typer reports wrong usage itself, and better than we could.
    return type(error).__module__.partition(".")[0] not in ("typer", "click")


def _version(wanted: bool) -> None:
    if wanted:
        from atdata._version import __version__

        print(f"atdata {__version__}")
        raise typer.Exit(ExitCode.OK)


app = typer.Typer(
    cls=Commands,
    name="atdata",
    help="Typed machine-learning datasets: from one laptop to a public network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Print tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Typed machine-learning datasets: from one laptop to a public network."""
