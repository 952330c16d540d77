"""Parts of a shard on a server, over http and s3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from urllib3.exceptions import HTTPError

from atdata.errors import AtdataError, IntegrityError
from atdata.net.deadlines import Pace
from atdata.net.file_version import Version
from atdata.net.policy import Policy
from atdata.net.retries import Retries
from atdata.net.transport import Signer, describe, fetch
from atdata.sources.byte_ranges import NoRangesError

_READ: Final = 1 << 20
"""Bytes read from the network at once."""
_CAREFUL: Final = 64 << 10
"""The same after a failure: what was read of a piece that breaks off is lost."""


class HttpBytes:
    """A file on a server that gives ranges.

    All of them are of one version, by ETag, Last-Modified and size, as far as the server says them.
    Where it says the size alone, each is one answer's as a whole: one that breaks off begins again.

    Args:
        url: An http(s) URL, or with ``sign`` what the signer takes.
        name: What to call it in errors.
        sign: Signs each request.
        policy: The gate for strangers' URLs.
    """

    gap: int = 256 << 10
    most: int = 4 << 20

    def __init__(
        self, url: str, *, name: str, sign: Signer | None = None, policy: Policy | None = None
    ) -> None:
        self._url = url
        self._sign = sign
        self._policy = policy
        self.name = name
        self.size: int | None = None
        self._said: dict[str, Version] = {}
        """What the ``first`` answer said of the file."""

    def read_into(self, view: memoryview, start: int) -> None:
        """See `ShardBytes`. Goes on after dropped connections; safe in many threads.

        Raises:
            NoRangesError: The server gives whole files only.
        """
        retries = Retries(self.name)
        pace = Pace(self.name)
        at = 0
        while at < len(view):
            first, last = start + at, start + len(view) - 1
            wanted = {"Range": f"bytes={first}-{last}"}
            if "first" in self._said:
                wanted |= self._said["first"].conditions()
            response = fetch(
                self._url,
                wanted,
                name=self.name,
                retries=retries,
                policy=self._policy,
                sign=self._sign,
                accept=(200, 206, 412, 416),
            )
            try:
                self._check(response.status, response.headers, first, last)
                while at < len(view):
                    size = _CAREFUL if retries.troubled else _READ
                    if self._policy is None:
                        chunk = response.read(min(size, len(view) - at))
                    else:
                        # What has arrived: a drip of bytes would never fill the rest.
                        with pace.waiting():
                            chunk = response.read1(min(size, len(view) - at))
                        pace.came(len(chunk))
                    if not chunk:
                        raise HTTPError("closed early")
                    view[at : at + len(chunk)] = chunk
                    at += len(chunk)
                    if self._resumes():
                        retries.progressed(len(chunk))
                # What comes behind the range is not read, to keep the connection: it may not end.
                (response.release_conn if response.length_remaining == 0 else response.close)()
            except (HTTPError, OSError) as error:
                response.close()
                if isinstance(error, AtdataError):
                    raise
                retries.wait(f"{describe(error)} at byte {start + at}", error)
                if not self._resumes():
                    at = 0
            except BaseException:
                response.close()
                raise

    def _resumes(self) -> bool:
        """Whether the server tells versions apart, so that the rest of a range is of the same."""
        return "first" in self._said and self._said["first"].is_told

    def _check(self, status: int, headers: Mapping[str, str], first: int, last: int) -> None:
        if status == 200:
            raise NoRangesError(f"{self.name}: the server gives the whole file only.")
        span, _, total = headers.get("Content-Range", "").partition("/")
        plain = total.isascii() and total.isdigit() and len(total) <= 18
        size = int(total) if plain else None
        if status != 206 or (None not in (size, self.size) and size != self.size):
            raise IntegrityError(
                f"the file was changed on the server: asked for the bytes {first} to {last} of "
                f"{self.size}, the server answers {status} for a file of {size}",
                shard=self.name,
            )
        if span != f"bytes {first}-{last}":
            raise IntegrityError(
                f"asked for the bytes {first} to {last}, the server gives {span!r}",
                shard=self.name,
            )
        # Of threads that ask at once, one is the first, and the others compare.
        found = Version.of(headers, size)
        if self._said.setdefault("first", found).is_other(found):
            raise IntegrityError("the file was changed on the server", shard=self.name)
        self.size = self.size if size is None else size
