"""Paged listings of a server, read to their end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from atdata._limits import limits
from atdata.errors import AtmosphereError
from atdata.net.deadlines import within

_MAX_CURSOR_CHARACTERS: Final = 4096


def rows(
    ask: Callable[[Mapping[str, str | int]], Mapping[str, Any]],
    params: Mapping[str, str | int],
    key: str,
    *,
    most: int,
    name: str,
) -> Iterator[object]:
    """All rows of a listing, which answers have under a key; ``limit`` is asked for per page.

    Raises:
        AtmosphereError: It does not end: more than ``most`` rows, too many pages, a repeated
            cursor, too much time. Also what ``ask`` raises.
    """
    seen: set[int] = set()
    waited, taken, limit = 0.0, 0, int(params["limit"])
    while True:
        started = time.monotonic()
        problem = f"it did not come within {limits.listing_seconds} s"
        with within(limits.listing_seconds - waited, name, problem):
            answer = ask(params)
        waited += time.monotonic() - started
        found = answer.get(key)
        page = found if isinstance(found, list) else []
        taken += len(page)
        if len(page) > limit:
            raise AtmosphereError(
                f"{name}: a page of {len(page):,} rows, where at most {limit:,} were asked for."
            )
        if taken > most:
            raise AtmosphereError(f"{name}: more than {most:,}.")
        yield from page
        # A short page may not be the last: only a missing cursor ends a listing.
        cursor = answer.get("cursor")
        if not isinstance(cursor, str) or not cursor:
            return
        if hash(cursor) in seen:
            raise AtmosphereError(f"{name}: it goes in circles.")
        seen.add(hash(cursor))
        if len(seen) >= limits.pages or len(cursor) > _MAX_CURSOR_CHARACTERS:
            raise AtmosphereError(f"{name}: more than {limits.pages:,} pages, or no end.")
        if waited > limits.listing_seconds:
            raise AtmosphereError(f"{name}: {problem}.")
        params = {**params, "cursor": cursor}
