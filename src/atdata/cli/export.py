"""``atdata export``: writes a dataset as a file of another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atdata._registry import FORMATS
from atdata.cli.options import IndexUrl, ShardsOrEntry
from atdata.cli.resolve import find_dataset
from atdata.dataset.dataset import Dataset
from atdata.dataset.recorded_type import recorded_type
from atdata.errors import OptionError
from atdata.exchange.recognise import of_name
from atdata.samples.dict_sample import DictSample


def export(
    dataset: ShardsOrEntry,
    to: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="The file to write; its ending says how: .parquet, .csv, .jsonl or .npz.",
        ),
    ],
    fields: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="NAME", help="A field to write; can be repeated."),
    ] = None,
    index: IndexUrl = None,
) -> None:
    """Write a dataset as Parquet, CSV, JSON lines or arrays of NumPy.

    The whole file is written or none.
    """
    found = find_dataset(dataset, index)
    if found.sample_type is DictSample:
        recorded = recorded_type(found.source)
        found = found if recorded is None else Dataset.of(recorded, found.source)
    if fields:
        found = found.select(*fields)
    row = of_name(to)
    if row is FORMATS["parquet"]:
        found.to_parquet(to)
    elif row is FORMATS["csv"]:
        found.to_csv(to)
    elif row is FORMATS["jsonl"]:
        found.to_jsonl(to)
    elif row is FORMATS["numpy"] and Path(to).suffix == ".npz":
        found.to_numpy(to)
    else:
        raise OptionError(
            f"{to!r} cannot be written: its ending has to be .parquet, .csv, .jsonl or .npz."
        )
    print(to)
