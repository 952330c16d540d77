"""Finding a dataset of a local index by name, reference or CID."""

from __future__ import annotations

from typing import Final

from atdata._digest import DAG_CBOR, cid_sha256, is_cid
from atdata._refs import known_name, parse_name_ref, reference
from atdata.errors import DatasetNotFoundError, RefError
from atdata.indexing.did_you_mean import did_you_mean, no_version, not_a_version
from atdata.local.backends.base import Backend, EntryRow
from atdata.local.entry import from_row
from atdata.local.labels import find_label, versions_of

_MOST_COMPARED: Final = 1_000
"""Names that are compared with one that does not exist, at each of a few places in their order."""


def find_dataset(backend: Backend, ref: str) -> EntryRow:
    """See `LocalIndex.get_dataset`."""
    if not isinstance(ref, str):
        raise RefError(f"A dataset is named by a str, not by {type(ref).__name__}.")
    ref = reference(ref)
    if ref.startswith("at://"):
        mirrored = backend.newest(ref)
        if mirrored is None:
            raise _elsewhere(ref)
        return mirrored
    if ref.startswith("@"):
        return _find_by_name_ref(backend, ref)
    row = backend.newest(known_name(ref))
    if row is None and is_cid(ref):
        row = backend.entry(ref)
    if row is None:
        raise not_found(backend, ref)
    return row


def find_by_name(backend: Backend, name: str) -> EntryRow:
    """See `LocalIndex.get_entry_by_name`."""
    row = backend.newest(known_name(name))
    if row is None:
        raise not_found(backend, name)
    return row


def find_by_cid(backend: Backend, cid: str) -> EntryRow:
    """See `LocalIndex.get_entry`."""
    if not isinstance(cid, str):
        raise RefError(f"A CID is a str, not {type(cid).__name__}.")
    cid_sha256(cid, codec=DAG_CBOR)
    row = backend.entry(cid)
    if row is None:
        raise DatasetNotFoundError(
            f"This index has no dataset with the CID {cid}"
            f"{if_empty(backend)}. index.history(name) shows the revisions of a name."
        )
    return row


def if_empty(backend: Backend) -> str:
    """Part of an error about a name: where the index is, if it has no dataset; else ""."""
    if backend.names("", 1):
        return ""
    return f": it is empty. Is {backend.address} the right place? A wrong path makes a new index"


def not_found(backend: Backend, name: str) -> DatasetNotFoundError:
    """The error for a name that does not exist, with at most three that are similar."""
    first = backend.names("", _MOST_COMPARED)
    found = set(first)
    if len(first) == _MOST_COMPARED:
        for start in {name[:1], name[:3]}:
            found.update(backend.names(start, _MOST_COMPARED))
    hint = _did_you_mean_its_version(backend, name)
    hint = hint or not_a_version(name, "local") + did_you_mean(name, found)
    return DatasetNotFoundError(
        f"This index has no dataset {name!r}{if_empty(backend)}. {hint}"
        "index.list_datasets() shows all."
    )


def _did_you_mean_its_version(backend: Backend, name: str) -> str:
    """A hint for ``name@1.0.0`` that was written without ``@local/`` before it."""
    try:
        parsed = parse_name_ref(f"@local/{name}")
        if parsed.version and _of_version(backend, parsed.name, parsed.version)[0]:
            return f"Did you mean '{parsed}'? "
    except (RefError, DatasetNotFoundError):
        pass
    return ""


def _find_by_name_ref(backend: Backend, ref: str) -> EntryRow:
    parsed = parse_name_ref(ref)
    if parsed.owner != "local":
        raise _elsewhere(ref)
    if parsed.version is None:
        return find_by_name(backend, parsed.name)
    row, schemas = _of_version(backend, parsed.name, parsed.version)
    if row is not None:
        return row
    # The version may be the end of a name.
    named = backend.newest(known_name(f"{parsed.name}@{parsed.version}"))
    if named is not None:
        return named
    labels = versions_of(backend, parsed.name)
    if not labels and not schemas:
        raise not_found(backend, parsed.name)
    raise no_version(ref, parsed, labels=labels, schemas=schemas)


def _of_version(backend: Backend, name: str, version: str) -> tuple[EntryRow | None, list[str]]:
    """What a label leads to, else the newest with this version of its schema; and which it has."""
    if (labelled := find_label(backend, name, version)) is not None:
        return labelled, []
    schemas: dict[str, EntryRow] = {}
    for row in backend.each_revision(name):
        schemas[from_row(row).schema_ref.rpartition("/")[2].rpartition("@")[2]] = row
    return schemas.get(version), list(schemas)


def _elsewhere(ref: str) -> DatasetNotFoundError:
    return DatasetNotFoundError(
        f"{ref} is a dataset of the network, not of this index. Open it with "
        "atdata.load_dataset(ref), or find its entry with AtmosphereIndex."
    )
