"""Shards that are blobs of an account: ``at://did/blob/cid``."""

from __future__ import annotations

import hashlib
import io
import mmap
import re
import tempfile
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from atdata._digest import RAW, cid_sha256
from atdata._limits import limits
from atdata._refs import parse_blob_ref
from atdata.errors import IntegrityError, ShardNotFoundError, SourceError
from atdata.net.http import open_url
from atdata.net.identity import network_policy, server_of
from atdata.net.policy import Policy
from atdata.sources.hashed_stream import CheckedStream
from atdata.system.partial_files import room_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import WriteableBuffer


_CHUNK_BYTES: Final = 1 << 20


class BlobReader:
    """Opens blobs, on the account's current server."""

    def open(self, url: str, *, policy: Policy | None = None, most: int | None = None) -> IO[bytes]:
        """Open a blob as a stream whose bytes are checked against its CID.

        The account's identity document, a stranger's text, names the server, so the gate for
        strangers' URLs always applies.

        Args:
            url: ``at://did/blob/cid``.
            policy: The gate; None: the one of the network in use.
            most: Largest blob accepted, in bytes; None: ``limits.blob_bytes``.

        Returns:
            A stream. Its first read downloads the whole blob to a temporary file, and raises
            IntegrityError, before any byte is returned, if they do not match the CID.

        Raises:
            RefError: Not a blob's URL.
            IdentityError: The account's server cannot be found.
            ShardNotFoundError: The server does not have the blob.
            SourceError: It cannot be read.
            UnsafeUrlError: The policy refuses the server's address.
        """
        ref = parse_blob_ref(url)
        server = server_of(ref.did)
        gate = network_policy()
        if policy is not None and policy.allow_private is not None:
            gate = policy
        query = urlencode({"did": ref.did, "cid": ref.cid})
        stream = open_url(
            f"{server}/xrpc/com.atproto.sync.getBlob?{query}",
            sign=_BlobSigner(url, server),
            policy=gate,
            restart=True,
            name=url,
        )
        sha256 = cid_sha256(ref.cid, codec=RAW)
        return CheckedStream(_Checked(stream, url, sha256, most or limits.blob_bytes), sha256)

    def expand(self, url: str, *, policy: Policy | None = None) -> list[str]:
        """The URL itself.

        Raises:
            RefError: Not a blob's URL.
        """
        return [str(parse_blob_ref(url))]


_GONE: Final = re.compile(
    rb'"error" *: *"(RepoNotFound|RepoDeactivated|RepoTakendown|RepoSuspended)"'
)
"""How servers refuse the blobs of an account that is not active."""


class _BlobSigner:
    """A signer that signs nothing, and interprets the server's refusals."""

    def __init__(self, url: str, server: str) -> None:
        self._url = url
        self._server = server

    def sign(self, url: str) -> str:
        return url

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> Exception | None:
        if gone := _GONE.search(body):
            return ShardNotFoundError(
                f"{self._url}: {self._server} no longer serves this account "
                f"({gone[1].decode()}): its data must not be read."
            )
        # The reference server answers 400 BlobNotFound, others 404.
        if status in (400, 404, 410):
            return ShardNotFoundError(
                f"{self._url}: {self._server} does not have this blob. It may have been deleted, "
                "or no record references it."
            )
        return SourceError(f"{self._url}: {self._server} answers {status}, not the blob.")


class _Checked(io.RawIOBase):
    """Returns bytes only after all of them have been checked against the hash."""

    def __init__(self, stream: IO[bytes], url: str, sha256: str, most: int) -> None:
        super().__init__()
        self._stream: Any = stream
        self._url = url
        self._sha256 = sha256
        self._most = most
        self._view: memoryview | None = None
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read; the first call downloads and checks."""
        if self._view is None:
            self._view = self._checked()
        view = memoryview(buffer).cast("B")
        part = self._view[self._at : self._at + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _checked(self) -> memoryview:
        digest = hashlib.sha256()
        with room_for(self._url), tempfile.TemporaryFile(prefix="atdata-blob-") as file:
            while chunk := self._stream.read(_CHUNK_BYTES):
                if file.tell() + len(chunk) > self._most:
                    raise IntegrityError(
                        f"a blob of more than {self._most:,} bytes", shard=self._url
                    )
                digest.update(chunk)
                file.write(chunk)
            self._stream.close()
            file.flush()
            size = file.tell()
            if digest.hexdigest() != self._sha256:
                raise IntegrityError(
                    f"the {size:,} bytes that the server sent do not match the CID",
                    shard=self._url,
                )
            # A map, not the file, whose position a forked child would share.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        return memoryview(mapped)

    def close(self) -> None:
        """Close the connection."""
        if not self.closed:
            self._stream.close()
            self._view = memoryview(b"")
        super().close()
