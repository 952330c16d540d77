"""Defaults of a class that others who read a dataset by its schema would not have."""

from __future__ import annotations

from typing import Any

from atdata._warnings import warn
from atdata.dataset.dataset import Dataset
from atdata.dataset.reading.selecting import Select
from atdata.dataset.recorded_type import recorded_schema
from atdata.errors import DecodeError, LostDefaultWarning, ShardError, UnknownKindError
from atdata.samples.codec import SampleCodec, codec_of
from atdata.samples.dict_sample import DictSample
from atdata.samples.selected import LackedError, strict_type
from atdata.sources.capabilities import local_path


def warn_of_lost_defaults(ds: Dataset[Any]) -> None:
    """Warn of a field that samples of local shards lack, whose default the schema does not have.

    Only the fields that have such defaults are read.
    """
    if ds.sample_type is DictSample:
        return
    codec: SampleCodec[Any] = codec_of(ds.sample_type)
    names = tuple(sorted(codec.unrecorded))
    if not names or any(local_path(ds.source, shard) is None for shard in ds.shard_list):
        return
    if ds.layout != "members" and _were_written(ds, names):
        return
    strict = strict_type(ds.sample_type, names)
    try:
        for _ in ds._with(Select(names, strict), strict):
            pass
    except LackedError as error:
        name, kind = str(error), codec.by_name[str(error)]
        others = "read None there" if kind.optional else "cannot read these samples"
        warn(
            LostDefaultWarning(
                f"{ds.sample_type.__name__}.{name}: a sample lacks it, and a schema does not have "
                f"the default. Others, who read the dataset by its schema, {others}. Write it "
                "again with atdata.write_samples, which stores the values, and insert that; or "
                f"declare the field as T | None = None."
            )
        )
    except (DecodeError, ShardError):
        return  # whoever reads it is told


def _were_written(ds: Dataset[Any], names: tuple[str, ...]) -> bool:
    """Whether all samples were written with these fields."""
    try:
        found = recorded_schema(ds.source)
    except UnknownKindError:
        return False
    return found is not None and set(names) <= set(found[0].field_names)
