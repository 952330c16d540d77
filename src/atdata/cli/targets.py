"""From what a person types to an index, an entry, a schema, a dataset or a store."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from atdata._protocols import IndexEntry
from atdata._refs import DATASET_COLLECTION, parse_at_uri, parse_name_ref
from atdata.dataset.dataset import Dataset
from atdata.dataset.load import open_entry
from atdata.errors import OptionError
from atdata.samples.codec import check_sample_type
from atdata.schema.model import Schema

_CLASS_AT_VERSION: Final = re.compile(r"\w+@\d+\.\d+\.\d+")
_SHARDS: Final = re.compile(r"[*?{/\\]|\.tar$")
"""What a path or URL of shards has, and the name of a dataset has not."""


def local_index(where: str | None, **options: Any) -> Any:
    """The local index that ``--index`` names, else the default one."""
    from atdata.local import LocalIndex

    return LocalIndex(where, **options)


def network_index() -> Any:
    """The network, read without a login."""
    from atdata.atmosphere import AtmosphereClient, AtmosphereIndex

    return AtmosphereIndex(AtmosphereClient())


def find_entry(target: str, where: str | None) -> tuple[IndexEntry, Any]:
    """The entry that a name or AT URI means, and the index that it is in."""
    if target.startswith("at://"):
        index = network_index()
    elif target.startswith("@"):
        local = parse_name_ref(target).owner == "local"
        index = local_index(where) if local else network_index()
    else:
        index = local_index(where)
    return index.get_dataset(target), index


def find_schema(target: str, where: str | None) -> tuple[Schema, str]:
    """The schema that a reference, ``Class@1.0.0`` or a dataset's name means, and its ref."""
    if _CLASS_AT_VERSION.fullmatch(target):
        target = f"atdata://local/sampleSchema/{target}"
    if target.startswith(("atdata://", "local://")):
        index = local_index(where)
    elif target.startswith("at://") and parse_at_uri(target).collection != DATASET_COLLECTION:
        index = network_index()
    else:
        entry, index = find_entry(target, where)
        target = entry.schema_ref
    schema: Schema = index.schema_of_ref(target)
    return schema, target


def find_dataset(target: str, where: str | None) -> Dataset[Any]:
    """The dataset that a path, URL, name or AT URI means."""
    if (target.startswith("at://") and "/blob/" not in target) or target.startswith("@"):
        return open_entry(*find_entry(target, where))
    if "://" in target or _SHARDS.search(target) or Path(target).exists():
        return Dataset(target)
    return open_entry(*find_entry(target, where))


def find_store(place: str) -> tuple[Any, str | None]:
    """The store that a folder or ``s3://bucket/prefix`` means, and the prefix, if one is given.

    Access to S3 comes from the AWS environment variables.
    """
    if place.startswith("s3://"):
        from atdata.stores.s3 import S3DataStore

        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        access = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        return S3DataStore(access, bucket=bucket), prefix.strip("/") or None
    if "://" in place:
        raise OptionError(f"{place!r} is no store. Give a folder or s3://bucket/prefix.")
    from atdata.stores.disk import DiskDataStore

    return DiskDataStore(Path(place)), None


def find_type(name: str) -> type:
    """The sample type ``module:Class`` that the user typed. Importing the module runs it.

    Raises:
        OptionError: There is no such module or class.
        SampleTypeError: The class is no sample type.
    """
    import importlib
    import sys

    module_name, colon, class_name = name.partition(":")
    if not colon or not class_name.isidentifier():
        raise OptionError(f"{name!r} names no type. Write module:Class, for example digits:Digit.")
    # As `python -m` does: a module beside the data can be named.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: type = getattr(importlib.import_module(module_name), class_name)
    except ModuleNotFoundError as error:
        raise OptionError(f"--type {name}: {error}.") from error
    except AttributeError as error:
        raise OptionError(f"--type {name}: {module_name} has no {class_name}.") from error
    check_sample_type(found)
    return found
