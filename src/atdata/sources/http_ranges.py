"""Byte ranges of a remote shard, over http and s3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from urllib3.exceptions import HTTPError

from atdata.errors import AtdataError, IntegrityError
from atdata.net.deadlines import Pace
from atdata.net.file_version import Version
from atdata.net.headers import whole_number
from atdata.net.policy import Policy
from atdata.net.retries import Retries
from atdata.net.transport import Signer, describe, fetch
from atdata.sources.byte_ranges import NoRangesError

_READ_BYTES: Final = 1 << 20
"""Read from the network at once."""
_AFTER_FAILURE_BYTES: Final = 64 << 10
"""The same after a failure: if a read breaks off, its bytes are lost."""


class HttpBytes:
    """A file on a server, by byte ranges.

    All ranges are of one version of the file, by ETag, Last-Modified and size, as far as the server
    sends them. If it sends only the size, a range that breaks off is read again from its start.

    Args:
        url: An http(s) URL, or with ``sign`` what the signer takes.
        name: What to call it in errors.
        sign: Signs each request.
        policy: The gate for strangers' URLs.
    """

    max_gap_bytes: int = 256 << 10
    max_read_bytes: int = 4 << 20

    def __init__(
        self, url: str, *, name: str, sign: Signer | None = None, policy: Policy | None = None
    ) -> None:
        self._url = url
        self._sign = sign
        self._policy = policy
        self.name = name
        self.size: int | None = None
        self._seen: dict[str, Version] = {}
        """Under ``first``: the version of the first answer. A dict, for its atomic setdefault."""

    def read_into(self, view: memoryview, start: int) -> None:
        """See `ByteRanges`. Resumes after dropped connections; thread-safe.

        Raises:
            NoRangesError: The server gives whole files only.
        """
        retries = Retries(self.name)
        pace = Pace(self.name)
        at = 0
        while at < len(view):
            first, last = start + at, start + len(view) - 1
            wanted = {"Range": f"bytes={first}-{last}"}
            if "first" in self._seen:
                wanted |= self._seen["first"].conditions()
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
                    size = _AFTER_FAILURE_BYTES if retries.troubled else _READ_BYTES
                    if self._policy is None:
                        chunk = response.read(min(size, len(view) - at))
                    else:
                        # Whatever has arrived: waiting for all of it would let a server drip.
                        with pace.waiting():
                            chunk = response.read1(min(size, len(view) - at))
                        pace.arrived(len(chunk))
                    if not chunk:
                        raise HTTPError("closed early")
                    view[at : at + len(chunk)] = chunk
                    at += len(chunk)
                    if self._resumes():
                        retries.progressed(len(chunk))
                # Bytes after the range are not drained to reuse the connection: they may never end.
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
        """Whether the server identifies versions, so that the rest of a range can be checked."""
        return "first" in self._seen and self._seen["first"].is_identified

    def _check(self, status: int, headers: Mapping[str, str], first: int, last: int) -> None:
        if status == 200:
            raise NoRangesError(f"{self.name}: the server gives the whole file only.")
        span, _, total = headers.get("Content-Range", "").partition("/")
        size = whole_number(total)
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
        # If threads ask at once, one of them is first and the others compare.
        found = Version.of(headers, size)
        if self._seen.setdefault("first", found).is_other(found):
            raise IntegrityError("the file was changed on the server", shard=self.name)
        self.size = self.size if size is None else size
