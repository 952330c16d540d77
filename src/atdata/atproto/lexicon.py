"""Our published lexicons, and records held to them: https://atproto.com/specs/lexicon

Every error starts with the path of the value. Properties that a lexicon does not name are let
pass, as the specification asks: records of later versions have more of them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final

from atdata._digest import cid_sha256
from atdata._limits import limits
from atdata._refs import parse_at_uri
from atdata.atproto.data_model import bytes_from_json
from atdata.atproto.values import shown
from atdata.errors import RecordError, RefError

_URI: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,80}:\S{1,8192}")
_ZWJ: Final = "\u200d"

_Definition = Mapping[str, Any]


@cache
def lexicons() -> Mapping[str, Mapping[str, Any]]:
    """Every lexicon of ours, by its NSID."""
    folder = files("atdata.atmosphere") / "lexicons"
    documents = [json.loads(file.read_text("utf-8")) for file in folder.iterdir()]
    return {document["id"]: document for document in documents}


def validate(record: Mapping[str, Any]) -> None:
    """Let a record pass that its lexicon allows, and one whose ``$type`` is not ours.

    Args:
        record: In the JSON form of the data model, ``$type`` included.

    Raises:
        RecordError: Says at which path, what was expected and what was found.
    """
    nsid = record.get("$type")
    lexicon = lexicons().get(nsid) if isinstance(nsid, str) else None
    main = lexicon["defs"].get("main") if lexicon else None
    if main is not None and main["type"] == "record":
        _object(record, main["record"], _Place(str(nsid), "$", 0))


class _Place:
    """Where a value is, and in which lexicon references without a name lead."""

    __slots__ = ("depth", "home", "path")

    def __init__(self, home: str, path: str, depth: int) -> None:
        self.home = home
        self.path = path
        self.depth = depth
        if depth > limits.record_nesting:
            raise RecordError(f"{path[:200]}: nested more than {limits.record_nesting} deep.")

    def at(self, step: str) -> _Place:
        return _Place(self.home, f"{self.path}{step}", self.depth + 1)

    def wrong(self, expected: str, value: object) -> RecordError:
        return RecordError(f"{self.path}: expected {expected}, found {shown(value)}.")


def _check(value: Any, said: _Definition, place: _Place) -> None:
    _CHECKS[said["type"]](value, said, place)


def _object(value: Any, said: _Definition, place: _Place) -> None:
    if not isinstance(value, Mapping):
        raise place.wrong("an object", value)
    for name in said.get("required", ()):
        if name not in value:
            raise RecordError(f"{place.path}.{name}: is missing.")
    nullable = said.get("nullable", ())
    for name, inner in said["properties"].items():
        if name in value and not (value[name] is None and name in nullable):
            _check(value[name], inner, place.at(f".{name}"))


def _array(value: Any, said: _Definition, place: _Place) -> None:
    if not isinstance(value, list):
        raise place.wrong("a list", value)
    _bounds(len(value), said, place, "Length", "items")
    for i, item in enumerate(value):
        _check(item, said["items"], place.at(f"[{i}]"))


def _ref(value: Any, said: _Definition, place: _Place) -> None:
    nsid, _, name = said["ref"].partition("#")
    home = nsid or place.home
    definition = lexicons()[home]["defs"][name or "main"]
    _check(value, definition, _Place(home, place.path, place.depth + 1))


def _union(value: Any, said: _Definition, place: _Place) -> None:
    if not isinstance(value, Mapping):
        raise place.wrong("an object", value)
    kind = value.get("$type")
    if not isinstance(kind, str):
        raise place.at(".$type").wrong(f"one of {said['refs']}", kind)
    if kind in said["refs"]:
        _ref(value, {"ref": kind}, place)
    elif said.get("closed"):
        raise RecordError(
            f"{place.path}.$type: expected one of {said['refs']}, found {kind!r:.80}."
        )


def _string(value: Any, said: _Definition, place: _Place) -> None:
    if not isinstance(value, str):
        raise place.wrong("a str", value)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise RecordError(f"{place.path}: expected Unicode text, found lone surrogates.") from None
    _bounds(size, said, place, "Length", "bytes of UTF-8")
    if "maxGraphemes" in said and len(value) > said["maxGraphemes"]:
        _bounds(_graphemes(value), said, place, "Graphemes", "characters")
    if "enum" in said and value not in said["enum"]:
        raise place.wrong(f"one of {said['enum']}", value)
    expected, fits = _FORMATS[said["format"]] if "format" in said else ("", None)
    if fits is not None and not fits(value):
        raise place.wrong(expected, value)


def _integer(value: Any, said: _Definition, place: _Place) -> None:
    if type(value) is not int:
        raise place.wrong("a whole number", value)
    _bounds(value, said, place, "imum", "")


def _boolean(value: Any, said: _Definition, place: _Place) -> None:
    if not isinstance(value, bool):
        raise place.wrong("true or false", value)


def _bytes(value: Any, said: _Definition, place: _Place) -> None:
    _bounds(len(bytes_from_json(value, place.path)), said, place, "Length", "bytes")


def _blob(value: Any, said: _Definition, place: _Place) -> None:
    if not isinstance(value, Mapping):
        raise place.wrong("a blob", value)
    link = value.get("ref")
    cid = link.get("$link") if isinstance(link, Mapping) else None
    if not isinstance(cid, str) or not _is_cid(cid):
        raise RecordError(f"{place.path}.ref: expected the CID of a blob, found {shown(cid)}.")
    # Which type it is does not matter: clients in use send every blob as */*.
    kind = value.get("mimeType")
    if not isinstance(kind, str):
        raise RecordError(f"{place.path}.mimeType: expected a str, found {shown(kind)}.")
    size = value.get("size")
    if type(size) is not int or size < 0:
        raise RecordError(f"{place.path}.size: expected a whole number, found {shown(size)}.")


def _unknown(value: Any, said: _Definition, place: _Place) -> None:
    """Anything that the data model has."""


_CHECKS: Final[Mapping[str, Callable[[Any, _Definition, _Place], None]]] = {
    "object": _object,
    "array": _array,
    "ref": _ref,
    "union": _union,
    "string": _string,
    "integer": _integer,
    "boolean": _boolean,
    "bytes": _bytes,
    "blob": _blob,
    "unknown": _unknown,
}


def _bounds(number: int, said: _Definition, place: _Place, kind: str, unit: str) -> None:
    least, most = said.get(f"min{kind}"), said.get(f"max{kind}")
    if least is not None and number < least:
        raise RecordError(f"{place.path}: expected at least {least:,} {unit}, found {number:,}.")
    if most is not None and number > most:
        raise RecordError(f"{place.path}: expected at most {most:,} {unit}, found {number:,}.")


def _graphemes(text: str) -> int:
    """How many characters a reader sees, nearly: flags and Hangul in parts count as several.

    Marks, joiners and what they join count with what they follow:
    https://unicode.org/reports/tr29/
    """
    joined = zip(text, "\0" + text, strict=False)
    return sum(
        unicodedata.category(c) not in ("Mn", "Me", "Mc", "Cf") and before != _ZWJ
        for c, before in joined
    )


def _is_cid(text: str) -> bool:
    try:
        cid_sha256(text)
    except RefError:
        return False
    return True


def _is_at_uri(text: str) -> bool:
    try:
        parse_at_uri(text)
    except RefError:
        return False
    return True


def _is_datetime(text: str) -> bool:
    try:
        return bool(datetime.fromisoformat(text))
    except ValueError:
        return False


_FORMATS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "at-uri": ("an AT URI", _is_at_uri),
    "cid": ("a CID", _is_cid),
    "datetime": ("a time such as 2026-01-31T12:00:00Z", _is_datetime),
    "uri": ("a URL", _URI.fullmatch),
}
