"""``atdata ls``: lists the datasets of an index or an account."""

from __future__ import annotations

from typing import Annotated

import typer

from atdata.cli.entry_facts import entry_facts, list_entries
from atdata.cli.options import IndexUrl, Json
from atdata.cli.resolve import check_account, index_to_list, network_index
from atdata.errors import OptionError


def ls(
    index: IndexUrl = None,
    network: Annotated[
        str | None,
        typer.Option(
            "--network",
            metavar="ACCOUNT",
            help="List the datasets that this handle or DID has published instead.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the datasets of an index or an account."""
    if index is not None and network is not None:
        raise OptionError("Give either --index or --network: one is listed.")
    if network is not None:
        check_account(network)
        entries = network_index().list_datasets(network)
    else:
        found_in = index_to_list(index)
        entries = found_in.list_datasets() if found_in is not None else iter(())
    found = (entry_facts(entry) for entry in entries)
    list_entries(found, ("name", "samples", "shards", "size", "schema"), as_json)
