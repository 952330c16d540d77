"""The schema file: next to shards, what type their samples have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from atdata._json_checks import in_schema, shown
from atdata._limits import limits
from atdata._refs import LocalSchemaRef
from atdata.errors import SchemaError, SchemaNotFoundError, UnknownKindError
from atdata.samples.dict_sample import DictSample
from atdata.samples.kinds import Nested
from atdata.schema.build import build_type
from atdata.schema.model import Schema
from atdata.schema.record import from_record, to_record
from atdata.schema.reflect import schema_of

SUFFIX: Final = ".atdata.json"
"""What follows the name of a shard, or the common beginning of numbered ones."""
FORMAT: Final = 1
"""The version of the format, under the key ``atdata``."""
BEGINNING: Final = b'{\n "atdata": '
"""The first bytes of every schema file."""
_VERSION: Final = "1.0.0"
"""Versions belong to an index; here all schemas have the same, whoever writes them."""


def schema_file(sample_type: type) -> bytes:
    """The file that says what samples of a type are. The same type gives the same bytes.

    One that names no type is returned for `DictSample`, and for a type whose schema would be
    refused when it is read, such as one with more fields than the limits allow.
    """
    if sample_type is DictSample:
        return _text(None).encode()
    schema = schema_of(sample_type, version=_VERSION)
    text = _text(schema)
    try:
        readable = from_document(json.loads(text)) == schema
    except SchemaError:
        readable = False
    data = text.encode() if readable else b""
    return data if 0 < len(data) <= limits.schema_file else _text(None).encode()


def _text(schema: Schema | None) -> str:
    nested: dict[str, dict[str, Any]] = {}
    refs: dict[str, str] = {}

    def ref_of(kind: Nested) -> str:
        record = to_record(Schema.of_nested(kind).with_version(_VERSION), ref_of)
        text = json.dumps(record)
        if text not in refs:
            name, number = kind.describe(), 2
            while (ref := str(LocalSchemaRef(name, _VERSION))) in nested:
                name, number = f"{kind.describe()}{number}", number + 1
            refs[text], nested[ref] = ref, record
        return refs[text]

    document = {
        "atdata": FORMAT,
        "schema": None if schema is None else to_record(schema, ref_of),
        "nested": nested,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def from_document(document: object) -> Schema | None:
    """Read a schema from a parsed schema file, which may be untrusted.

    Returns:
        None if the file names no type, or another program wrote it.

    Raises:
        UnknownKindError: A newer version of atdata wrote it, in a format that this one does not
            know, or with kinds that it does not know.
        SchemaError: Says where it makes no sense (``$.schema.fields[2]``).
    """
    if not isinstance(document, Mapping) or type(document.get("atdata")) is not int:
        return None
    if document["atdata"] != FORMAT:
        raise UnknownKindError(
            f"$.atdata: format {shown(document['atdata'])}, which this version of atdata does not "
            "know. Upgrade atdata, or read the data as atdata.DictSample."
        )
    record = document.get("schema")
    if record is None:
        return None
    nested = in_schema.mapping(document.get("nested", {}), "$.nested")

    def resolve(ref: str) -> Schema:
        if ref not in nested:
            raise SchemaNotFoundError("it is not in $.nested")
        return from_record(in_schema.mapping(nested[ref], f"$.nested[{ref!r}]"), resolve)

    schema = from_record(in_schema.mapping(record, "$.schema"), resolve)
    build_type(schema)
    return schema
