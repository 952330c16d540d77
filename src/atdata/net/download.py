"""A remote file as a stream: resumes after dropped connections, or fails."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError

from atdata._limits import limits
from atdata.errors import IntegrityError, SourceError
from atdata.net.deadlines import Pace
from atdata.net.file_version import Version
from atdata.net.headers import whole_number
from atdata.net.policy import Policy
from atdata.net.retries import Retries, RetryPolicy
from atdata.net.transport import Signer, describe, fetch

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from urllib3.response import BaseHTTPResponse

BUFFER_BYTES: Final = 1 << 20
"""Read from the network at once."""
_ENCODINGS: Final = {"gzip": b"\x1f\x8b", "x-gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
"""Content encoding → the first bytes of a body that has it."""
_COMPRESSED_NAMES: Final = (".gz", ".tgz", ".zst", ".tzst")
_AFTER_FAILURE_BYTES: Final = 64 << 10
"""The same after a failure, so that a connection that breaks early still makes progress."""


class Download(io.RawIOBase):
    """The unbuffered stream of `http.open_url`, which documents the arguments."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        sign: Signer | None,
        policy: Policy | None,
        expect_bytes: int | None,
        restart: bool,
        name: str,
        retry_policy: RetryPolicy | None,
        allow_encoded: bool,
    ) -> None:
        super().__init__()
        self._url = url
        self._headers = dict(headers)
        self._sign = sign
        self._policy = policy
        self._expect = expect_bytes
        self._restart = restart
        self.name = name
        self._retries = Retries(name, retry_policy)
        self._at = 0
        self._skip = 0
        self._received = 0
        self._pace = Pace(name)
        self._pid = os.getpid()
        self._total: int | None = None
        self._encoding = ""
        self._allow_encoded = allow_encoded
        self._version = Version(None, None, None)
        self._response: BaseHTTPResponse | None = self._begin()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read up to ``len(buffer)`` bytes; 0 at the end of the file, never before."""
        view = memoryview(buffer).cast("B")
        if not len(view):
            return 0
        while True:
            if self._pid != os.getpid():
                # A forked child and its parent would each get half of the bytes of this socket.
                self._pid, self._response, self._skip = os.getpid(), None, 0
            if self._total is not None and self._at == self._total and not self._skip:
                self._close_response()
                return 0
            if self._response is None:
                self._response = self._resume()
            most = self._skip or len(view)
            try:
                size = min(most, _AFTER_FAILURE_BYTES if self._retries.troubled else BUFFER_BYTES)
                chunk = self._read(self._response, size)
            except SourceError:
                raise
            except (HTTPError, OSError) as error:
                self._dropped(describe(error), error)
                continue
            if not chunk:
                if self._skip or (self._total is not None and self._at < self._total):
                    self._dropped("the connection was closed")
                    continue
                self._total = self._at
                self._check_size(self._at)
                return 0
            if self._skip:
                self._skip -= len(chunk)
                continue
            self._retries.progressed(len(chunk))
            view[: len(chunk)] = chunk
            if not self._at and self._encoding in _ENCODINGS:
                # Some servers set the header for a plain file, or one that is itself compressed.
                path = urlsplit(self._url).path.lower()
                if chunk.startswith(_ENCODINGS[self._encoding]) and not path.endswith(
                    _COMPRESSED_NAMES
                ):
                    raise self._encoded()
            self._at += len(chunk)
            if self._total is not None and self._at > self._total:
                raise IntegrityError(
                    f"the server sends more than the {self._total} bytes that it announced",
                    shard=self.name,
                )
            return len(chunk)

    def _encoded(self) -> SourceError:
        return SourceError(
            f"{self.name}: the server sends it with Content-Encoding: {self._encoding}, though it "
            "was asked for the file as it is (Accept-Encoding: identity). Have the server, or a "
            "proxy on the way, not compress .tar files; in a bucket, store them without it."
        )

    def _read(self, response: BaseHTTPResponse, size: int) -> bytes:
        if self._policy is None:
            return response.read(size)
        # Whatever has arrived: waiting for all of it would let a server drip.
        with self._pace.waiting():
            chunk = response.read1(size)
        self._pace.arrived(len(chunk))
        self._received += len(chunk)
        if self._received > limits.shard_bytes:
            raise SourceError(f"{self.name}: larger than {limits.shard_bytes:,} bytes.")
        return chunk

    def close(self) -> None:
        """Close the connection."""
        if not self.closed:
            self._close_response()
        super().close()

    def _close_response(self) -> None:
        response, self._response = getattr(self, "_response", None), None
        if response is not None and self._pid == os.getpid():
            response.close()

    def _dropped(self, problem: str, cause: Exception | None = None) -> None:
        self._close_response()
        self._skip = 0
        of = "" if self._total is None else f" of {self._total}"
        self._retries.wait(f"{problem} at byte {self._at}{of}", cause)

    def _begin(self) -> BaseHTTPResponse:
        response = self._fetch({}, accept=(200,))
        if not self._allow_encoded:
            self._encoding = response.headers.get("Content-Encoding", "").strip().lower()
        self._total = whole_number(response.headers.get("Content-Length"))
        self._version = Version.of(response.headers, self._total)
        if self._total is not None:
            try:
                self._check_size(self._total)
            except IntegrityError:
                response.close()
                raise
        return response

    def _check_size(self, size: int) -> None:
        if self._expect is not None and size != self._expect:
            if self._encoding in _ENCODINGS:
                raise self._encoded()
            raise IntegrityError(
                f"it should have {self._expect} bytes and has {size}", shard=self.name
            )

    def _resume(self) -> BaseHTTPResponse:
        if self._at == 0:
            return self._begin()
        wanted: dict[str, str] = {}
        if not self._restart:
            wanted["Range"] = f"bytes={self._at}-"
            wanted |= self._version.conditions()
            if not self._version.is_identified:
                raise SourceError(
                    f"{self.name}: the connection was lost at byte {self._at}, and the server "
                    "gives neither ETag nor Last-Modified, without which the rest could be of "
                    "another file. Read it again from the start."
                )
        response = self._fetch(wanted, accept=(200, 206, 412, 416))
        try:
            self._continue_from(response)
        except BaseException:
            response.close()
            raise
        return response

    def _continue_from(self, response: BaseHTTPResponse) -> None:
        """Check that a response continues the same file, so that no other is mixed in.

        Raises:
            IntegrityError: It is another version of the file.
            SourceError: The server has no ranges and nothing says that the file is the same.
        """
        # The size of the file is in Content-Range, checked below.
        found = Version.of(response.headers, None)
        changed = self._version.is_other(found)
        if response.status in (412, 416) or (changed and not self._restart):
            raise IntegrityError(
                f"the file was changed on the server while it was being read, after byte "
                f"{self._at}; read it again",
                shard=self.name,
            )
        if response.status == 206:
            expected = f"bytes {self._at}-"
            total = "*" if self._total is None else str(self._total)
            span = response.headers.get("Content-Range", "")
            if not span.startswith(expected) or span.rpartition("/")[2] not in (total, "*"):
                raise IntegrityError(
                    f"asked for the bytes from {self._at} of {total}, the server gives {span!r}",
                    shard=self.name,
                )
            return
        strong = self._version.strong
        if not self._restart and not (strong and found.etag == strong):
            raise SourceError(
                f"{self.name}: the connection was lost at byte {self._at}, and the server cannot "
                "resume from there: it has no ranges. Read it again from the start."
            )
        length = whole_number(response.headers.get("Content-Length"))
        if None not in (length, self._total) and length != self._total:
            raise IntegrityError(
                f"had {self._total} bytes at first and now has {length}", shard=self.name
            )
        self._skip = self._at

    def _fetch(self, wanted: Mapping[str, str], accept: tuple[int, ...]) -> BaseHTTPResponse:
        started, paused = time.monotonic(), self._retries.paused
        response = fetch(
            self._url,
            {**self._headers, **wanted},
            name=self.name,
            retries=self._retries,
            policy=self._policy,
            sign=self._sign,
            accept=accept,
        )
        # Otherwise each of many connections could be slow before its first byte.
        self._pace.waited(time.monotonic() - started - (self._retries.paused - paused))
        return response
