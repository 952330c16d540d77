"""What an index records of a dataset, as JSON types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from atdata._protocols import IndexEntry
from atdata._shardlist import total
from atdata.capabilities import shards_of_entry
from atdata.cli.output import count, listing, size

_OPTIONAL = ("uri", "cid", "revision", "description", "license", "endpoint", "region")
"""Members beyond the protocol, which the entries of some indexes have."""


def entry_facts(entry: IndexEntry) -> dict[str, Any]:
    """An entry as JSON types; unknown members are left out."""
    shards = shards_of_entry(entry)
    known: dict[str, Any] = {
        "name": entry.name,
        "schema_ref": entry.schema_ref,
        "data_urls": [str(url) for url in entry.data_urls],
        "shards": [shard.to_dict() for shard in shards],
        "samples": total(shard.samples for shard in shards),
        "bytes": total(shard.bytes for shard in shards),
        "tags": list(getattr(entry, "tags", ())),
        "metadata": entry.metadata,
    }
    known.update((name, getattr(entry, name, None)) for name in _OPTIONAL)
    made = getattr(entry, "created_at", None)
    if isinstance(made, datetime):
        known["created_at"] = made.isoformat()
    return {name: value for name, value in known.items() if value not in (None, [], "")}


_CELLS: Final[Mapping[str, Callable[[dict[str, Any]], str]]] = {
    "name": lambda facts: facts.get("title") or facts["name"],
    "samples": lambda facts: count(facts.get("samples")),
    "shards": lambda facts: count(len(facts.get("shards", ()))),
    "size": lambda facts: size(facts.get("bytes")),
    "tags": lambda facts: ", ".join(facts.get("tags", ())),
    "license": lambda facts: facts.get("license", ""),
    "description": lambda facts: facts.get("description", "").partition("\n")[0][:80],
    "schema": lambda facts: facts["schema_ref"],
    "uri": lambda facts: facts["uri"],
}
"""Columns of tables of entries."""


def list_entries(found: Iterable[dict[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Print the facts of entries as JSON, or a table with these columns."""
    listing(found, columns, lambda facts: [_CELLS[name](facts) for name in columns], as_json)
