"""The version of a remote file, by ETag, date and size, so that parts never mix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from atdata._secrets import redacted_repr


@redacted_repr
@dataclass(frozen=True, slots=True)
class Version:
    """What a server's first answer says about a file."""

    etag: str | None
    modified: str | None
    """Its Last-Modified, which has whole seconds."""
    size: int | None
    """In bytes."""

    @classmethod
    def of(cls, headers: Mapping[str, str], size: int | None) -> Version:
        """From the headers of an answer for a file of this size."""
        return cls(headers.get("ETag") or None, headers.get("Last-Modified") or None, size)

    @property
    def strong(self) -> str | None:
        """The ETag, if it is one that changes with every byte; None for a weak one."""
        return self.etag if self.etag and self.etag.startswith('"') else None

    @property
    def is_identified(self) -> bool:
        """Whether anything but the size distinguishes this version from others."""
        return self.strong is not None or self.modified is not None

    def conditions(self) -> dict[str, str]:
        """Headers of a request for a part of this version; a server with another answers 412."""
        if self.strong:
            return {"If-Match": self.strong}
        return {"If-Unmodified-Since": self.modified} if self.modified else {}

    def is_other(self, found: Version) -> bool:
        """Whether an answer is of another version than this one."""
        if None not in (self.size, found.size) and found.size != self.size:
            return True
        if self.etag and found.etag and found.etag != self.etag:
            return True
        # The same bytes may have been written again: an equal strong ETag proves it.
        return not (self.strong and found.etag) and found.modified != self.modified
