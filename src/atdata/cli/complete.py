"""What the shell completes: names of datasets in the local index."""

from __future__ import annotations

import logging
from contextlib import suppress
from itertools import islice

import typer

MOST = 1_000
"""How many entries are looked through: a completion has to be quick."""


def names_of_datasets(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names in the local index that begin with what was typed; none where there is no index."""
    from atdata.cli.targets import existing_index

    logging.disable()
    # Whatever is wrong shows when the command runs, not in the middle of typing it.
    with suppress(Exception):
        index = existing_index(ctx.params.get("index"))
        if index is not None:
            with index:
                names = {entry.name for entry in islice(index.list_datasets(), MOST)}
            return sorted(name for name in names if name.startswith(incomplete))
    return []
