"""Sample type → Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atdata.errors import SampleTypeError
from atdata.samples.codec import SampleCodec, codec_of
from atdata.samples.dict_sample import DictSample
from atdata.schema.model import Schema


def schema_of(
    sample_type: type,
    *,
    version: str = "1.0.0",
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Schema:
    """The schema of a sample type.

    Args:
        sample_type: A packable class, or a type from `build_type`, which keeps its schema's name.
        version: ``major.minor.patch``.
        description: What the samples are, for people; None: the docstring of the class.
        metadata: Any JSON values to store with the schema.

    Raises:
        SampleTypeError: Not a packable class, or `DictSample`, which has no schema.
        SchemaRefError: ``version`` is not one.
    """
    codec: SampleCodec[Any] = codec_of(sample_type)
    if sample_type is DictSample:
        raise SampleTypeError(
            "DictSample has no schema: its samples may hold anything. "
            "Write the fields down in a class of your own, decorated with @atdata.packable."
        )
    text = codec.description if description is None else description
    return Schema(codec.name, version, codec.fields, text, metadata)
