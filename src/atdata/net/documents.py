"""Small documents that a server sends: whole, within limits, in bytes and in time."""

from __future__ import annotations

import json
from typing import Any, Final

from urllib3.response import BaseHTTPResponse

from atdata._limits import limits
from atdata._nesting import text_is_deeper
from atdata.errors import SourceError
from atdata.net.deadlines import within

_MARKS: Final = (b"[", b"{", b",", b":")
"""No document has more values than these, whatever is in its texts."""


def read_whole(response: BaseHTTPResponse, *, most: int, name: str) -> bytes:
    """The body of a response, as it was sent: nothing in it is decompressed.

    Args:
        response: Its body unread.
        most: Largest body taken.
        name: What to call it in errors.

    Raises:
        SourceError: It is larger, or took longer than ``limits.document_seconds``.
        urllib3.exceptions.HTTPError: The connection broke.
    """
    data = bytearray()
    with within(limits.document_seconds, name):
        while chunk := response.read1(1 << 16):
            data += chunk
            if len(data) > most:
                raise SourceError(f"{name}: the answer is longer than {most:,} bytes.")
    return bytes(data)


def parse_json(data: bytes) -> Any:
    """JSON of a stranger.

    Raises:
        ValueError: It is none, nested too deep, or may have more than ``limits.marks`` values:
            small ones take twenty times the memory that they have bytes.
    """
    if sum(map(data.count, _MARKS)) > limits.marks:
        raise ValueError(f"more than {limits.marks:,} of {b''.join(_MARKS).decode()}")
    # The json module gives up at depths that differ from one Python to the next.
    if text_is_deeper(data, limits.json_nesting):
        raise ValueError(f"nested more than {limits.json_nesting} deep")
    try:
        return json.loads(data)
    except RecursionError:  # UTF-16, in which quotes are not where they seem to be
        raise ValueError("nested too deep") from None
