"""Links of a tar, followed inside it as if it were unpacked."""

from __future__ import annotations

from typing import Final, NoReturn, TypeAlias

from atdata._limits import limits
from atdata.errors import ShardError
from atdata.shards.tar.header import FOLDER, HARD_LINK, SYMBOLIC_LINK, name_of
from atdata.shards.tar.members import Marker, Member, Members, Short

_MOST_LINKS: Final = 40
"""Links that are followed for one name, as on Linux."""

_Path: TypeAlias = tuple[bytes, ...]
_Node: TypeAlias = Member | None
"""What is at a path: a file, a symbolic link, or a folder (None)."""


class LinksError(Exception):
    """A link in a stream, whose target may have passed or be still to come."""


class Tree:
    """The files that unpacking a tar would create, by their paths.

    Reads every header and keeps every name, so it is made only if samples are links.

    Args:
        window: The whole tar.

    Raises:
        ShardError: It is damaged, or a hard link leads to a file that is not before it.
    """

    def __init__(self, window: memoryview) -> None:
        self._nodes: dict[_Path, _Node] = {(): None}
        self._broken: dict[_Path, str] = {}
        self._outside: dict[bytes, Member] = {}
        """Files whose names lead outside of the tar; found only by exactly these names."""
        self.names: dict[int, bytes] = {}
        """Offset of each payload → the name in its header."""
        members, at = Members(), 0
        while True:
            member = members.next(window, at, base=0, final=True)
            if isinstance(member, Marker):
                return
            assert not isinstance(member, Short)
            if len(self._nodes) > limits.samples:
                raise ShardError(f"more than {limits.samples:,} members", offset=member.header)
            members.check_whole(member, window, 0)
            if member.has_data:
                self.names[member.data] = name_of(bytes(window[member.header : member.data]))
            self._add(member)
            at = member.end

    def _add(self, member: Member) -> None:
        path = _parts(member.name)
        if _is_outside(member.name):
            self._add_outside(member)
        if not path or b".." in path:
            # It would be unpacked elsewhere; no path inside leads there.
            return
        # A folder may be a link itself.
        try:
            folder = self._walk((), path[:-1], member)
        except ShardError:
            return
        path = (*folder, path[-1])
        for end in range(1, len(path)):
            self._nodes.setdefault(path[:end], None)
        if member.flag == FOLDER:
            self._nodes.setdefault(path, None)
            return
        self._broken.pop(path, None)
        if member.flag != HARD_LINK:
            self._nodes[path] = member
            return
        try:
            target = self._target(member)
        except ShardError as error:
            self._nodes.pop(path, None)
            self._broken[path] = error.problem
            return
        self._nodes[path] = target

    def _add_outside(self, member: Member) -> None:
        named = (member.name,)
        self._outside.pop(member.name, None)
        self._broken.pop(named, None)
        if member.has_data:
            self._outside[member.name] = member
        elif member.flag == HARD_LINK:
            try:
                self._outside[member.name] = self._target(member)
            except ShardError as error:
                self._broken[named] = error.problem

    def _target(self, link: Member) -> Member:
        """The member that a hard link is another name of, which comes before it."""
        if link.link in self._outside:
            return self._outside[link.link]
        if _is_outside(link.link):
            self._refuse(link, "outside of the shard")
        target = _parts(link.link)
        folder = self._walk((), target[:-1], link) if target else ()
        found = self._nodes.get((*folder, *target[-1:]))
        if found is None:
            self._refuse(link, "which is no file before it in the shard")
        return found

    def leads_to_folder(self, link: Member) -> bool:
        """Whether a link leads to a folder of this tar."""
        try:
            path = self._walk((), _parts(link.name), link)
        except ShardError:
            return False
        return path in self._nodes and self._nodes[path] is None

    def file(self, link: Member) -> Member:
        """The file that a link leads to.

        Args:
            link: A link of this tar.

        Raises:
            ShardError: None within the shard: it leads outside, in a circle, to a folder, or to
                what is not there.
        """
        path = _parts(link.name)
        if b".." in path and link.flag == HARD_LINK:
            path, found = (link.name,), self._outside.get(link.name)
        else:
            path = self._walk((), path, link)
            found = self._nodes.get(path)
        if path in self._broken:
            raise ShardError(self._broken[path], offset=link.header)
        if found is None:
            what = "a folder" if path in self._nodes else "nothing"
            self._refuse(link, f"which is {what} in the shard")
        if not found.has_data:
            self._refuse(link, "which is a device")
        return found

    def _walk(self, folder: _Path, names: _Path, link: Member) -> _Path:
        """Where a path leads from a folder, following every link on the way."""
        left, followed = list(reversed(names)), 0
        while left:
            name = left.pop()
            if name == b"..":
                if not folder:
                    self._refuse(link, "outside of the shard")
                folder = folder[:-1]
                continue
            here = (*folder, name)
            node = self._nodes.get(here)
            if node is None or node.flag != SYMBOLIC_LINK:
                if node is not None and left:
                    self._refuse(link, "below a file")
                folder = here
                continue
            followed += 1
            if followed > _MOST_LINKS:
                self._refuse(link, "in a circle of links")
            if node.link.startswith(b"/"):
                self._refuse(link, "outside of the shard")
            left += reversed(_parts(node.link))
        return folder

    @staticmethod
    def _refuse(link: Member, where: str) -> NoReturn:
        name, target = (text[:200].decode("utf-8", "replace") for text in (link.name, link.link))
        raise ShardError(f"the link {name!r} leads to {target!r}, {where}", offset=link.header)


def _is_outside(name: bytes) -> bool:
    return name.startswith(b"/") or b".." in _parts(name)


def _parts(path: bytes) -> _Path:
    return tuple(part for part in path.split(b"/") if part not in (b"", b"."))
