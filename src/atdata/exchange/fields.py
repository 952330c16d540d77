"""The fields of a dataset that goes out: its samples need a type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atdata.dataset.dataset import Dataset
from atdata.errors import SampleTypeError
from atdata.samples.codec import fields_of
from atdata.samples.kinds import Field


def typed_fields(dataset: Dataset[Any]) -> Mapping[str, Field]:
    """The fields of a dataset's samples, by name.

    Raises:
        SampleTypeError: They have no type.
    """
    found = fields_of(dataset.sample_type) if dataset._type_is_known else {}
    if not found:
        raise SampleTypeError(
            f"{dataset!r}: its samples have no type, so that their columns have none. Name it: "
            "Dataset[Photo](…), dataset.as_type(Photo), or the return annotation of a map."
        )
    return found
