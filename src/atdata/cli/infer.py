"""A sample type for shards that came without one, from what their first samples hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from itertools import islice
from typing import Any, Final, cast

import numpy as np

from atdata._protocols import DataSource
from atdata.dataset.dataset import Dataset
from atdata.errors import NoDataUrlsError, OptionError
from atdata.samples.dict_sample import DictSample
from atdata.samples.kinds import Array, Field, Kind, ListOf, MapOf, Maybe, Primitive
from atdata.schema.build import build_type
from atdata.schema.model import Schema

LOOKED_AT: Final = 200
"""How many samples are looked at."""
_HINT: Final = "Say what a sample is with --type module:Class or --schema REF."


def infer_type(source: DataSource, name: str) -> type:
    """A type that the first samples fit; its name is made of the dataset's.

    Raises:
        OptionError: A field whose kind the samples do not tell.
        NoDataUrlsError: There are no samples.
    """
    with closing(cast("Any", Dataset.of(DictSample, source).ordered())) as samples:
        first: list[DictSample] = list(islice(samples, LOOKED_AT))
    if not first:
        raise NoDataUrlsError(f"There are no samples in the shards. {_HINT}")
    names = dict.fromkeys(field for sample in first for field in sample)
    fields = tuple(_field(field, first) for field in names)
    return build_type(Schema(f"inferred.{_class_name(name)}", "1.0.0", fields))


def _field(name: str, samples: list[DictSample]) -> Field:
    values = [sample.get(name) for sample in samples]
    kind = _kind_of_all([value for value in values if value is not None], f"$.{name}")
    return Field(name, kind, optional=any(value is None for value in values))


def _kind_of_all(values: list[Any], path: str) -> Kind:
    found: Kind | None = None
    for value in values:
        kind = _kind_of(value, path)
        found = kind if found is None or found == kind else _both(found, kind, path)
    if found is None:
        raise OptionError(f"{path}: the first samples hold no value that tells its kind. {_HINT}")
    return found


def _kind_of(value: Any, path: str) -> Kind:
    if isinstance(value, np.ndarray):
        return Array(str(value.dtype))
    if isinstance(value, list):
        return ListOf(_items(value, f"{path}[]"))
    if isinstance(value, Mapping):
        return MapOf(_items(list(value.values()), f"{path}[]"))
    return Primitive(type(value).__name__)


def _items(values: list[Any], path: str) -> Kind:
    kind = _kind_of_all([value for value in values if value is not None], path)
    return Maybe(kind) if any(value is None for value in values) else kind


def _both(a: Kind, b: Kind, path: str) -> Kind:
    """The kind that has the values of both."""
    match a, b:
        case Array(), Array():
            return Array()
        case Primitive("int" | "float"), Primitive("int" | "float"):
            return Primitive("float")
        case (ListOf(x), ListOf(y)):
            return ListOf(x if x == y else _both(x, y, f"{path}[]"))
        case (MapOf(x), MapOf(y)):
            return MapOf(x if x == y else _both(x, y, f"{path}[]"))
        case (Maybe(x), Maybe(y)) | (Maybe(x), y) | (x, Maybe(y)):
            return Maybe(x if x == y else _both(x, y, path))
    raise OptionError(f"{path}: some samples hold {a.describe()}, others {b.describe()}. {_HINT}")


def _class_name(name: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", name)
    made = "".join(word[:1].upper() + word[1:] for word in words)
    return made if made.isidentifier() else f"Sample{made}"
