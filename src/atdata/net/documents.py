"""Small documents that a server sends: read whole, within limits of bytes and time."""

from __future__ import annotations

import json
from typing import Any, Final

from urllib3.response import BaseHTTPResponse

from atdata._limits import limits
from atdata._nesting import text_is_deeper
from atdata.errors import SourceError
from atdata.net.deadlines import within

_MARKS: Final = (b"[", b"{", b",", b":")
"""A document has at most one value more than it has of these bytes."""


def read_whole(response: BaseHTTPResponse, *, most: int, name: str) -> bytes:
    """The body of a response, as it was sent: it is not decompressed.

    Raises:
        SourceError: More than ``most`` bytes, or it took longer than ``limits.document_seconds``.
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
    """Parse untrusted JSON.

    Raises:
        ValueError: Not JSON, nested too deep, or it may have more than ``limits.marks`` values:
            small values take twenty times as much memory as their bytes.
    """
    if sum(map(data.count, _MARKS)) > limits.marks:
        raise ValueError(f"more than {limits.marks:,} of {b''.join(_MARKS).decode()}")
    # The depth at which the json module gives up differs between versions of Python.
    if text_is_deeper(data, limits.json_nesting):
        raise ValueError(f"nested more than {limits.json_nesting} deep")
    try:
        return json.loads(data)
    except RecursionError:  # UTF-16, whose quotes the check above misreads
        raise ValueError("nested too deep") from None
