"""Labels of a local index: versions of a name, each of which leads to one revision."""

from __future__ import annotations

import json

from atdata._refs import Version, check_name
from atdata.errors import LabelExistsError
from atdata.local.backends.base import Backend, EntryRow
from atdata.local.entry import LocalDatasetEntry


def set_label(
    backend: Backend, name: str, version: str, entry: LocalDatasetEntry, *, move: bool
) -> None:
    """Let a name and version lead to a revision.

    Raises:
        LabelExistsError: They lead to another one, and ``move`` is False.
        DatasetNameError: ``name`` cannot be one.
        SchemaRefError: ``version`` is not one.
    """
    key = _key(check_name(name), str(Version.parse(version)))
    there = backend.note(key)
    if there is not None and json.loads(there)["cid"] != entry.cid and not move:
        raise LabelExistsError(
            f"{name}@{version} already leads to {json.loads(there)['cid']}. Choose another "
            "version, or pass move=True. Nothing was changed."
        )
    backend.set_note(key, json.dumps({"name": entry.name, "cid": entry.cid}))


def find_label(backend: Backend, name: str, version: str) -> EntryRow | None:
    """The revision that a label leads to; None where there is no label, or no such revision."""
    there = backend.note(_key(name, version))
    return None if there is None else backend.entry(json.loads(there)["cid"])


def _key(name: str, version: str) -> str:
    # A version has no slash: no two labels have one key.
    return f"label/{name}/{version}"
