"""PDSBlobStore: shards as blobs of an account.

A blob has no name but its CID, and it stays as long as a record references it: the record
that `publish_dataset` writes.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from atdata._digest import blob_cid
from atdata._refs import BlobRef, parse_blob_ref
from atdata._shardlist import ShardInfo, ShardUrls
from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.journal import Journal
from atdata.atmosphere.records import SHARD_TYPE
from atdata.errors import IntegrityError, NoDataUrlsError, OptionError, StoreError, XrpcError
from atdata.sources.identity import server_of
from atdata.stores.spool import write_packed

if TYPE_CHECKING:
    from atdata.dataset.dataset import Dataset

_CHUNK: Final = 1 << 20


class PDSBlobStore:
    """Shards as blobs in the repository of the account that is logged in.

    Publish them at once: the server drops blobs that no record references after some hours.
    A run that was broken off does not send again what the server has acknowledged.

    Args:
        client: Logged in.
    """

    def __init__(self, client: AtmosphereClient) -> None:
        if not isinstance(client, AtmosphereClient):
            raise OptionError(f"Expected an AtmosphereClient, found {type(client).__name__}.")
        self.client = client

    def write_shards(
        self,
        ds: Dataset[Any],
        *,
        prefix: str,
        maxcount: int | None = None,
        maxsize: int | None = None,
    ) -> ShardUrls:
        """Write every sample of a dataset.

        Args:
            ds: The dataset.
            prefix: Has no meaning here: blobs have no names.
            maxcount: Most samples in a shard.
            maxsize: Most bytes in a shard; servers allow 5 MiB by default, some 50 MB and more.

        Returns:
            ``at://did/blob/cid`` of each shard, with samples, bytes and SHA-256.

        Raises:
            AuthenticationError: Not logged in.
            StoreError: A shard is larger than the server takes.
            AtmosphereError: The server cannot be reached or refuses.
        """
        self.client.check_session()
        with tempfile.TemporaryDirectory(prefix="atdata-blobs-") as folder:
            sink = _Sink(self, Path(folder))
            return write_packed(ds.packed(), sink, stem="shard", maxcount=maxcount, maxsize=maxsize)

    def copy_shards(
        self,
        shards: Sequence[ShardInfo],
        open_shard: Callable[[str], IO[bytes]],
        *,
        prefix: str,
    ) -> ShardUrls:
        """Copy shards byte for byte, one at a time, through a temporary file.

        Args:
            shards: What to copy. Where the hash is known it is checked, and a shard that the
                server has already is not even read.
            open_shard: Opens a shard by its URL.
            prefix: Has no meaning here.

        Returns:
            The shards in the same order, each as ``at://did/blob/cid``.

        Raises:
            NoDataUrlsError: There are none.
            IntegrityError: A shard has other bytes than recorded.
            StoreError: A shard is larger than the server takes.
            AtmosphereError: The server cannot be reached or refuses.
        """
        if not shards:
            raise NoDataUrlsError("There are no shards to copy.")
        self.client.check_session()
        for shard in shards:
            self.check_size(shard.url, shard.bytes or 0)
        return ShardUrls([self._copied(shard, open_shard) for shard in shards])

    def _copied(self, shard: ShardInfo, open_shard: Callable[[str], IO[bytes]]) -> ShardInfo:
        if shard.sha256 and (there := self.find(shard.sha256, shard.bytes)):
            return replace(shard, url=str(there[0]), bytes=there[1])
        with tempfile.TemporaryFile(prefix="atdata-blob-") as spool:
            with closing(open_shard(shard.url)) as stream:
                sha256, size = _spool(stream, spool)
            if shard.sha256 not in (None, sha256) or shard.bytes not in (None, size):
                raise IntegrityError(
                    f"expected {shard.bytes} bytes with SHA-256 {shard.sha256}, found {size} "
                    f"with {sha256}. It was changed after it was recorded; nothing was published",
                    shard=shard.url,
                )
            url = self.send(spool, shard.url, size=size, sha256=sha256)
        return ShardInfo(url, shard.samples, size, sha256)

    def find(self, sha256: str, size: int | None) -> tuple[BlobRef, int] | None:
        """The blob with this hash and its size, if the server is known to have it."""
        ref = BlobRef(self.client.did, blob_cid(sha256))
        if size is not None and Journal().has(self.client.server, ref.did, sha256):
            return ref, size
        try:
            stored = self.client.blob_size(ref)
        except XrpcError:
            # Not there, or there and not yet referenced by a record: no server tells which.
            return None
        return (ref, stored) if stored is not None and size in (None, stored) else None

    def send(self, stream: IO[bytes], name: str, *, size: int, sha256: str) -> str:
        """Send one shard, and remember that it was.

        Raises:
            StoreError: It is larger than the server takes.
        """
        self.check_size(name, size)
        try:
            cid = self.client.upload_blob(stream, size=size, sha256=sha256, content_type=SHARD_TYPE)
        except XrpcError as error:
            if error.status != 413:
                raise
            raise StoreError(
                f"{name}: {self.client.server} does not take blobs of {size:,} bytes, though it "
                "says nothing of a limit. Write smaller shards with maxsize=."
            ) from error
        Journal().add(self.client.server, self.client.did, sha256)
        return str(BlobRef(self.client.did, cid))

    def check_size(self, name: str, size: int) -> None:
        """Let a shard pass that the server takes.

        Raises:
            StoreError: It is too large; says what to do.
        """
        limit = self.client.blob_limit
        if size > limit:
            raise StoreError(
                f"{name} has {size:,} bytes; {self.client.server} takes blobs of at most "
                f"{limit:,}. Write smaller shards with maxsize={limit}, or use another store. "
                "Nothing was published."
            )

    def read_url(self, url: str) -> str:
        """The address from which anyone can download a shard.

        Raises:
            RefError: Not ``at://did/blob/cid``.
            IdentityError: The account's server cannot be found.
        """
        ref = parse_blob_ref(url)
        query = urlencode({"did": ref.did, "cid": ref.cid})
        return f"{server_of(ref.did)}/xrpc/com.atproto.sync.getBlob?{query}"

    def supports_streaming(self) -> bool:
        """Always: a shard is read while it is downloaded."""
        return True

    def __repr__(self) -> str:
        return f"PDSBlobStore({self.client!r})"


class _Sink:
    """Takes finished shards of one run."""

    def __init__(self, store: PDSBlobStore, folder: Path) -> None:
        self._store = store
        self._folder = folder

    def scratch(self) -> Path:
        """A folder for unfinished shards."""
        return self._folder

    def accept(self, name: str, file: Path, info: ShardInfo) -> str:
        """Send a finished shard, unless the server has it."""
        assert info.bytes is not None
        assert info.sha256 is not None
        there = self._store.find(info.sha256, info.bytes)
        if there is None:
            with file.open("rb") as stream:
                url = self._store.send(stream, name, size=info.bytes, sha256=info.sha256)
        else:
            url = str(there[0])
        file.unlink()
        return url

    def discard(self) -> None:
        """Nothing: the server drops blobs that no record references."""


def _spool(stream: IO[bytes], spool: IO[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
        spool.write(chunk)
        size += len(chunk)
    spool.flush()
    return digest.hexdigest(), size
