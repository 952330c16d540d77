"""``atdata verify``: whether the shards of a dataset are what was recorded of them."""

from __future__ import annotations

from typing import Annotated

import typer

from atdata.cli.complete import names_of_datasets
from atdata.cli.exits import ExitCode
from atdata.cli.options import SHARDS_OR_DATASET, IndexUrl, Json
from atdata.cli.output import count, emit, plain, size


def verify(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            show_default=False,
            help=SHARDS_OR_DATASET,
            autocompletion=names_of_datasets,
        ),
    ],
    index: IndexUrl = None,
    as_json: Json = False,
) -> None:
    """Read every shard to its end and hold it against its recorded size, hash and count.

    Each shard passed, failed, or is not checkable, where no hash is recorded. The exit code is
    0 only if all passed. With --json one JSON object a line.
    """
    from atdata.cli.targets import find_dataset
    from atdata.dataset.reading.verify import verify_shards
    from atdata.shards.tar.unread import listed

    found = find_dataset(dataset, index)
    seen = {"passed": 0, "failed": 0, "not checkable": 0}
    for verdict in verify_shards(found.source, found.known_shards()):
        seen[verdict.status] += 1
        if as_json:
            emit(verdict.to_dict())
            continue
        held = f"{count(verdict.samples)} samples, {size(verdict.bytes)}"
        why = verdict.reason or held
        if verdict.unread:
            why += f"; not read: {listed(verdict.unread)}"
        print(f"{verdict.status}: {plain(verdict.shard)}: {plain(why)}")
    if not as_json:
        print(", ".join(f"{number} {status}" for status, number in seen.items() if number))
    if seen["failed"]:
        raise typer.Exit(ExitCode.DAMAGED)
    if seen["not checkable"]:
        raise typer.Exit(ExitCode.FAILED)
