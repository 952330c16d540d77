"""``atdata verify``: checks the shards of a dataset against what was recorded."""

from __future__ import annotations

import typer

from atdata.cli.exit_codes import ExitCode
from atdata.cli.options import IndexUrl, Json, ShardsOrEntry
from atdata.cli.output import count, emit, size
from atdata.cli.plain import plain


def verify(dataset: ShardsOrEntry, index: IndexUrl = None, as_json: Json = False) -> None:
    """Check every shard against what was recorded of it.

    Reads each shard to its end, compares size, hash and sample count, and prints passed, failed,
    or not checkable if no hash was recorded. The exit code is 0 only if all passed.
    """
    from atdata.cli.resolve import find_dataset
    from atdata.dataset.reading.verify import verify_shards
    from atdata.shards.tar.members import listed

    found = find_dataset(dataset, index)
    seen = {"passed": 0, "failed": 0, "not checkable": 0}
    for verdict in verify_shards(found.source, found.known_shards()):
        seen[verdict.status] += 1
        if as_json:
            emit(verdict.to_dict())
            continue
        why = verdict.reason or f"{count(verdict.samples)} samples, {size(verdict.bytes)}"
        if verdict.unread:
            why += f"; not read: {listed(verdict.unread)}"
        print(f"{verdict.status}: {plain(verdict.shard)}: {plain(why)}")
    if not as_json:
        print(", ".join(f"{number} {status}" for status, number in seen.items() if number))
    if seen["failed"]:
        raise typer.Exit(ExitCode.DAMAGED)
    if seen["not checkable"]:
        raise typer.Exit(ExitCode.FAILED)
