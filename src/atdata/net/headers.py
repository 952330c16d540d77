"""Numbers and waiting times in response headers, which may hold anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from urllib3.exceptions import HTTPError
from urllib3.util import Retry

_MAX_DIGITS: Final = 18
_MAX_WAIT_SECONDS: Final = 30 * 86_400
_waits: Final = Retry()
# An attribute, not an argument: older versions of urllib3 have no bound, and do not know the name.
_waits.retry_after_max = _MAX_WAIT_SECONDS


def whole_number(text: str | None) -> int | None:
    """A number that is not negative, in plain digits; None for anything else."""
    plain = text is not None and text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return int(text) if text is not None and plain else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, by its ``Retry-After``: a number, or a date.

    Returns:
        At most 30 days; None where it asks for nothing that can be understood.
    """
    text = headers.get("Retry-After")
    if not text:
        return None
    try:
        return float(min(_waits.parse_retry_after(text), _MAX_WAIT_SECONDS))
    except (HTTPError, ArithmeticError, LookupError, TypeError, ValueError):
        return None
