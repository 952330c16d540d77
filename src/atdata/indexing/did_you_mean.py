"""Suggestions for a name that was not found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from atdata._refs import split_version


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``"Did you mean 'a' or 'b'? "``, with at most three names; "" if none is similar.

    Args:
        name: The name that was not found; case does not matter.
        names: The existing names.
    """
    folded = {candidate.casefold(): candidate for candidate in sorted(names)}
    close = [folded[match] for match in difflib.get_close_matches(name.casefold(), folded)]
    return f"Did you mean {' or '.join(map(repr, close))}? " if close else ""


def not_a_version(name: str, owner: str) -> str:
    """A sentence about a name that ends like a version and has none; "" for any other.

    Args:
        name: The name that was not found. Names may have an ``@``.
        owner: Whose dataset it is: ``local``, or an account.
    """
    start, at, end = name.rpartition("@")
    if not at or not start or split_version(name)[1] is not None:
        return ""
    return (
        f"{end!r} is not a version, and so was read as part of the name: a version is "
        f"major.minor.patch, as in '@{owner}/{start}@1.0.0'. "
    )
