"""Shell completion: names of datasets in the local index."""

from __future__ import annotations

import logging
from contextlib import suppress
from itertools import islice
from typing import Final

import typer

_MAX_ENTRIES: Final = 1_000
"""How many entries are searched: completion has to be quick."""


def names_of_datasets(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names in the local index that start with what was typed; none if there is no index."""
    from atdata.cli.resolve import existing_index

    logging.disable()
    # The command reports what is wrong when it runs; nothing may be printed while it is typed.
    with suppress(Exception):
        index = existing_index(ctx.params.get("index"))
        if index is not None:
            with index:
                names = {entry.name for entry in islice(index.list_datasets(), _MAX_ENTRIES)}
            return sorted(name for name in names if name.startswith(incomplete))
    return []
