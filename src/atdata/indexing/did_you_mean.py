"""Suggestions for a name that was not found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from atdata._refs import NameRef, split_version
from atdata.errors import DatasetNotFoundError


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``"Did you mean 'a' or 'b'? "``, with at most three names; "" if none is similar.

    Case does not matter.
    """
    folded = {candidate.casefold(): candidate for candidate in sorted(names)}
    close = [folded[match] for match in difflib.get_close_matches(name.casefold(), folded)]
    return f"Did you mean {' or '.join(map(repr, close))}? " if close else ""


def no_version(
    ref: str, parsed: NameRef, *, labels: Sequence[str], schemas: Iterable[str]
) -> DatasetNotFoundError:
    """The error for a name without the version that a reference asks for.

    It says which versions labels of the name, and its schema, have.
    """
    versions = ", ".join(schemas)
    return DatasetNotFoundError(
        f"{ref}: {parsed.name!r} has no version {parsed.version}. "
        + (f"Its labels: {', '.join(labels)}. " if labels else "It has no labels. ")
        + (f"Versions of its schema: {versions}. " if versions else "")
        + f"@{parsed.owner}/{parsed.name} is the newest."
    )


def not_a_version(name: str, owner: str) -> str:
    """A sentence about a name that ends like a version and has none; "" for any other."""
    start, at, end = name.rpartition("@")
    if not at or not start or split_version(name)[1] is not None:
        return ""
    return (
        f"{end!r} is not a version, and so was read as part of the name: a version is "
        f"major.minor.patch, as in '@{owner}/{start}@1.0.0'. "
    )
