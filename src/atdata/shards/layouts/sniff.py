"""Which layout a shard has: found by its first members, before anything is read as a sample."""

from __future__ import annotations

from atdata.errors import ShardError
from atdata.shards.layouts.names import is_msgpack, of_sample
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.members import Marker, Members, Short
from atdata.shards.tar.table import Layout
from atdata.shards.tar.window import Window


def layout_of(window: Window) -> Layout:
    """The layout of a shard, at whose start the window is, and stays.

    A shard is of the msgpack layout if its first member does, or the first one after its first
    sample, end in ``.msgpack``, ``.mp`` or ``.msg``. Damaged shards are left to the reader of that
    layout as well, which says what is wrong.
    """
    while True:
        try:
            found = _sniffed(window.view, final=window.final)
        except ShardError:
            return "msgpack"
        if not isinstance(found, int):
            return found
        window.move(0, found)


def _sniffed(view: memoryview, *, final: bool) -> Layout | int:
    """The layout, or how many bytes from the start it takes to tell."""
    members, at, first = Members(), 0, None
    while True:
        if at > len(view) and not final:
            return at + BLOCK
        member = members.next(view, at, base=0, final=final)
        if isinstance(member, Short):
            return at + member.need
        if isinstance(member, Marker):
            return "msgpack" if first is None else "members"
        at = member.end
        if first is None and is_msgpack(member):
            return "msgpack"
        named = of_sample(member)
        if named is None:
            continue
        if first is None:
            first = named[0]
        elif named[0] != first:
            return "msgpack" if is_msgpack(member) else "members"
