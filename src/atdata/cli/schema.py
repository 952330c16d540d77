"""``atdata schema``: lists, shows and compares schemas."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from atdata._protocols import AbstractIndex
from atdata.cli.exit_codes import ExitCode
from atdata.cli.options import IndexUrl, Json
from atdata.cli.output import emit, listing
from atdata.cli.plain import plain
from atdata.cli.resolve import find_schema, index_to_list
from atdata.schema.evolve import compare
from atdata.schema.model import Schema

schema = typer.Typer(
    name="schema",
    help="List, show and compare schemas.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_HELP = (
    "A schema reference, Class@1.0.0, Class for its newest version, or the name or AT URI of a "
    "dataset."
)


@schema.command("ls")
def ls(index: IndexUrl = None, as_json: Json = False) -> None:
    """List the schemas of the local index."""
    found: AbstractIndex | None = index_to_list(index)
    records = found.list_schemas() if found is not None else iter(())
    listing(
        records,
        ("name", "version", "fields"),
        lambda record: (record["name"], record["version"], str(len(record["fields"]))),
        as_json,
    )


@schema.command("show")
def show(
    target: Annotated[str, typer.Argument(metavar="SCHEMA", help=_HELP)],
    index: IndexUrl = None,
    python: Annotated[bool, typer.Option("--python", help="Print it as a Python class.")] = False,
    as_json: Json = False,
) -> None:
    """Show the fields of a schema."""
    found, ref = find_schema(target, index)
    if as_json:
        emit({"ref": ref, **_facts(found)})
    elif python:
        from atdata.schema.stubs import stub

        print(stub(found), end="")
    else:
        print(plain(str(found), lines=True))


@schema.command("diff")
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help=_HELP)],
    new: Annotated[str, typer.Argument(metavar="NEW", help=_HELP)],
    index: IndexUrl = None,
    as_json: Json = False,
) -> None:
    """Show what changed between two schemas.

    The exit code is 0 if data written as OLD can be read as NEW, and 7 if not.
    """
    found = compare(find_schema(old, index)[0], find_schema(new, index)[0])
    if as_json:
        groups = ("added", "removed", "changed", "made_optional", "made_required")
        emit(
            {
                "compatible": found.compatible,
                "reordered": found.reordered,
                **{group: [str(item) for item in getattr(found, group)] for group in groups},
            }
        )
    else:
        print(plain(str(found), lines=True))
    if not found.compatible:
        raise typer.Exit(ExitCode.CONFLICT)


def _facts(schema: Schema) -> dict[str, Any]:
    return {
        "name": schema.name,
        "version": schema.version,
        "description": schema.description,
        "fields": [
            {
                "name": f.name,
                "type": f.kind.describe(),
                "optional": f.optional,
                "unit": f.unit,
                "description": f.description,
            }
            for f in schema.fields
        ],
    }
