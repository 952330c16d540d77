"""Reads any account's records from the account's own server, without a login."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from atdata._limits import limits
from atdata._refs import AtUri, BlobRef, account_of, is_did, parse_at_uri
from atdata._secrets import redacted_repr
from atdata.atproto.pages import rows
from atdata.atproto.xrpc import XrpcServer
from atdata.errors import (
    IdentityError,
    NotFoundError,
    RecordError,
    RefError,
    XrpcError,
)
from atdata.net.headers import whole_number
from atdata.net.identity import network_policy, resolve_handle, server_of

_PAGE: Final = 100
_GONE: Final = frozenset(
    {"InvalidRequest", "RepoNotFound", "RepoDeactivated", "RepoTakendown", "RepoSuspended"}
)
"""How servers refuse an account that is not active, or does not exist."""
_SERVER_SECONDS: Final = 60.0
"""How long the server of an account is remembered; accounts move."""


@redacted_repr
@dataclass(frozen=True)
class Record:
    """A record as it is on the network."""

    uri: AtUri
    cid: str
    value: Mapping[str, Any]


@redacted_repr
@dataclass(frozen=True)
class AccountStatus:
    """Whether an account's data may be read and shown."""

    active: bool
    reason: str
    """If it is not active: ``deactivated``, ``takendown``, ``deleted``, …"""
    rev: str | None
    """The newest commit of its repository, if the server names it."""


@redacted_repr
@dataclass(frozen=True)
class StoredBlob:
    """A blob as its server has it: references must repeat these values."""

    cid: str
    size: int | None
    """In bytes; None if the server does not say."""
    mime: str | None
    """The MIME type under which the server keeps it, not always the one it was sent with."""


class Reader:
    """Reads records of any account. Thread-safe."""

    def __init__(self) -> None:
        self._servers: dict[str, tuple[float, XrpcServer]] = {}

    def _server_for(self, account: str) -> XrpcServer:
        known = self._servers.get(account)
        if known is None or known[0] < time.monotonic():
            server = XrpcServer(server_of(account), network_policy())
            known = self._servers[account] = (time.monotonic() + _SERVER_SECONDS, server)
        return known[1]

    def did_of(self, account: str) -> str:
        """DID of an account given by DID or handle, with or without ``@``.

        Raises:
            IdentityError: It does not resolve.
        """
        name = account_of(account)
        return name if is_did(name) else resolve_handle(name)

    def get_record(self, uri: str | AtUri) -> Record:
        """A record, from the server of the account that it belongs to.

        Raises:
            RefError: Not an AT URI.
            NotFoundError: There is no such record.
            IdentityError: The account is deactivated, deleted or taken down.
            AtmosphereError: The server cannot be reached or refuses.
        """
        asked = uri if isinstance(uri, AtUri) else parse_at_uri(uri)
        at = AtUri(self.did_of(asked.authority), asked.collection, asked.rkey)
        params = {"repo": at.authority, "collection": at.collection, "rkey": at.rkey}
        try:
            answer = self._ask(at.authority, "com.atproto.repo.getRecord", params)
        except XrpcError as error:
            if error.code != "RecordNotFound":
                raise
            raise NotFoundError(f"{at}: there is no such record.") from error
        record = _record(answer)
        if record.uri != at:
            raise RecordError(f"{at}: the server answered with {record.uri}.")
        return record

    def list_records(
        self, account: str, collection: str, *, before: str | None = None, page: int = _PAGE
    ) -> Iterator[Record]:
        """Every record of a collection of an account, in descending order of record keys.

        Args:
            account: DID or handle.
            collection: Its NSID.
            before: Only records whose keys sort before this one, on servers whose cursors are keys,
                such as the reference server; None: all.
            page: Records per request, at most 100.

        Raises:
            IdentityError: The account is deactivated, deleted or taken down.
            RecordError: The server lists a record of another account or collection, or no record.
            AtmosphereError: The server cannot be reached or refuses, or its listing has no end.
        """
        did = self.did_of(account)
        params: dict[str, str | int] = {"repo": did, "collection": collection, "limit": page}
        if before is not None:
            params["cursor"] = before
        name = f"The records {collection} of {did}"
        for row in rows(
            lambda asked: self._ask(did, "com.atproto.repo.listRecords", asked),
            params,
            "records",
            most=limits.records,
            name=name,
        ):
            record = _record(row)
            # Otherwise a server could speak for accounts that it does not have.
            if (record.uri.authority, record.uri.collection) != (did, collection):
                raise RecordError(f"{name}: the server lists {record.uri} among them.")
            yield record

    def forget(self, did: str) -> None:
        """Look up the account's server again when it is next used."""
        self._servers.pop(did, None)

    def status(self, did: str) -> AccountStatus:
        """Whether an account may be read, according to its current server.

        Raises:
            AtmosphereError: Unknown: the directory or the server does not answer.
        """
        try:
            server = XrpcServer(server_of(did), network_policy())
        except IdentityError:
            return AccountStatus(False, "deleted", None)
        try:
            answer = server.query("com.atproto.sync.getRepoStatus", {"did": did})
        except XrpcError as error:
            if error.code != "RepoNotFound":
                raise
            return AccountStatus(False, "deleted", None)
        reason, rev = answer.get("status"), answer.get("rev")
        return AccountStatus(
            answer.get("active") is True,
            f"{reason:.40}" if isinstance(reason, str) else "inactive",
            rev if isinstance(rev, str) else None,
        )

    def _ask(self, did: str, method: str, params: Mapping[str, str | int]) -> dict[str, Any]:
        """Ask an account's server; if it refuses, the server that the account has moved to."""
        known = did in self._servers
        server = self._server_for(did)
        try:
            return server.query(method, params)
        except XrpcError as error:
            self._servers.pop(did, None)
            moved = self._server_for(did) if known else server
            if moved.url != server.url:
                return moved.query(method, params)
            if error.code in _GONE and not (there := self.status(did)).active:
                raise IdentityError(
                    f"The account {did} must not be read: it is {there.reason} ({server.url})."
                ) from error
            raise

    def stored_blob(self, ref: BlobRef) -> StoredBlob:
        """Size and type of a blob that a record references, from its server, without reading it.

        Raises:
            XrpcError: There is no such blob.
        """
        params = {"did": ref.did, "cid": ref.cid}
        headers = self._server_for(ref.did).head("com.atproto.sync.getBlob", params)
        size = whole_number(headers.get("Content-Length"))
        return StoredBlob(ref.cid, size, headers.get("Content-Type") or None)


def find_record(reader: Reader, uri: str | AtUri) -> Record | None:
    """As `Reader.get_record`; None where there is no such record."""
    try:
        return reader.get_record(uri)
    except NotFoundError:
        return None


def _record(row: object) -> Record:
    try:
        uri, cid, value = row["uri"], row["cid"], row["value"]  # type: ignore[index]
        at = parse_at_uri(uri)
    except (KeyError, TypeError, RefError):
        raise RecordError("The server sent a record without uri, cid or value.") from None
    if not isinstance(value, dict) or not isinstance(cid, str):
        raise RecordError(f"{at}: expected a record, found {type(value).__name__}.")
    return Record(at, cid, value)
