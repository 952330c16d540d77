"""A mirror: copies of the schemas and datasets of the network's accounts, kept up to date.

What is believed: a commit that the account's key has signed, and what the account's own server
lists, found anew through its identity. A firehose only says where to look: an account is gone
when its server says so, not when a stream does.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Final

from atdata._refs import DATASET_COLLECTION, NEWER_DATASET_COLLECTION, is_did
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

_SAVED: Final = 2.0
"""Seconds after which the cursor is saved; it is also saved when nothing happens."""
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 60.0
"""Seconds before a firehose that ended is asked again."""
_LONGEST_REST: Final = 3600.0
"""Seconds before an account that failed is asked again, at most; doubled each time."""
_MOST_UNREAD: Final = 10
"""Failures to read an account's manifests after which it is asked no more for them."""
_UNKNOWN: Final = ""
"""In place of the newest commit: the account's server has yet to be asked."""


class Mirror:
    """Keeps copies of what accounts publish, in a local index.

    Safe to use from several threads, each following another server.

    Args:
        store: ``LocalIndex(…).mirrored``.
        report: Told of what failed and is tried again.
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
        self._again: dict[str, tuple[float, float]] = {}
        """Accounts to ask again → when, and how long they will rest after another failure."""
        self._unread: Counter[str] = Counter()
        self._lock = ForkLock()
        self.counts = MirrorCounts()

    def update(self, server: str, stop: threading.Event | None = None) -> None:
        """Bring everything up to what a server's accounts, or a relay's, list now.

        Needs no firehose. Accounts that were found before are asked again, wherever they are.

        Args:
            server: URL of a server or relay.
            stop: Ends it early.

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
                    self._renew(did)

    def follow(self, server: str, stop: threading.Event) -> None:
        """Follow a server's firehose until ``stop`` is set, from where it was left.

        The first time, and where the server does not keep what has been missed, everything is
        brought up first as by `update`. A connection that ends is made again.

        Args:
            server: URL of a server or relay.
            stop: Ends it, within a few seconds.

        Raises:
            MissingExtraError: The extra ``mirror`` is not installed.
        """
        firehose, pause = Firehose(server), _FIRST_PAUSE
        while not stop.is_set():
            before = self.counts.events
            try:
                self._follow(firehose, stop)
            except CursorError as error:
                self._report(str(error))
                self._store.set_cursor(firehose.server, None)
            except (AtmosphereError, RecordError) as error:
                self._report(str(error))
            pause = _FIRST_PAUSE if self.counts.events > before else min(2 * pause, _LONGEST_PAUSE)
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
                self._again.setdefault(did, (0.0, _FIRST_PAUSE))
        seen, due = cursor, time.monotonic() + _SAVED
        try:
            for event in firehose.events(cursor, stop):
                if event is not None:
                    with self._lock:
                        self._apply(event, server)
                    seen = seen if event.seq is None else event.seq
                if event is None or time.monotonic() >= due:
                    cursor = self._save(server, cursor, seen)
                    self._try_again()
                    due = time.monotonic() + _SAVED
        finally:
            self._save(server, cursor, seen)

    def _save(self, server: str, saved: int, seen: int) -> int:
        with self._lock:
            while self._unsaved:
                did = self._unsaved.pop()
                known = self._store.account(did)
                if known is not None:
                    self._store.set_account(did, {**known, "rev": self._revs[did]})
        # After the accounts: what is applied twice is passed over, what is not applied is lost.
        if seen != saved:
            self._store.set_cursor(server, seen)
        return seen

    def _apply(self, event: Event, server: str) -> None:
        self.counts.events += 1
        body = event.body
        if event.kind == "#info" and body.get("name") == "OutdatedCursor":
            self._report(f"{server} does not keep all that was missed: asking every account.")
            self.update(server)
        did = body.get("repo" if event.kind == "#commit" else "did")
        if not isinstance(did, str) or not is_did(did):
            return
        known = self._rev(did)
        match event.kind:
            case "#commit":
                self._commit(did, known, body)
            case "#sync" if known is not None and body.get("rev") != known:
                self._renew(did)
            case "#account" if known is not None or body.get("active") is True:
                self._renew(did)
            case "#identity":
                self._keys.pop(did, None)
                if known is not None:
                    self._renew(did)

    def _commit(self, did: str, known: str | None, body: Mapping[str, Any]) -> None:
        ops, rev = body.get("ops"), body.get("rev")
        if not isinstance(ops, list) or not isinstance(rev, str):
            raise AtmosphereError("A firehose sent a commit without ops or rev.")
        ours = any(_collection(op) in COLLECTIONS for op in ops)
        if known is None:
            # What came before this commit nobody has told.
            if ours or body.get("tooBig"):
                self._renew(did)
            return
        if rev <= known:
            return
        if body.get("tooBig") or body.get("since") != known:
            self._renew(did)
            return
        # One without a record of ours as well: it says which commit the next one follows.
        before = self._unread[did]
        if not self._take(did, body):
            return
        self._revs[did] = self._settled(did, rev, before)
        self._unsaved.add(did)

    def _take(self, did: str, body: Mapping[str, Any]) -> bool:
        """Apply the changes of a commit, if it is the account's; else ask its server."""
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
        self._renew(did)
        return False

    def _renew(self, did: str) -> None:
        """Bring an account up to what its server lists; try again later where that fails."""
        try:
            self._list(did)
        except (AtmosphereError, RecordError) as error:
            self._report(f"{did} is asked again later: {error}")
            self._ask_again(did)
            # No commit follows this one, so that the next asks the server as well.
            known = self._store.account(did) or {"owner": did}
            self._store.set_account(did, {**known, "rev": _UNKNOWN})
            self._revs[did] = _UNKNOWN
            self._unsaved.discard(did)
        else:
            if self._rev(did) != _UNKNOWN:
                self._again.pop(did, None)

    def _list(self, did: str) -> None:
        # The revision first: what is written meanwhile is listed, and told once more.
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
        before = self._unread[did]
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
            rev = self._settled(did, status.rev or _UNKNOWN, before)
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
            if record.uri.collection in (DATASET_COLLECTION, NEWER_DATASET_COLLECTION):
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
                self._unread[record.uri.authority] += 1
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

    def _settled(self, did: str, rev: str, unread: int) -> str:
        """What to keep as the newest commit: none where a manifest could not be had this time."""
        if unread == self._unread[did] or self._unread[did] > _MOST_UNREAD:
            return rev
        self._ask_again(did)
        return _UNKNOWN

    def _ask_again(self, did: str) -> None:
        _, rest = self._again.get(did, (0.0, _FIRST_PAUSE))
        self._again[did] = (time.monotonic() + rest, min(2 * rest, _LONGEST_REST))

    def _try_again(self) -> None:
        for did, (when, _) in list(self._again.items()):
            if when <= time.monotonic():
                with self._lock:
                    self._renew(did)

    def _rev(self, did: str) -> str | None:
        """The newest commit that was applied; None for an account that nothing is kept of."""
        if did not in self._revs:
            known = self._store.account(did)
            if known is None:
                return None
            self._revs[did] = str(known.get("rev", _UNKNOWN))
        return self._revs[did]


def _collection(op: object) -> str:
    path = op.get("path") if isinstance(op, Mapping) else None
    return path.partition("/")[0] if isinstance(path, str) else ""
