"""Sample type ↔ schema of an Arrow table, with what the types of Arrow do not say as metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from atdata._limits import limits
from atdata.errors import SchemaError
from atdata.exchange.arrow_library import pa
from atdata.exchange.forms.form import Form
from atdata.samples.kinds import Field
from atdata.schema.model import Schema
from atdata.schema.schema_file import from_document, schema_file

_ATDATA: Final = b"atdata"
"""The key of the sample type: the schema file, as it lies next to shards."""
_HUGGING_FACE: Final = b"huggingface"


def arrow_schema(sample_type: type, fields: Mapping[str, Field], forms: Mapping[str, Form]) -> Any:
    """The schema of a table of samples.

    Args:
        sample_type: Their type.
        fields: Its fields, by name.
        forms: How each lies in its column.
    """
    columns = []
    for name, form in forms.items():
        field = fields[name]
        notes = {"atdata": form.note, "unit": field.unit, "description": field.description}
        known = {key: value for key, value in notes.items() if value}
        # Of a column that cannot be null the library `datasets` does not believe the feature.
        columns.append(pa.field(name, form.type, metadata=known or None))
    features = {name: form.feature for name, form in forms.items()}
    return pa.schema(
        columns,
        {
            _ATDATA: schema_file(sample_type),
            _HUGGING_FACE: json.dumps({"info": {"features": features}}),
        },
    )


def written_schema(schema: Any) -> Schema | None:
    """The sample type that a table was written from, if its metadata have it."""
    document = _json_of(schema, _ATDATA)
    try:
        return from_document(document)
    except SchemaError:
        # Of a newer version, or damaged: the types of the columns decide.
        return None


def features_of(schema: Any) -> dict[str, Any]:
    """The types of columns as the library `datasets` wrote them; empty if it did not."""
    document = _json_of(schema, _HUGGING_FACE)
    for key in ("info", "features"):
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _json_of(schema: Any, key: bytes) -> Any:
    raw = (schema.metadata or {}).get(key)
    if raw is None or len(raw) > limits.schema_file:
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
