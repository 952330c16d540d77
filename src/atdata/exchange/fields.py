"""The fields of a dataset that a caller names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from atdata.dataset.dataset import Dataset
from atdata.errors import OptionError
from atdata.samples.codec import codec_of
from atdata.samples.kinds import Field


def fields_to_write(dataset: Dataset[Any], fields: Sequence[str] | None) -> list[Field]:
    """The fields that the caller names; all of them if none is named.

    Raises:
        OptionError: There is no such field.
    """
    known = codec_of(dataset.sample_type).by_name
    if isinstance(fields, str):
        raise OptionError(f"fields={fields!r}: expected a list of names, [{fields!r}].")
    for name in fields or ():
        if name not in known:
            raise OptionError(
                f"{dataset.sample_type.__name__} has no field {name!r}. It has: {', '.join(known)}."
            )
    return [known[name] for name in (known if fields is None else fields)]
