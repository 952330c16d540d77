"""``atdata show``: prints everything that an index records of one dataset."""

from __future__ import annotations

from atdata.cli.entry_facts import entry_facts
from atdata.cli.options import Entry, IndexUrl, Json
from atdata.cli.output import brief, count, emit, facts, size
from atdata.cli.resolve import find_entry


def show(dataset: Entry, index: IndexUrl = None, as_json: Json = False) -> None:
    """Show the shards, schema and description of a dataset."""
    entry, found_in = find_entry(dataset, index)
    known = entry_facts(entry)
    shards = known.get("shards", ())
    if as_json:
        emit({**known, "schema": found_in.get_schema(entry.schema_ref)})
        return
    schema = found_in.schema_of_ref(entry.schema_ref)
    metadata = [f"{key}: {brief(value)}" for key, value in (entry.metadata or {}).items()]
    facts(
        [
            ("name", known["name"]),
            ("uri", known.get("uri", "")),
            ("cid", known.get("cid", "")),
            ("created", known.get("created_at", "")),
            ("description", known.get("description", "")),
            ("tags", ", ".join(known.get("tags", ()))),
            ("license", known.get("license", "")),
            ("samples", count(known.get("samples"))),
            ("shards", count(len(shards))),
            ("size", size(known.get("bytes"))),
            ("layout", ", ".join({shard["layout"]: 1 for shard in shards if "layout" in shard})),
            ("data", "\n".join(known.get("data_urls", ()))),
            ("endpoint", known.get("endpoint", "")),
            ("metadata", "\n".join(metadata)),
            ("schema", f"{known['schema_ref']}\n{schema}"),
        ]
    )
