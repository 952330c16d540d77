"""Records checked against their lexicons.

https://atproto.com/specs/lexicon

Every error starts with the path of the value. Properties that a lexicon does not name are
allowed, as the specification requires: records of later versions have more of them.
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

from atdata._digest import is_cid
from atdata._json_checks import in_record, shown
from atdata._limits import limits
from atdata._refs import parse_at_uri
from atdata.atproto.data_model import bytes_from_json
from atdata.errors import AtdataError, RecordError, RefError
from atdata.system.forks import importing

_URI: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,80}:\S{1,8192}")
_ZWJ: Final = "\u200d"

_Definition = Mapping[str, Any]


@cache
def lexicons() -> Mapping[str, Mapping[str, Any]]:
    """Every lexicon that atdata publishes, by NSID."""
    with importing():  # of importlib's readers
        folder = files("atdata.atproto") / "lexicons"
    documents = [json.loads(file.read_text("utf-8")) for file in folder.iterdir()]
    return {document["id"]: document for document in documents}


def validate(record: Mapping[str, Any]) -> None:
    """Check a record against the lexicon of its ``$type``; one without a lexicon passes.

    Raises:
        RecordError: Names the path, what was expected and what was found.
    """
    nsid = record.get("$type")
    lexicon = lexicons().get(nsid) if isinstance(nsid, str) else None
    main = lexicon["defs"].get("main") if lexicon else None
    if main is not None and main["type"] == "record":
        _object(record, main["record"], _At(str(nsid), "$", 0))


class _At:
    """The path of a value, and the lexicon that references without an NSID refer to."""

    __slots__ = ("depth", "home", "path")

    def __init__(self, home: str, path: str, depth: int) -> None:
        self.home = home
        self.path = path
        self.depth = depth
        if depth > limits.record_nesting:
            raise RecordError(f"{path[:200]}: nested more than {limits.record_nesting} deep.")

    def step(self, step: str) -> _At:
        return _At(self.home, f"{self.path}{step}", self.depth + 1)

    def wrong(self, expected: str, value: object) -> AtdataError:
        return in_record.wrong(self.path, expected, value)


def _check(value: Any, definition: _Definition, at: _At) -> None:
    _CHECKS[definition["type"]](value, definition, at)


def _object(value: Any, definition: _Definition, at: _At) -> None:
    if not isinstance(value, Mapping):
        raise at.wrong("an object", value)
    for name in definition.get("required", ()):
        if name not in value:
            raise RecordError(f"{at.path}.{name}: is missing.")
    nullable = definition.get("nullable", ())
    for name, inner in definition["properties"].items():
        if name in value and not (value[name] is None and name in nullable):
            _check(value[name], inner, at.step(f".{name}"))


def _array(value: Any, definition: _Definition, at: _At) -> None:
    if not isinstance(value, list):
        raise at.wrong("a list", value)
    _bounds(len(value), definition, at, "Length", "items")
    for i, item in enumerate(value):
        _check(item, definition["items"], at.step(f"[{i}]"))


def _ref(value: Any, definition: _Definition, at: _At) -> None:
    nsid, _, name = definition["ref"].partition("#")
    home = nsid or at.home
    definition = lexicons()[home]["defs"][name or "main"]
    _check(value, definition, _At(home, at.path, at.depth + 1))


def _union(value: Any, definition: _Definition, at: _At) -> None:
    if not isinstance(value, Mapping):
        raise at.wrong("an object", value)
    kind = value.get("$type")
    if not isinstance(kind, str):
        raise at.step(".$type").wrong(f"one of {definition['refs']}", kind)
    if kind in definition["refs"]:
        _ref(value, {"ref": kind}, at)
    elif definition.get("closed"):
        raise RecordError(
            f"{at.path}.$type: expected one of {definition['refs']}, found {kind!r:.80}."
        )


def _string(value: Any, definition: _Definition, at: _At) -> None:
    if not isinstance(value, str):
        raise at.wrong("a str", value)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise RecordError(f"{at.path}: expected Unicode text, found lone surrogates.") from None
    _bounds(size, definition, at, "Length", "bytes of UTF-8")
    if "maxGraphemes" in definition and len(value) > definition["maxGraphemes"]:
        _bounds(_graphemes(value), definition, at, "Graphemes", "characters")
    if "enum" in definition and value not in definition["enum"]:
        raise at.wrong(f"one of {definition['enum']}", value)
    expected, fits = _FORMATS[definition["format"]] if "format" in definition else ("", None)
    if fits is not None and not fits(value):
        raise at.wrong(expected, value)


def _integer(value: Any, definition: _Definition, at: _At) -> None:
    if type(value) is not int:
        raise at.wrong("a whole number", value)
    _bounds(value, definition, at, "imum", "")


def _boolean(value: Any, definition: _Definition, at: _At) -> None:
    if not isinstance(value, bool):
        raise at.wrong("true or false", value)


def _bytes(value: Any, definition: _Definition, at: _At) -> None:
    _bounds(len(bytes_from_json(value, at.path)), definition, at, "Length", "bytes")


def _blob(value: Any, definition: _Definition, at: _At) -> None:
    if not isinstance(value, Mapping):
        raise at.wrong("a blob", value)
    link = value.get("ref")
    cid = link.get("$link") if isinstance(link, Mapping) else None
    if not isinstance(cid, str) or not is_cid(cid):
        raise RecordError(f"{at.path}.ref: expected the CID of a blob, found {shown(cid)}.")
    # Any type is accepted: existing clients send every blob as */*.
    kind = value.get("mimeType")
    if not isinstance(kind, str):
        raise RecordError(f"{at.path}.mimeType: expected a str, found {shown(kind)}.")
    size = value.get("size")
    if type(size) is not int or size < 0:
        raise RecordError(f"{at.path}.size: expected a whole number, found {shown(size)}.")


def _unknown(value: Any, definition: _Definition, at: _At) -> None:
    """Any value of the data model."""


_CHECKS: Final[Mapping[str, Callable[[Any, _Definition, _At], None]]] = {
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


def _bounds(number: int, definition: _Definition, at: _At, kind: str, unit: str) -> None:
    least, most = definition.get(f"min{kind}"), definition.get(f"max{kind}")
    if least is not None and number < least:
        raise RecordError(f"{at.path}: expected at least {least:,} {unit}, found {number:,}.")
    if most is not None and number > most:
        raise RecordError(f"{at.path}: expected at most {most:,} {unit}, found {number:,}.")


def _graphemes(text: str) -> int:
    """About how many characters a reader sees; flags and decomposed Hangul count as several.

    Marks, joiners and what they join are counted with the character before them:
    https://unicode.org/reports/tr29/
    """
    joined = zip(text, "\0" + text, strict=False)
    return sum(
        unicodedata.category(c) not in ("Mn", "Me", "Mc", "Cf") and before != _ZWJ
        for c, before in joined
    )


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
    "cid": ("a CID", is_cid),
    "datetime": ("a time such as 2026-01-31T12:00:00Z", _is_datetime),
    "uri": ("a URL", _URI.fullmatch),
}
