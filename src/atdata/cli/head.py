"""``atdata head``: the first samples of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from itertools import islice
from typing import Annotated, Any, cast

import typer

from atdata.cli.options import IndexUrl, Json, ShardsOrEntry
from atdata.cli.output import brief, emit
from atdata.cli.plain import plain


def head(
    dataset: ShardsOrEntry,
    number: Annotated[
        int, typer.Option("--number", "-n", metavar="N", min=1, help="How many samples.")
    ] = 5,
    index: IndexUrl = None,
    as_json: Json = False,
) -> None:
    """Print the first samples; arrays appear as dtype and shape."""
    from atdata.cli.resolve import find_dataset

    found = find_dataset(dataset, index)
    with closing(cast("Any", found.ordered())) as samples:
        for position, sample in enumerate(islice(samples, number)):
            fields = _fields(sample)
            if as_json:
                emit(fields, samples=True)
            else:
                shown = ", ".join(f"{plain(k)}={brief(v)}" for k, v in fields.items())
                print(f"{position}: {shown}")


def _fields(sample: Any) -> dict[str, Any]:
    if isinstance(sample, Mapping):
        return {name: sample[name] for name in sample}
    return {field.name: getattr(sample, field.name) for field in sample.__atdata_codec__.fields}
