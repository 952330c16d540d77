"""Names that are like one that is not there, for its error"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``"Did you mean 'a' or 'b'? "``, with at most three names; "" where none is like it.

    Args:
        name: What was asked for, in capitals or not.
        names: What there is.
    """
    folded = {candidate.casefold(): candidate for candidate in sorted(names)}
    close = [folded[match] for match in difflib.get_close_matches(name.casefold(), folded)]
    return f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
