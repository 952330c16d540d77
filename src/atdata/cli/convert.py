"""``atdata convert``: writes the samples of a dataset to new shards."""

from __future__ import annotations

import os
from typing import Annotated, Any, cast

import typer

from atdata._shardlist import Layout
from atdata.cli.options import IndexUrl, Json
from atdata.cli.output import count, emit, note, progress, size
from atdata.cli.plain import plain
from atdata.cli.resolve import find_dataset, find_schema, find_type
from atdata.dataset.convert import Conversion
from atdata.dataset.dataset import Dataset
from atdata.dataset.dataset_dict import by_split
from atdata.dataset.reading.steps import OnError
from atdata.dataset.recorded_type import check_recorded, recorded_type
from atdata.errors import AtdataError, OptionError, UnknownKindError
from atdata.samples.dict_sample import DictSample
from atdata.schema.build import build_type


def convert(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SRC...",
            help="What to read: a name in the local index, @handle/name, at://…, or paths, "
            "folders and URLs of shards. Braces and globs are expanded.",
        ),
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="DST",
            help="Path of the new shards: fast/photos-%06d.tar, photos.tar, or a folder.",
        ),
    ],
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            metavar="LAYOUT",
            help="msgpack: one member a sample, which is read fastest. members: files as "
            "WebDataset has them.",
        ),
    ] = "msgpack",
    sample_type: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="MODULE:CLASS",
            help="Type to read the samples as: a class of yours, whose module is imported. Without "
            "--type and --schema it is the recorded one; if there is none, samples have no type, "
            "and pictures become bytes.",
        ),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema",
            metavar="REF",
            help="Schema to read the samples as, from the index: a reference or Class@1.0.0.",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="Convert this split only.")
    ] = None,
    samples_per_shard: Annotated[
        int | None,
        typer.Option(
            "--samples-per-shard",
            metavar="N",
            min=1,
            help="Cut new shards after so many samples; without it each shard becomes one.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", min=1, help="Processes; default: one for each processor."
        ),
    ] = None,
    on_error: Annotated[
        str,
        typer.Option(
            "--on-error",
            metavar="WORD",
            help="raise: stop at a sample that cannot be decoded. skip: leave it out, and count.",
        ),
    ] = "raise",
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", help="Begin again instead of resuming; what is unfinished is deleted."
        ),
    ] = False,
    index: IndexUrl = None,
    as_json: Json = False,
) -> None:
    """Write the samples of a dataset to new shards of either layout.

    Keys stay. The new shards are the same for any number of workers. They get their names when all
    of them are written; a command that was interrupted resumes when it is run again.
    """
    source = find_dataset(sources[0], index) if len(sources) == 1 else Dataset(list(sources))
    if split is not None:
        source = by_split(source)[split]
    dataset = _chosen(source, sample_type, schema, index, cast("OnError", on_error))
    conversion = Conversion(
        dataset, target, layout=cast("Layout", layout), samples_per_shard=samples_per_shard
    )
    parts, whole = conversion.parts, conversion.whole
    if whole and not restart:
        note(f"{whole:,} of {parts:,} shards were written before")
    try:
        with progress("converting", parts, unit="shards") as advance:
            made = conversion.run(workers or _processors(), restart=restart, advance=advance)
    except (AtdataError, KeyboardInterrupt):
        if whole := conversion.whole:
            note(f"{whole:,} of {parts:,} shards are written; the same command resumes")
        raise
    shards = made.known_shards()
    samples, written = len(made), sum(shard.bytes or 0 for shard in shards)
    if as_json:
        urls = [shard.url for shard in shards]
        emit({"shards": urls, "samples": samples, "bytes": written})
        return
    last = f" … {os.path.basename(shards[-1].url)}" if len(shards) > 1 else ""  # noqa: PTH119
    print(f"{plain(shards[0].url)}{plain(last)}: {count(samples)} samples, {size(written)}")


def _chosen(
    source: Dataset[Any],
    type_name: str | None,
    schema: str | None,
    index: str | None,
    on_error: OnError,
) -> Dataset[Any]:
    """The dataset, read as the type that was asked for, or else the recorded one."""
    chosen: type = source.sample_type
    if schema is not None and type_name is not None:
        raise OptionError("Give either --schema or --type: each says what a sample is.")
    if schema is not None or type_name is not None:
        chosen = build_type(find_schema(schema, index)[0]) if schema else find_type(str(type_name))
        check_recorded(source.source, chosen)
    elif chosen is DictSample:
        try:
            chosen = recorded_type(source.source) or chosen
        except UnknownKindError as error:
            note(f"{error} The samples are read without a type.")
    return Dataset.of(chosen, source.source, shards=source.known_shards(), on_error=on_error)


def _processors() -> int:
    known = getattr(os, "sched_getaffinity", None)
    return len(known(0)) if known else os.cpu_count() or 1
