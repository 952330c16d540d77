"""PDSBlobStore: shards as blobs of an account.

A blob has no name but its CID, and it stays as long as a record references it: the record
that `publish_dataset` writes.
"""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlencode

from atdata._digest import blob_cid
from atdata._refs import SHARD_BLOBS_COLLECTION, AtUri, BlobRef, parse_blob_ref
from atdata._shardlist import ShardInfo, ShardUrls
from atdata.atmosphere.fields import SHARD_TYPE, blob_reference
from atdata.atmosphere.record_keys import OURS
from atdata.atproto.client import AtmosphereClient
from atdata.atproto.data_model import now
from atdata.atproto.reader import StoredBlob
from atdata.errors import OptionError, StoreError, XrpcError
from atdata.net.identity import server_of
from atdata.stores.journal import Journal
from atdata.stores.store_base import SinkStore
from atdata.system.scratch import Scratch

_NO_TYPE: Final = "application/x-of-no-blob"
"""A MIME type that no server keeps a blob under."""
_EXPECTED: Final = re.compile(r"Expected: (.+?), Got: ")
"""Where a server names the type of a blob that is referenced under another."""


def place_of(client: AtmosphereClient) -> str:
    """What the journal calls the blobs of an account on its server."""
    return f"{client.server} {client.did}"


def noted_blob(client: AtmosphereClient, sha256: str) -> ShardInfo | None:
    """The account's blob with this hash, if its server lately acknowledged it. Nothing is sent."""
    noted = Journal().find(place_of(client), sha256)
    return noted and replace(noted, url=str(BlobRef.of(client.did, sha256)))


def known_blob(
    client: AtmosphereClient, sha256: str, *, size: int | None = None
) -> ShardInfo | None:
    """The account's blob with this hash, if its server is known to have it.

    Where a size is given, in bytes, the server is asked even if nothing was sent from here.
    """
    if (noted := noted_blob(client, sha256)) is not None:
        return noted
    ref, place, journal = BlobRef.of(client.did, sha256), place_of(client), Journal()
    try:
        stored: StoredBlob | None = client.stored_blob(ref)
    except XrpcError as error:
        if error.status >= 500:
            raise
        # Missing, or not referenced by a record yet.
        doubtful = journal.doubtful(place, sha256)
        size = doubtful.bytes if size is None and doubtful is not None else size
        stored = None if size is None else unreferenced_blob(client, ref, size)
        if stored is not None:
            journal.add(place, ShardInfo(str(ref), None, stored.size, sha256, stored.mime))
    if stored is None or stored.size is None:
        return None
    return ShardInfo(str(ref), None, stored.size, sha256, stored.mime)


def unreferenced_blob(client: AtmosphereClient, ref: BlobRef, size: int) -> StoredBlob | None:
    """A blob that no record references, if the server has it.

    There is no call for it. But a server refuses a record for the first wrong reference in it, and
    says what is wrong: this one has the blob under a type that is nobody's, and a second blob that
    nobody has sent. So it is never written, and the refusal is the answer.
    """
    at = AtUri(client.did, SHARD_BLOBS_COLLECTION, f"{OURS}{ref.cid}")
    cids = [blob_cid(secrets.token_hex(32)), ref.cid]
    # A server may check either of the two first.
    for order in (cids, cids[::-1]):
        blobs = [blob_reference(cid, _NO_TYPE, size) for cid in order]
        body = {"dataset": str(at), "blobs": blobs, "createdAt": now()}
        record = {"$type": at.collection, **body}
        try:
            client.put_record(at.collection, at.rkey, record, replaces=None)
        except XrpcError as error:
            if error.status >= 500:
                raise
            kept = _EXPECTED.search(str(error)) if error.code == "InvalidMimeType" else None
            if kept is not None:
                return StoredBlob(ref.cid, size, kept[1])
            if ref.cid in str(error):
                return None
        else:
            # This server does not check what records reference.
            client.delete_record(at)
            return None
    return None


class PDSBlobStore(SinkStore):
    """Shards as blobs in the repository of the account that is logged in.

    Publish them at once: the server drops blobs that no record references after some hours.
    A run that was broken off does not send again what the server has. Prefixes have no meaning
    here: blobs have no names, and no files next to them. Servers take 5 MiB by default, some 50 MB
    and more.

    Writing and copying raise `AuthenticationError` without a login, and `AtmosphereError` if the
    server cannot be reached or refuses.

    Args:
        client: Logged in.
    """

    def __init__(self, client: AtmosphereClient) -> None:
        if not isinstance(client, AtmosphereClient):
            raise OptionError(f"Expected an AtmosphereClient, found {type(client).__name__}.")
        self.client = client

    @classmethod
    def from_client(cls, client: AtmosphereClient) -> PDSBlobStore:
        """The same as the constructor."""
        return cls(client)

    def planned(self, shards: Sequence[ShardInfo], *, prefix: str) -> list[ShardInfo]:
        """The shards as `copy_shards` would place them. No request is sent."""
        did = self.client.did
        # The CID of a shard whose hash is not known has the same length.
        return [shard.at(str(BlobRef.of(did, shard.sha256 or "0" * 64))) for shard in shards]

    def present(self, shards: Sequence[ShardInfo], *, prefix: str) -> list[str]:
        """The URLs of those that the server has lately acknowledged. No request is sent."""
        place, journal = place_of(self.client), Journal()
        return [
            shard.url
            for shard in shards
            if shard.sha256 is not None and journal.find(place, shard.sha256) is not None
        ]

    def find(self, shard: ShardInfo) -> ShardInfo | None:
        """The shard as a blob, if the server is known to have one of this hash and size."""
        if shard.sha256 is None:
            return None
        found = known_blob(self.client, shard.sha256)
        return found if found is not None and shard.bytes in (None, found.bytes) else None

    def send(self, stream: IO[bytes], name: str, *, size: int, sha256: str) -> ShardInfo:
        """Send one shard, and remember that it was, and as what.

        Raises:
            StoreError: It is larger than the server takes.
        """
        self.check_size(name, size)
        place, journal = place_of(self.client), Journal()
        url = str(BlobRef.of(self.client.did, sha256))
        journal.doubt(place, [ShardInfo(url, None, size, sha256)])
        try:
            stored = self.client.upload_blob(
                stream, size=size, sha256=sha256, content_type=SHARD_TYPE
            )
        except XrpcError as error:
            if error.status != 413:
                raise
            raise StoreError(
                f"{name}: {self.client.server} does not take blobs of {size:,} bytes, though it "
                "says nothing of a limit. Write smaller shards with maxsize=."
            ) from error
        sent = ShardInfo(url, None, size, sha256, stored.mime)
        journal.add(place, sent)
        return sent

    def max_shard_bytes(self) -> int:
        """Largest blob that the server takes, in bytes. Asked once a client."""
        return self.client.blob_limit

    def check_public(self, publisher: str) -> None:
        """Refuse to publish under another account, whose records would not keep the blobs.

        Raises:
            OptionError: The publisher is another account than the blobs'.
        """
        if self.client.did != publisher:
            raise OptionError(
                f"The blobs would be {self.client.handle}'s and the record {publisher}'s: blobs "
                "last only as long as a record of their own account names them. Make the store "
                "with the same client. Nothing was published."
            )

    def check_size(self, name: str, size: int) -> None:
        """Refuse a shard that the server does not take.

        Raises:
            StoreError: It is too large; says what to do.
        """
        limit = self.max_shard_bytes()
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

    @contextmanager
    def _sink(self, prefix: str, copied: Sequence[ShardInfo] = ()) -> Iterator[_Sink]:
        self.client.check_session()
        for shard in copied:
            self.check_size(shard.url, shard.bytes or 0)
        with Scratch(Path(tempfile.gettempdir()), "atdata-blobs-") as scratch:
            yield _Sink(self, scratch.path)

    def record_type(self, sample_type: type, *, prefix: str) -> None:
        """Do nothing: a blob has no name, and so no file next to it."""

    def __repr__(self) -> str:
        return f"PDSBlobStore({self.client!r})"


class _Sink:
    """Takes finished shards of one run."""

    def __init__(self, store: PDSBlobStore, folder: Path) -> None:
        self._store = store
        self._folder = folder
        # `send` keeps the journal, for shards that are written as for those that are copied.
        self.place = None
        self._types: dict[str, str | None] = {}
        self._asked_for: set[str | None] = set()

    def scratch(self) -> Path:
        """A folder for unfinished shards."""
        return self._folder

    def find(self, name: str, shard: ShardInfo) -> str | None:
        """The URL of the blob with these bytes, whatever its name was."""
        found = self._store.find(shard)
        if found is None:
            self._asked_for.add(shard.sha256)
            return None
        return self._noted(found)

    def accept(self, name: str, file: Path, info: ShardInfo) -> str:
        """Send a finished shard, unless the server has it."""
        assert info.bytes is not None
        assert info.sha256 is not None
        if info.sha256 in self._asked_for:
            # Missing, unless another shard of this call had the same bytes.
            blob = noted_blob(self._store.client, info.sha256)
        else:
            blob = self._store.find(info)
        if blob is None:
            with file.open("rb") as stream:
                blob = self._store.send(stream, name, size=info.bytes, sha256=info.sha256)
        file.unlink()
        return self._noted(blob)

    def _noted(self, blob: ShardInfo) -> str:
        self._types[blob.url] = blob.mime
        return blob.url

    def finished(self, placed: ShardUrls) -> ShardUrls:
        """The placed shards with the types under which the server keeps them."""
        return ShardUrls(replace(shard, mime=self._types[shard.url]) for shard in placed.shards)

    def discard(self) -> None:
        """Nothing: the server drops blobs that no record references."""
