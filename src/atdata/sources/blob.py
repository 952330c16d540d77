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
from atdata.system.partial_files import room_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import WriteableBuffer


_CHUNK: Final = 1 << 20


class BlobReader:
    """Opens blobs, from the server that the account is at now."""

    def open(self, url: str, *, policy: Policy | None = None, most: int | None = None) -> IO[bytes]:
        """Open a blob as a stream whose bytes are checked against its CID.

        The server is named by the account's identity document, a stranger's text, so that the
        gate for strangers' URLs always applies to it.

        Args:
            url: ``at://did/blob/cid``.
            policy: The gate; None is that of the network in use.
            most: Largest blob taken, in bytes; None: ``limits.blob_bytes``.

        Returns:
            A stream. The first read downloads the whole blob to a temporary file, and raises
            IntegrityError if its bytes are not those of the CID: none of them is handed out.

        Raises:
            RefError: Not a blob's URL.
            IdentityError: The account's server cannot be found.
            ShardNotFoundError: The server does not have the blob.
            SourceError: It cannot be read.
            UnsafeUrlError: The server is at an address that strangers must not lead to.
        """
        ref = parse_blob_ref(url)
        server = server_of(ref.did)
        gate = network_policy()
        if policy is not None and policy.allow_private is not None:
            gate = policy
        query = urlencode({"did": ref.did, "cid": ref.cid})
        stream = open_url(
            f"{server}/xrpc/com.atproto.sync.getBlob?{query}",
            sign=_Refusals(url, server),
            policy=gate,
            restart=True,
            name=url,
        )
        checked = _Checked(stream, url, cid_sha256(ref.cid, codec=RAW), most or limits.blob_bytes)
        return io.BufferedReader(checked, 1 << 20)

    def expand(self, url: str, *, policy: Policy | None = None) -> list[str]:
        """The URL itself.

        Raises:
            RefError: Not a blob's URL.
        """
        return [str(parse_blob_ref(url))]


_GONE: Final = re.compile(
    rb'"error" *: *"(RepoNotFound|RepoDeactivated|RepoTakendown|RepoSuspended)"'
)
"""How servers refuse what belongs to an account that is gone."""


class _Refusals:
    """Needs no signature; knows what the server's refusals mean."""

    def __init__(self, url: str, server: str) -> None:
        self._url = url
        self._server = server

    def sign(self, url: str) -> str:
        return url

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> Exception | None:
        if gone := _GONE.search(body):
            return ShardNotFoundError(
                f"{self._url}: {self._server} does not show this account any more "
                f"({gone[1].decode()}): its data are not to be read."
            )
        # The reference server answers 400 BlobNotFound, others 404.
        if status in (400, 404, 410):
            return ShardNotFoundError(
                f"{self._url}: {self._server} does not have this blob. It may have been deleted, "
                "or no record references it."
            )
        return SourceError(f"{self._url}: {self._server} answers {status}, not the blob.")


class _Checked(io.RawIOBase):
    """Hands out bytes once all of them were seen to have the hash: not one before."""

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
        """Read on; at first, download and check."""
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
            while chunk := self._stream.read(_CHUNK):
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
                    f"the {size:,} bytes that the server gave are not those of the CID",
                    shard=self._url,
                )
            # A map, not the file: a forked child has its own place in it.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        return memoryview(mapped)

    def close(self) -> None:
        """Close the connection."""
        if not self.closed:
            self._stream.close()
            self._view = memoryview(b"")
        super().close()
