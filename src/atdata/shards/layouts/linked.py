"""What members that are links lead to."""

from __future__ import annotations

from collections.abc import Mapping

from atdata._arrays import Integers
from atdata.errors import DecodeError
from atdata.shards.columns.decode import Linked
from atdata.shards.tar.header import BLOCK


def linked_in(
    links: Mapping[int, tuple[int, int] | str], view: memoryview, starts: Integers, base: int
) -> Linked | None:
    """What links of samples lead to, in a window that is the whole shard; None: it is not.

    Args:
        links: See `SampleTable`.
        view: The window.
        starts: Where in it the recorded payload of each sample begins.
        base: Where in the shard the window begins.
    """
    if base:
        return None

    def linked(row: int, at: int) -> memoryview:
        start, size = place_of_link(links, int(starts[row]) - BLOCK + at)
        return view[start : start + size]

    return linked


def place_of_link(links: Mapping[int, tuple[int, int] | str], header: int) -> tuple[int, int]:
    """Where in a shard the file begins that a link leads to, and its size.

    Args:
        links: See `SampleTable`.
        header: Where the link's header begins.

    Raises:
        DecodeError: It leads to no file of the shard.
    """
    found = links.get(header, "a link that was not there when the shard was scanned")
    if isinstance(found, str):
        raise DecodeError(found)
    return found
