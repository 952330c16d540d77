"""Mirror: copies of the network's schemas and datasets in a local index, kept up to date.

An account has two ways in. A commit from a firehose is applied if the account's key signed it and
it follows the last one applied. Otherwise the account is listed: its own server, found through
its identity, lists all its records. Nothing else is trusted: a firehose only says where to look,
and an account is deleted only when its own server says so.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Final

from atdata._refs import ALT_DATASET_COLLECTION, DATASET_COLLECTION, is_did
from atdata.atmosphere.discover import COLLECTIONS, accounts
from atdata.atmosphere.manifest import followed
from atdata.atmosphere.mirror_store import MirrorCounts, MirrorStore
from atdata.atmosphere.parsing import read_entry
from atdata.atmosphere.schemas import SchemaRecord
from atdata.atproto.commits import changes_of
from atdata.atproto.dag import cid_of
from atdata.atproto.firehose import CursorError, Event, Firehose
from atdata.atproto.lexicon import validate
from atdata.atproto.reader import Reader, Record
from atdata.errors import (
    AtmosphereError,
    IdentityError,
    NotFoundError,
    RecordError,
    SchemaError,
    ShardError,
    SourceError,
    StoreError,
    UrlError,
)
from atdata.net.identity import signing_key, verified_handle
from atdata.system.forks import ForkLock

_SAVE_SECONDS: Final = 2.0
"""How often the cursor is saved during a stream of events; it is also saved at each pause."""
_FIRST_PAUSE_SECONDS: Final = 0.5
_MAX_PAUSE_SECONDS: Final = 60.0
"""Longest wait before reconnecting to a firehose."""
_MAX_RETRY_SECONDS: Final = 3600.0
"""Longest wait before an account that failed is listed again; the wait doubles each time."""
_MAX_UNREADABLE: Final = 10
"""Failures to read manifests of an account after which they are not tried again."""
_UNKNOWN: Final = ""
"""In place of an account's last commit: its server must be asked."""


class Mirror:
    """Keeps copies of what accounts publish in a local index.

    Several threads may use one mirror, each following another server.

    Args:
        store: ``LocalIndex(…).mirrored``.
        report: Receives a line about each failure; what failed is tried again.
    """

    def __init__(
        self, store: MirrorStore, *, report: Callable[[str], None] = lambda line: None
    ) -> None:
        self._store = store
        self._report = report
        self._reader = Reader()
        self._keys: dict[str, bytes] = {}
        self._revs: dict[str, str] = {}
        self._unsaved: set[str] = set()
        self._retries: dict[str, tuple[float, float]] = {}
        """Accounts to list again → when, and the wait after another failure."""
        self._unreadable: Counter[str] = Counter()
        self._lock = ForkLock()
        self.counts = MirrorCounts()

    def update(self, server: str, stop: threading.Event | None = None) -> None:
        """List every account of a server or relay once, and every account found earlier.

        Needs no firehose.

        Args:
            server: URL of a server or relay.
            stop: Ends the update early.

        Raises:
            AtmosphereError: The server cannot be reached or refuses.
        """
        asked: set[str] = set()
        for did in chain(accounts(server), self._store.accounts()):
            if stop is not None and stop.is_set():
                return
            if did not in asked:
                asked.add(did)
                with self._lock:
                    self._list_or_retry(did)

    def follow(self, server: str, stop: threading.Event) -> None:
        """Follow a server's firehose until ``stop`` is set, resuming at the saved cursor.

        Starts with an `update` the first time, and if the server no longer has the events that
        were missed. Reconnects when the connection drops.

        Args:
            server: URL of a server or relay.
            stop: Ends it within a few seconds.

        Raises:
            MissingExtraError: The extra ``mirror`` is not installed.
        """
        firehose, pause = Firehose(server), _FIRST_PAUSE_SECONDS
        while not stop.is_set():
            before = self.counts.events
            try:
                self._follow(firehose, stop)
            except CursorError as error:
                self._report(str(error))
                self._store.set_cursor(firehose.server, None)
            except (AtmosphereError, RecordError) as error:
                self._report(str(error))
            if self.counts.events > before:
                pause = _FIRST_PAUSE_SECONDS
            else:
                pause = min(2 * pause, _MAX_PAUSE_SECONDS)
            stop.wait(pause)

    def _follow(self, firehose: Firehose, stop: threading.Event) -> None:
        server = firehose.server
        cursor = self._store.cursor(server)
        if cursor is None:
            cursor = firehose.now()
            self.update(server, stop)
            if stop.is_set():
                return
            self._store.set_cursor(server, cursor)
        for did in self._store.accounts():
            if self._rev(did) == _UNKNOWN:
                self._retries.setdefault(did, (0.0, _FIRST_PAUSE_SECONDS))
        seen, due = cursor, time.monotonic() + _SAVE_SECONDS
        try:
            for event in firehose.events(cursor, stop):
                if event is not None:
                    with self._lock:
                        self._apply(event, server)
                    seen = seen if event.seq is None else event.seq
                if event is None or time.monotonic() >= due:
                    cursor = self._save(server, cursor, seen)
                    self._retry_due()
                    due = time.monotonic() + _SAVE_SECONDS
        finally:
            self._save(server, cursor, seen)

    def _save(self, server: str, saved: int, seen: int) -> int:
        with self._lock:
            while self._unsaved:
                did = self._unsaved.pop()
                known = self._store.account(did)
                if known is not None:
                    self._store.set_account(did, {**known, "rev": self._revs[did]})
        # Last: an event that is applied twice is ignored, but a skipped one would be lost.
        if seen != saved:
            self._store.set_cursor(server, seen)
        return seen

    def _apply(self, event: Event, server: str) -> None:
        self.counts.events += 1
        body = event.body
        if event.kind == "#info" and body.get("name") == "OutdatedCursor":
            self._report(f"{server} no longer has all missed events: listing every account.")
            self.update(server)
        did = body.get("repo" if event.kind == "#commit" else "did")
        if not isinstance(did, str) or not is_did(did):
            return
        known = self._rev(did)
        match event.kind:
            case "#commit":
                self._commit(did, known, body)
            case "#sync" if known is not None and body.get("rev") != known:
                self._list_or_retry(did)
            case "#account" if known is not None or body.get("active") is True:
                self._list_or_retry(did)
            case "#identity":
                self._keys.pop(did, None)
                if known is not None:
                    self._list_or_retry(did)

    def _commit(self, did: str, known: str | None, body: Mapping[str, Any]) -> None:
        ops, rev = body.get("ops"), body.get("rev")
        if not isinstance(ops, list) or not isinstance(rev, str):
            raise AtmosphereError("A firehose sent a commit without ops or rev.")
        ours = any(_collection(op) in COLLECTIONS for op in ops)
        if known is None:
            # The account is new here, and may have published before this commit.
            if ours or body.get("tooBig"):
                self._list_or_retry(did)
            return
        if rev <= known:
            return
        if body.get("tooBig") or body.get("since") != known:
            self._list_or_retry(did)
            return
        # Also a commit without a schema or dataset: the next commit follows it.
        before = self._unreadable[did]
        if not self._apply_signed(did, body):
            return
        self._revs[did] = self._rev_to_keep(did, rev, before)
        self._unsaved.add(did)

    def _apply_signed(self, did: str, body: Mapping[str, Any]) -> bool:
        """Apply the changes of a commit if the account signed it; else list the account."""
        for key in (self._keys.get(did), None):
            try:
                key = key or signing_key(did)
                changes = changes_of(body, key, COLLECTIONS)
            except RecordError as error:
                reason: Exception = error
                continue
            except (IdentityError, AtmosphereError) as error:
                reason = error
                break
            self._keys[did] = key
            owner = str((self._store.account(did) or {}).get("owner", did))
            for change in changes:
                if change.value is None or change.cid is None:
                    self._remove(str(change.uri))
                else:
                    self._put(Record(change.uri, change.cid, change.value), owner)
            return True
        self.counts.refused += 1
        self._report(str(reason))
        self._list_or_retry(did)
        return False

    def _list_or_retry(self, did: str) -> None:
        """List an account; if that fails, schedule another try."""
        try:
            self._list(did)
        except (AtmosphereError, RecordError) as error:
            self._report(f"{did} is tried again later: {error}")
            self._retry_later(did)
            # No commit follows an unknown one, so the next commit lists the account too.
            known = self._store.account(did) or {"owner": did}
            self._store.set_account(did, {**known, "rev": _UNKNOWN})
            self._revs[did] = _UNKNOWN
            self._unsaved.discard(did)
        else:
            if self._rev(did) != _UNKNOWN:
                self._retries.pop(did, None)

    def _list(self, did: str) -> None:
        # Before listing: a record written meanwhile is listed, and its commit comes again.
        status = self._reader.status(did)
        if not status.active:
            self._drop(did)
            return
        owner = verified_handle(did) or did
        kept = set(self._store.uris(did))
        known = self._store.account(did)
        if known is not None and known.get("owner") != owner:
            self._store.rename(did, owner)
        elif known is not None and self._rev(did) == status.rev:
            return
        self.counts.listed += 1
        self._reader.forget(did)
        found: set[str] = set()
        before = self._unreadable[did]
        try:
            for collection in COLLECTIONS:
                for record in self._reader.list_records(did, collection):
                    found.add(str(record.uri))
                    self._put(record, owner, listed=True)
        except IdentityError:
            self._drop(did)
            return
        for uri in kept - found:
            self._remove(uri)
        if known is not None or found:
            rev = self._rev_to_keep(did, status.rev or _UNKNOWN, before)
            self._store.set_account(did, {"owner": owner, "rev": rev})
            self._revs[did] = rev
            self._unsaved.discard(did)

    def _put(self, record: Record, owner: str, *, listed: bool = False) -> None:
        uri = str(record.uri)
        try:
            if listed and cid_of(record.value) != record.cid:
                raise RecordError(f"{uri}: the server lists it with the CID of another record.")
            if record.value.get("$type") != record.uri.collection:
                raise RecordError(f"{uri}: $.$type: expected {record.uri.collection!r}.")
            if record.uri.collection in (DATASET_COLLECTION, ALT_DATASET_COLLECTION):
                entry = followed(read_entry(record))
                self._store.put_dataset(uri, entry, cid=record.cid, owner=owner)
            else:
                validate(record.value)
                self._store.put_schema(uri, SchemaRecord(record))
        except (
            RecordError,
            SchemaError,
            UrlError,
            ShardError,
            SourceError,
            StoreError,  # a bucket that is closed to us, or gone
            NotFoundError,
        ) as error:
            if isinstance(error, (SourceError, StoreError, NotFoundError)):
                self._unreadable[record.uri.authority] += 1
            self.counts.broken += 1
            self._report(str(error))
            self._store.remove(uri)
        else:
            self.counts.put += 1

    def _remove(self, uri: str) -> None:
        self._store.remove(uri)
        self.counts.removed += 1

    def _drop(self, did: str) -> None:
        """Forget an account and all that it published."""
        for uri in self._store.uris(did):
            self._remove(uri)
        if self._rev(did) is not None:
            self.counts.dropped += 1
        self._store.set_account(did, None)
        self._revs.pop(did, None)
        self._keys.pop(did, None)
        self._unsaved.discard(did)

    def _rev_to_keep(self, did: str, rev: str, before: int) -> str:
        """The commit to record as applied: none if a manifest could not be read this time."""
        if before == self._unreadable[did] or self._unreadable[did] > _MAX_UNREADABLE:
            return rev
        self._retry_later(did)
        return _UNKNOWN

    def _retry_later(self, did: str) -> None:
        _, wait = self._retries.get(did, (0.0, _FIRST_PAUSE_SECONDS))
        self._retries[did] = (time.monotonic() + wait, min(2 * wait, _MAX_RETRY_SECONDS))

    def _retry_due(self) -> None:
        for did, (when, _) in list(self._retries.items()):
            if when <= time.monotonic():
                with self._lock:
                    self._list_or_retry(did)

    def _rev(self, did: str) -> str | None:
        """The newest commit that was applied; None for an unknown account."""
        if did not in self._revs:
            known = self._store.account(did)
            if known is None:
                return None
            self._revs[did] = str(known.get("rev", _UNKNOWN))
        return self._revs[did]


def _collection(op: object) -> str:
    path = op.get("path") if isinstance(op, Mapping) else None
    return path.partition("/")[0] if isinstance(path, str) else ""
