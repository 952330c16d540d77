"""Which layout a shard has: found by its first members, before anything is read as a sample."""

from __future__ import annotations

from atdata._shardlist import Layout
from atdata.errors import ShardError
from atdata.shards.layouts.names import is_msgpack, of_sample
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.members import Marker, Members, Short
from atdata.shards.tar.window import Window


def layout_of(window: Window) -> Layout:
    """The layout of a shard, at whose start the window is, and stays.

    A shard is of the msgpack layout if its first member does, or the first one after its first
    sample, end in ``.msgpack``, ``.mp`` or ``.msg``; unless the first is ``KEY.msgpack`` and the
    second has another ending after the same key, so that both are one sample for WebDataset's
    readers. Damaged shards are left to the reader of that layout as well, which says what is wrong.
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
    members, at, first, is_first_msgpack = Members(), 0, None, False
    while True:
        if at > len(view) and not final:
            return at + BLOCK
        member = members.next(view, at, base=0, final=final)
        if isinstance(member, Short):
            return at + member.need
        if isinstance(member, Marker):
            return "msgpack" if first is None or is_first_msgpack else "members"
        at = member.end
        named = of_sample(member)
        if first is None and is_msgpack(member):
            if named is None or b"." in named[1]:
                return "msgpack"
            is_first_msgpack = True
        if named is None:
            continue
        if first is None:
            first = named[0]
        elif is_first_msgpack:
            return "msgpack" if named[0] != first or is_msgpack(member) else "members"
        elif named[0] != first:
            return "msgpack" if is_msgpack(member) else "members"
