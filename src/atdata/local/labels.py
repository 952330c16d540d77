"""Labels of a local index: versions of a name, each pointing to one revision."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from atdata._refs import Version, check_name
from atdata.errors import BackendError, DatasetNotFoundError, LabelExistsError
from atdata.local.backends.base import Backend, EntryRow
from atdata.local.entry import LocalDatasetEntry, from_row


def set_label(
    backend: Backend, name: str, version: str, entry: LocalDatasetEntry, *, move: bool
) -> None:
    """See `LocalIndex.label`."""
    key = _key(check_name(name), str(Version.parse(version)))
    row = backend.revision(entry.name, entry.revision)
    if row is None or row.cid != entry.cid:
        raise DatasetNotFoundError(
            f"This index has no revision {entry.revision} of {entry.name!r} with the CID "
            f"{entry.cid}: {name}@{version} cannot lead to it. Insert the dataset here, and "
            "label the entry that insert_dataset returns. Nothing was changed."
        )
    target = json.dumps(
        {
            "name": row.name,
            "cid": row.cid,
            "revision": row.revision,
            "createdAt": from_row(row).created_at.isoformat(),
        }
    )
    if move:
        backend.set_note(key, target)
        return
    existing = backend.add_note(key, target)
    if existing == target:
        return
    leads_to = _target(name, version, existing)
    if _revision(backend, leads_to) != row:
        raise LabelExistsError(
            f"{name}@{version} already leads to {_described(leads_to)}. Choose another version, or "
            "pass move=True. Nothing was changed."
        )


def find_label(backend: Backend, name: str, version: str) -> EntryRow | None:
    """The revision that a label leads to; None where there is no label.

    Raises:
        DatasetNotFoundError: The revision was deleted. No other one takes its place.
    """
    existing = backend.note(_key(name, version))
    if existing is None:
        return None
    leads_to = _target(name, version, existing)
    row = _revision(backend, leads_to)
    if row is None:
        raise DatasetNotFoundError(
            f"@local/{name}@{version} is a label of {_described(leads_to)}, which was deleted from "
            "this index. label(…, move=True) lets it lead to another revision."
        )
    return row


def versions_of(backend: Backend, name: str) -> list[str]:
    """The versions that labels of this name have, in order."""
    start = _key(name, "")
    found = [key.removeprefix(start) for key, _ in backend.each_note(start)]
    return sorted((version for version in found if "/" not in version), key=Version.parse)


def _revision(backend: Backend, leads_to: Mapping[str, Any]) -> EntryRow | None:
    """The very revision that was labelled, not another one of the same content."""
    name, cid = leads_to["name"], leads_to["cid"]
    if "revision" not in leads_to:
        # Labels of older versions say the content alone. The first revision that has it is the
        # one that no later insertion can change.
        return next((row for row in backend.each_revision(name) if row.cid == cid), None)
    row = backend.revision(name, leads_to["revision"])
    if row is None or row.cid != cid:
        return None
    # A name that was deleted begins with revision 1 again.
    return row if from_row(row).created_at.isoformat() == leads_to["createdAt"] else None


def _target(name: str, version: str, value: str) -> dict[str, Any]:
    try:
        leads_to: dict[str, Any] = json.loads(value)
        if isinstance(leads_to["name"], str) and isinstance(leads_to["cid"], str):
            return leads_to
    except (ValueError, LookupError, TypeError):
        pass
    raise BackendError(
        f"The index is damaged: the label {name}@{version} cannot be read. Set it again with "
        "label(…, move=True), or restore the index from a copy."
    )


def _described(leads_to: Mapping[str, Any]) -> str:
    revision = f"revision {leads_to['revision']} of " if "revision" in leads_to else ""
    return f"{revision}{leads_to['name']!r}, {leads_to['cid']}"


def _key(name: str, version: str) -> str:
    # A version has no slash: no two labels have one key.
    return f"label/{name}/{version}"
