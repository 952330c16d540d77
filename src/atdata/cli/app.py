"""The app: all commands, and how each of them ends."""

from __future__ import annotations

import sys
import traceback
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from atdata._secrets import redacted
from atdata.cli import (
    demo,
    discover,
    head,
    insert,
    label,
    lenses,
    ls,
    promote,
    sandbox,
    schema,
    search,
    show,
    unpublish,
    verify,
)
from atdata.cli.error_wording import in_options
from atdata.cli.exit_codes import ExitCode, exit_code_of
from atdata.cli.output import plain
from atdata.cli.standard_streams import CLOSED_PIPE
from atdata.errors import AtdataError


class Commands(TyperGroup):
    """Ends a failed command with an error message and the exit code for that error."""

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


for command in (
    demo.demo,
    sandbox.sandbox,
    ls.ls,
    search.search,
    discover.discover,
    show.show,
    head.head,
    verify.verify,
    insert.insert,
    promote.promote,
    label.label,
    lenses.lenses,
    unpublish.unpublish,
):
    app.command()(command)
app.add_typer(schema.app, name="schema")
