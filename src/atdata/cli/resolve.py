"""What a user types, resolved to an index, entry, schema, dataset, store or sample type."""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from typing import Any, Final

from atdata._protocols import IndexEntry
from atdata._refs import (
    ALT_DATASET_COLLECTION,
    DATASET_COLLECTION,
    account_of,
    is_did,
    is_handle,
    parse_at_uri,
    parse_name_ref,
    reference,
    unseen_in,
)
from atdata.cli.output import note
from atdata.dataset.dataset import Dataset
from atdata.errors import (
    DatasetNotFoundError,
    NotFoundError,
    OptionError,
    RefError,
    SchemaNotFoundError,
)
from atdata.indexing.did_you_mean import did_you_mean
from atdata.indexing.open_entry import open_entry
from atdata.samples.codec import check_sample_type
from atdata.schema.model import Schema
from atdata.system.files import user_path

_CLASS_AT_VERSION: Final = re.compile(r"\w+@\d+\.\d+\.\d+")
_DATASETS: Final = (DATASET_COLLECTION, ALT_DATASET_COLLECTION)
_PATH: Final = re.compile(r"[/~]|\.\.?/")
"""The start of a path that cannot be a name."""
_PATTERN: Final = re.compile(r"[*?{]")
"""A character of a glob or brace pattern."""


def local_index(where: str | None, **options: Any) -> Any:
    """The local index that ``--index`` names, else the default one."""
    from atdata.local import LocalIndex

    return LocalIndex(where, **options)


def existing_index(where: str | None) -> Any | None:
    """The same, or None if its file does not exist: reading must not create an index."""
    from atdata.local.open_backend import file_of

    file = file_of(where)
    return local_index(where) if file is None or file.exists() else None


def index_to_list(where: str | None) -> Any | None:
    """The same; if the default index does not exist yet, print a note and return None.

    Raises:
        NotFoundError: ``--index`` names a file that does not exist.
    """
    index = _named_or_none(where)
    if index is None:
        note("there is no index yet; atdata insert makes one")
    return index


def index_with(target: str, where: str | None) -> Any:
    """The local index to look up a dataset or schema in; a NotFoundError if there is none."""
    index = _named_or_none(where)
    if index is None:
        raise DatasetNotFoundError(
            f"There is no index yet, and so no {target!r}. atdata insert makes one."
        )
    return index


def _named_or_none(where: str | None) -> Any | None:
    index = existing_index(where)
    if index is None and where is not None:
        raise _no_index(where)
    return index


def _no_index(where: str) -> NotFoundError:
    return NotFoundError(
        f"There is no index at {where!r}, and none was made. atdata insert makes one."
    )


def network_index() -> Any:
    """The index of the network, without a login."""
    from atdata.atmosphere import AtmosphereClient, AtmosphereIndex

    return AtmosphereIndex(AtmosphereClient())


def check_account(account: str) -> None:
    """Refuse what is neither a handle nor a DID, with a RefError, before any server is asked."""
    name = account_of(account)
    if not (is_did(name) or is_handle(name.lower())):
        raise RefError(
            f"{account!r} is not an account. Give a handle, such as alice.example.com, or a DID."
            f"{unseen_in(name)}"
        )


def find_entry(target: str, where: str | None) -> tuple[IndexEntry, Any]:
    """The entry that a name or AT URI refers to, and the index that has it."""
    target = reference(target)
    if target.startswith("at://"):
        index = network_index()
    elif target.startswith("@"):
        local = parse_name_ref(target).owner == "local"
        index = index_with(target, where) if local else network_index()
    else:
        index = index_with(target, where)
    return index.get_dataset(target), index


def find_schema(target: str, where: str | None) -> tuple[Schema, str]:
    """The schema that a reference, ``Class@1.0.0``, a dataset's name or a class's refers to.

    Returns:
        The schema and its reference. A class's name means its newest version; a dataset of this
        name comes first.
    """
    target = reference(target)
    if _CLASS_AT_VERSION.fullmatch(target):
        target = f"atdata://local/sampleSchema/{target}"
    if target.startswith(("atdata://", "local://")):
        index = index_with(target, where)
    elif target.startswith("at://") and parse_at_uri(target).collection not in _DATASETS:
        index = network_index()
    else:
        try:
            entry, index = find_entry(target, where)
            target = entry.schema_ref
        except DatasetNotFoundError as error:
            index = existing_index(where)
            target = _newest_of_class(target, index, error)
    schema: Schema = index.schema_of_ref(target)
    return schema, target


def _newest_of_class(target: str, index: Any | None, error: DatasetNotFoundError) -> str:
    """The reference of the newest schema of a class that was named without a version.

    Raises:
        SchemaNotFoundError: It has other versions than the one that was named, or several classes
            have this name.
        DatasetNotFoundError: There is no such class.
    """
    class_name, at, version = target.partition("@")
    if index is None or not class_name.isidentifier():
        raise error
    every: dict[str, list[tuple[str, str, str]]] = {}
    for record in index.list_schemas():
        if not record.ref.startswith("at://"):
            short = record.ref.rpartition("/")[2]
            known = record.ref, short, record["name"]
            every.setdefault(short.partition("@")[0], []).append(known)
    found = every.get(class_name, [])
    if not found:
        if hint := did_you_mean(class_name, every).rstrip():
            raise DatasetNotFoundError(f"{error} No schema has this name either. {hint}") from error
        raise error
    written = ", ".join(f"{short} ({name})" for _, short, name in found[-10:])
    if at:
        raise SchemaNotFoundError(
            f"{version!r} is not a version, which is major.minor.patch. Published: {written}."
        ) from error
    if len({name for *_, name in found}) > 1:
        raise SchemaNotFoundError(
            f"Several classes are named {class_name!r}. Write one of these with its version: "
            f"{written}."
        ) from error
    return found[-1][0]


def find_dataset(target: str, where: str | None) -> Dataset[Any]:
    """The dataset that a path, URL, name or AT URI refers to.

    A possible name is looked up in the index first, so that a file that happens to be in the
    folder cannot take the place of a dataset.

    Raises:
        DatasetNotFoundError: Neither the index nor the folder has it.
    """
    target = reference(target)
    if (target.startswith("at://") and "/blob/" not in target) or target.startswith("@"):
        return open_entry(*find_entry(target, where))
    if "://" in target or _PATH.match(target):
        return Dataset(target)
    is_path = user_path(target).exists()
    index = existing_index(where)
    if index is None and where is not None and not is_path and not _PATTERN.search(target):
        raise _no_index(where)
    if index is not None:
        try:
            entry = index.get_dataset(target)
        except (NotFoundError, RefError) as error:
            if not is_path and not _PATTERN.search(target):
                raise DatasetNotFoundError(f"There is no path {target!r} here. {error}") from error
        else:
            if is_path:
                note(f"{target!r} is a dataset of the index; ./{target} reads the path.")
            return open_entry(entry, index)
    if is_path or _PATTERN.search(target):
        return Dataset(target)
    raise DatasetNotFoundError(
        f"There is no path {target!r} here, and no index yet. atdata insert records shards in one."
    )


def find_type(name: str) -> type:
    """The sample type that the user named as ``module:Class``. Importing the module runs it.

    Raises:
        OptionError: There is no such module or class.
        SampleTypeError: The class is not a sample type.
    """
    import importlib
    import sys

    module_name, colon, class_name = name.partition(":")
    if not colon or not class_name.isidentifier():
        raise OptionError(f"{name!r} is not a type. Write module:Class, for example digits:Digit.")
    # As `python -m` does, so that --type can name a module in the current folder.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        # Standard output carries only what the command prints, not what the module does.
        with redirect_stdout(sys.stderr):
            found: type = getattr(importlib.import_module(module_name), class_name)
    except ModuleNotFoundError as error:
        raise OptionError(f"--type {name}: {error}.") from error
    except AttributeError as error:
        raise OptionError(f"--type {name}: {module_name} has no {class_name}.") from error
    check_sample_type(found)
    return found
