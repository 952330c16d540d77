"""One account's client: its session, and writing to its repository."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import IO, Any, Final, TypeVar

from atdata._digest import RAW, cid_sha256
from atdata._refs import AtUri, account_of, is_did, is_email, is_handle, parse_at_uri, unseen_in
from atdata._secrets import guarded, redacted
from atdata.atproto.data_model import check_record
from atdata.atproto.lexicon import validate
from atdata.atproto.reader import Reader, Record, StoredBlob
from atdata.atproto.session import Session
from atdata.atproto.xrpc import Body, XrpcServer, server_url
from atdata.errors import (
    AtmosphereError,
    AuthenticationError,
    IdentityError,
    RefError,
    SessionExpiredError,
    XrpcError,
)
from atdata.net.handles import PDS_URL
from atdata.net.identity import network_policy, resolve_handle, server_of
from atdata.system.forks import ForkLock

T = TypeVar("T")

_DEFAULT_BLOB_LIMIT: Final = 5 * 2**20
_STALE: Final = frozenset({"ExpiredToken", "InvalidToken", "AuthMissing", "AuthenticationRequired"})


class AtmosphereClient(Reader):
    """Reads records of any account, and writes those of the account that is logged in.

    Thread-safe. Reading needs no login.

    Args:
        server: URL of the server to log in to. By default ``ATDATA_PDS_URL``, and if the account
            is not there, the account's own server, found from its handle.
        patience: Seconds that one call may wait, in all, when the server limits the rate of
            requests and says for how long. Servers count requests over five minutes, and writes
            over an hour.
    """

    def __init__(self, server: str | None = None, *, patience: float = 330.0) -> None:
        super().__init__()
        self._patience = patience
        chosen = server or os.environ.get(PDS_URL) or ""
        self._chosen = server_url(chosen) if chosen else ""
        self._given = server is not None
        self._session: Session | None = None
        self._lock = ForkLock()
        self._limits: dict[str, int] = {}

    def login(self, handle: str, password: str) -> None:
        """Log in with a password or an app password.

        Servers allow few logins (30 in 5 minutes): save `session_string` and restore it.

        Args:
            handle: Handle or DID; with ``server``, also the e-mail address.
            password: Not kept.

        Raises:
            AuthenticationError: The server refuses the handle or the password.
            IdentityError: The handle does not resolve, or is malformed; then nothing is sent, and
                the error does not repeat it, as it may be a password.
            AtmosphereError: The server cannot be reached.
        """
        name = account_of(handle)
        if not name or not password:
            raise AuthenticationError("Logging in needs a handle and a password; one is empty.")
        check_login_name(name)
        server = self._chosen or _own_server(name)
        try:
            self._session = self._log_in(server, name, password)
        except AuthenticationError:
            # A network of your own may have several servers; the environment names one of them.
            own = None if self._given else _known_server(name)
            if own is None or own == server:
                raise
            self._session = self._log_in(own, name, password)

    def _log_in(self, server: str, name: str, password: str) -> Session:
        policy = None if server == self._chosen else network_policy()
        body = Body.of_json({"identifier": name, "password": password})
        # A server may echo what it was sent.
        with guarded(password):
            try:
                home = XrpcServer(server, policy)
                answer = home.procedure("com.atproto.server.createSession", body)
            except XrpcError as error:
                raise self._login_error(error, name, server) from error
            return Session.from_answer(answer, server)

    def _login_error(self, error: XrpcError, name: str, server: str) -> Exception:
        if error.code == "AuthFactorTokenRequired":
            return AuthenticationError(
                f"{server} asks {name} for a second factor. Make an app password in the "
                "account's settings and log in with it."
            )
        if error.status == 401:
            where = f" {PDS_URL} names this server; is the account there?" if self._chosen else ""
            return AuthenticationError(
                f"{server} refused to log in {name}: wrong handle or password.{where}"
            )
        return error

    def login_with_session(self, session_string: str) -> None:
        """Restore a session saved from `session_string`. Nothing is sent until it is used.

        Raises:
            AuthenticationError: Not a session string.
        """
        self._session = Session.from_string(session_string)

    @property
    def session_string(self) -> str:
        """The session as one line to save. It has the tokens: keep it as secret as a password.

        It changes when the session is refreshed; an older one works for a few more hours.

        Raises:
            AuthenticationError: Not logged in.
        """
        return self._required().to_string()

    @property
    def is_logged_in(self) -> bool:
        """Whether there is a session; it may have expired on the server."""
        return self._session is not None

    @property
    def did(self) -> str:
        """DID of the account.

        Raises:
            AuthenticationError: Not logged in.
        """
        return self._required().did

    @property
    def handle(self) -> str:
        """Handle of the account, as of the last login or refresh.

        Raises:
            AuthenticationError: Not logged in.
        """
        return self._required().handle

    @property
    def server(self) -> str:
        """URL of the server logged in to.

        Raises:
            AuthenticationError: Not logged in.
        """
        return self._required().server

    def check_session(self) -> None:
        """Ask the server whether the session works, before long work begins.

        Raises:
            AuthenticationError: Not logged in.
            SessionExpiredError: Expired, and cannot be refreshed.
        """
        method = "com.atproto.server.getSession"
        answer = self._authorized(lambda home, token: home.query(method, token=token))
        if answer.get("active") is False:
            raise AuthenticationError(
                f"The account {self.handle} is not active ({answer.get('status', 'no reason')}): "
                "nothing can be published with it."
            )

    def refresh(self) -> None:
        """Exchange the tokens for new ones.

        Raises:
            SessionExpiredError: The server does not take them any more.
        """
        self._refreshed(self._required())

    def _required(self) -> Session:
        session = self._session
        if session is None:
            raise AuthenticationError(
                "Not logged in. Call client.login(handle, password) first, or "
                "client.login_with_session(saved)."
            )
        return session

    def _refreshed(self, old: Session) -> Session:
        with self._lock:
            current = self._required()
            if current.access != old.access:
                return current  # another thread was faster
            home = XrpcServer(old.server)
            try:
                answer = home.procedure(
                    "com.atproto.server.refreshSession", None, token=old.refresh, repeatable=True
                )
            except XrpcError as error:
                if error.status not in (400, 401):
                    raise
                raise SessionExpiredError(
                    f"The session of {old.handle} has expired and {old.server} does not renew it "
                    f"({error.code or error.status}). Call client.login(handle, password) again."
                ) from error
            self._session = Session.from_answer(answer, old.server)
            return self._session

    def _authorized(self, call: Callable[[XrpcServer, str], T]) -> T:
        session = self._required()
        if not session.is_fresh:
            session = self._refreshed(session)
        home = XrpcServer(session.server, patience=self._patience)
        try:
            return call(home, session.access)
        except XrpcError as error:
            # The server's clock decides, and the token may be revoked.
            if error.status != 401 and error.code not in _STALE:
                raise
        session = self._refreshed(session)
        return call(home, session.access)

    def _change(self, method: str, body: Body) -> dict[str, Any]:
        """Call a procedure that is idempotent."""
        return self._authorized(
            lambda home, token: home.procedure(method, body, token=token, repeatable=True)
        )

    def _server_for(self, account: str) -> XrpcServer:
        session = self._session
        if session is not None and account == session.did:
            return XrpcServer(session.server, patience=self._patience)
        return super()._server_for(account)

    def put_record(
        self, collection: str, rkey: str, record: Mapping[str, Any], *, replaces: str | None
    ) -> Record:
        """Write a record of the account, unless another writer has changed it meanwhile.

        Idempotent: the server accepts an identical record again.

        Args:
            collection: Its NSID.
            rkey: Its key.
            record: In the data model's JSON form; checked against it and, if it is one of ours,
                against its lexicon before it is sent.
            replaces: CID of the record that it replaces; None: there must be none.

        Raises:
            RecordError: The record does not fit the data model or its lexicon.
            XrpcError: ``InvalidSwap`` if there is another record; ``BlobNotFound``.
        """
        check_record(record)
        validate(record)
        at = AtUri(self.did, collection, rkey)
        body = Body.of_json(
            {
                "repo": self.did,
                "collection": collection,
                "rkey": rkey,
                "record": record,
                "swapRecord": replaces,
            }
        )
        answer = self._change("com.atproto.repo.putRecord", body)
        if answer.get("uri") != str(at) or not isinstance(answer.get("cid"), str):
            raise AtmosphereError(f"{self.server} did not confirm that it wrote {at}.")
        return Record(at, answer["cid"], record)

    def delete_record(self, uri: str | AtUri) -> None:
        """Delete a record of the account; does nothing if there is none."""
        at = uri if isinstance(uri, AtUri) else parse_at_uri(uri)
        body = Body.of_json({"repo": self.did, "collection": at.collection, "rkey": at.rkey})
        if at.authority != self.did:
            raise RefError(f"{at} is not a record of {self.did}, who is logged in.")
        self._change("com.atproto.repo.deleteRecord", body)

    @property
    def blob_limit(self) -> int:
        """Largest blob that the server accepts, in bytes; 5 MiB if it does not say."""
        server = self.server
        if server not in self._limits:
            answer = XrpcServer(server).query("com.atproto.server.describeServer")
            limit = answer.get("blobUploadLimit")
            known = isinstance(limit, int) and not isinstance(limit, bool) and limit > 0
            self._limits[server] = int(limit) if known and limit else _DEFAULT_BLOB_LIMIT
        return self._limits[server]

    def upload_blob(
        self, stream: IO[bytes], *, size: int, sha256: str, content_type: str
    ) -> StoredBlob:
        """Send a blob. The server deletes it unless a record references it soon.

        Args:
            stream: Seekable; sent from its start, and again if the connection breaks.
            size: In bytes.
            sha256: Of the bytes, in lower-case hex; the server's CID must match.
            content_type: Its MIME type, unless the server detects another in the first bytes.

        Returns:
            The values that references to it must repeat.

        Raises:
            XrpcError: Refused, with status 413 for a blob that is too large.
            AtmosphereError: The server stored other bytes.
        """
        answer = self._change("com.atproto.repo.uploadBlob", Body(stream, size, content_type))
        try:
            blob = answer["blob"]
            cid, stored = str(blob["ref"]["$link"]), blob["size"]
            same = stored == size and cid_sha256(cid, codec=RAW) == sha256
        except (KeyError, TypeError, RefError):
            raise AtmosphereError(f"{self.server} did not answer an upload with a blob.") from None
        if not same:
            raise AtmosphereError(
                f"{self.server} stored {cid} of {stored} bytes: not the {size} bytes sent."
            )
        kind = blob.get("mimeType")
        return StoredBlob(cid, size, kind if isinstance(kind, str) and kind else content_type)

    def __repr__(self) -> str:
        if self._session is None:
            chosen = repr(self._chosen) if self._chosen else ""
            return redacted(f"AtmosphereClient({chosen})")
        return redacted(f"<AtmosphereClient {self._session.handle} at {self._session.server}>")


def put_if_unchanged(
    client: AtmosphereClient, at: AtUri, record: Mapping[str, Any], *, replaces: str | None
) -> Record | None:
    """As `AtmosphereClient.put_record`; None where another writer was faster."""
    try:
        return client.put_record(at.collection, at.rkey, record, replaces=replaces)
    except XrpcError as error:
        if error.code != "InvalidSwap":
            raise
        return None


def _own_server(account: str) -> str:
    return server_of(account if is_did(account) else resolve_handle(account))


def _known_server(account: str) -> str | None:
    try:
        return _own_server(account)
    except AtmosphereError:
        return None


def check_login_name(name: str) -> None:
    """Refuse a name that cannot be an account's.

    Raises:
        IdentityError: It is not a handle, DID or e-mail address. The error does not repeat it.
    """
    if not (is_handle(name) or is_did(name) or is_email(name)):
        raise IdentityError(
            "The handle is not valid, and was not sent: expected a handle such as "
            "alice.example.com, a DID or an e-mail address. It is not repeated here, as it may be "
            f"a password: login takes the handle first, then the password.{unseen_in(name)}"
        )
