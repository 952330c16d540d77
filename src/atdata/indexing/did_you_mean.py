"""Suggestions for a name that was not found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``"Did you mean 'a' or 'b'? "``, with at most three names; "" if none is similar.

    Args:
        name: The name that was not found; case does not matter.
        names: The existing names.
    """
    folded = {candidate.casefold(): candidate for candidate in sorted(names)}
    close = [folded[match] for match in difflib.get_close_matches(name.casefold(), folded)]
    return f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
