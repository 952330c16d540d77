"""An index in Redis: ``redis://host:port/0``, ``rediss://…``, each with ``?prefix=name:``.

=========================  ========================================================
key, below the prefix      value
=========================  ========================================================
``format``                 version of this layout
``schemas``                hash: schema key → document
``schema-keys``            sorted set of schema keys, in order
``dataset:{name}``         list of revisions, oldest first: ``"{cid} {document}"``
``names``                  sorted set of names, in order
``cid:{cid}``              sorted set of ``"{revision} {name}"``, last added last
``added``                  counter that gives that order
``term-pages``             hash: the pages for searching, as `_terms` says
``term-order``             sorted set of the keys of pages that are read in order
``term-version``           counter of what was written to the pages
``unindexed``              sorted set of names that an older version wrote, without pages
``notes``                  hash: key → value
``note-keys``              sorted set of the keys of notes, in order
``done:{token}``           the answer to a write, for ten minutes
=========================  ========================================================
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qsl, urlencode

from atdata._limits import limits
from atdata._registry import require
from atdata._warnings import warn
from atdata.errors import AtdataWarning, BackendError, UrlError
from atdata.local.backends import _redis_scripts as lua
from atdata.local.backends._terms import META, Change, Pages, Terms, plan
from atdata.local.backends.base import FORMAT, Backend, EntryRow, SchemaRow, address_of, too_new
from atdata.net.logs import hide_in_logs

if TYPE_CHECKING:
    from redis import Redis

T = TypeVar("T")

DEFAULT_PREFIX: Final = "atdata:"
_CONNECT_SECONDS: Final = 10
_ANSWER_SECONDS: Final = 30
"""How long a server may be silent; some versions of redis-py wait for ever."""
_KEYS_AT_ONCE: Final = 200
"""Pages of one command: other clients wait no longer than for these."""
_AS_BYTES: Final[dict[str, Any]] = {"NEVER_DECODE": []}
"""The option of redis-py's commands whose answers are bytes, whatever the client decodes."""


class RedisBackend(Backend):
    """An index in one database of a Redis server, version 5 or newer, not a cluster.

    Args:
        client: A client of that database. It stays the caller's, and is not closed.
        prefix: What all keys begin with; several indexes may share a database.
        address: Where it is, fit to be shown; None: asked of the client.
    """

    def __init__(
        self, client: Redis, *, prefix: str = DEFAULT_PREFIX, address: str | None = None
    ) -> None:
        redis = require("redis", purpose="Indexes in Redis")
        hide_in_logs("redis")
        self._error = redis.RedisError
        self._no_script = redis.exceptions.NoScriptError
        self._pages = _RedisPages(self)
        self._client = client
        self._owned = False
        self._prefix = prefix
        suffix = f"?{urlencode({'prefix': prefix})}" if prefix != DEFAULT_PREFIX else ""
        self.address = (address or _address_of_client(client)) + suffix
        self._scripts = {name: client.register_script(text) for name, text in lua.SCRIPTS.items()}
        self._set_up()

    @classmethod
    def open(cls, url: str) -> RedisBackend:
        """Open ``redis://``, ``rediss://`` or ``unix://``.

        The option ``prefix`` is ours, the others are redis-py's.
        """
        redis = require("redis", purpose="Indexes in Redis")
        base, _, query = url.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        prefix = options.pop("prefix", DEFAULT_PREFIX)
        options.setdefault("socket_connect_timeout", str(_CONNECT_SECONDS))
        options.setdefault("socket_timeout", str(_ANSWER_SECONDS))
        try:
            client = redis.Redis.from_url(f"{base}?{urlencode(options)}")
            client.connection_pool.make_connection()
        except (ValueError, TypeError, AttributeError):
            # The message may hold the URL, password included.
            raise UrlError(
                f"{address_of(url)} is not a Redis URL. Write redis://user:password@host:port/0, "
                "special characters of the password as %XX, or unix:///path/redis.sock?db=0."
            ) from None
        try:
            backend = cls(client, prefix=prefix, address=address_of(url))
        except BaseException:
            client.close()
            raise
        backend._owned = True
        return backend

    def add_schema(self, row: SchemaRow) -> SchemaRow:
        return SchemaRow(row.key, self._kept("schemas", "schema-keys", row.key, row.document))

    def schema(self, key: str) -> SchemaRow | None:
        (document,) = self._ask(("HGET", f"{self._prefix}schemas", key))
        return None if document is None else SchemaRow(key, _text(document))

    def schemas(self, after: str, before: str | None, limit: int) -> list[SchemaRow]:
        end = "+" if before is None else f"({before}"
        pairs = self._range("schemas", "schema-keys", f"({after}", end, limit)
        return [SchemaRow(*pair) for pair in pairs]

    def add_entry(self, row: EntryRow, terms: Terms | None = None) -> bool:
        values = (row.name, row.revision, row.cid, row.document)
        return bool(self._write("ADD_ENTRY", [(row.name, terms or {})], *values))

    def replace(self, row: EntryRow, terms: Terms | None = None) -> None:
        values = (row.name, row.revision, row.cid, row.document)
        self._write("REPLACE", [(row.name, terms or {})], *values)

    def newest(self, name: str) -> EntryRow | None:
        return next(_rows(self._run("NEWEST", name)), None)

    def newest_of(self, names: Sequence[str]) -> list[EntryRow]:
        return [row for name in names if (row := self.newest(name)) is not None]

    def entry(self, cid: str) -> EntryRow | None:
        return next(_rows(self._run("ENTRY", cid)), None)

    def revisions(self, name: str, after: int, limit: int) -> list[EntryRow]:
        key = f"{self._prefix}dataset:{name}"
        names = f"{self._prefix}names"
        items, listed = self._ask(("LRANGE", key, after, after), ("ZSCORE", names, name))
        if not items and not after and listed is not None:
            raise self._lost(f"dataset:{name}")
        if items and limit > 1:
            # The others are mostly as large as the first.
            most = min(limit - 1, limits.page_bytes // len(items[0]))
            (more,) = self._ask(("LRANGE", key, after + 1, after + most))
            items = [*items, *more]
        return [_row(name, number, item) for number, item in enumerate(items, after + 1)]

    def revision(self, name: str, number: int) -> EntryRow | None:
        if number < 1:
            return None
        key, names = f"{self._prefix}dataset:{name}", f"{self._prefix}names"
        item, count, listed = self._ask(
            ("LINDEX", key, number - 1), ("LLEN", key), ("ZSCORE", names, name)
        )
        if not count and listed is not None:
            raise self._lost(f"dataset:{name}")
        return None if item is None else _row(name, number, item)

    def entries(self, after: str, limit: int) -> list[EntryRow]:
        return list(_rows(self._run("ENTRIES", "names", f"({after}", limit, limits.page_bytes)))

    def names(self, after: str, limit: int) -> list[str]:
        (names,) = self._ask(
            ("ZRANGEBYLEX", f"{self._prefix}names", f"({after}", "+", "LIMIT", 0, limit)
        )
        return [_text(name) for name in names]

    def remove(self, name: str) -> int:
        return self._write("REMOVE", [(name, None)], name)

    @property
    def pages(self) -> Pages:
        return self._pages

    def unindexed(self, limit: int) -> list[EntryRow]:
        return list(_rows(self._run("ENTRIES", "unindexed", "-", limit, limits.page_bytes)))

    def index(self, rows: Sequence[tuple[EntryRow, Terms]]) -> None:
        while True:
            version = self._version()
            waiting = f"{self._prefix}unindexed"
            listed = self._ask(*(("ZSCORE", waiting, row.name) for row, _ in rows))
            newest = self.newest_of([row.name for row, _ in rows])
            known = {row.name: row for row in newest}
            todo = [
                (row.name, terms)
                for (row, terms), is_listed in zip(rows, listed, strict=True)
                if is_listed is not None and known.get(row.name) == row
            ]
            names = [name for name, _ in todo]
            if not todo or self._try("INDEX", version, todo, len(names), *names) != lua.STALE:
                return

    def set_note(self, key: str, value: str | None) -> None:
        self._run("SET_NOTE", key, *(() if value is None else (value,)))

    def add_note(self, key: str, value: str) -> str:
        return self._kept("notes", "note-keys", key, value)

    def note(self, key: str) -> str | None:
        (value,) = self._ask(("HGET", f"{self._prefix}notes", key))
        return None if value is None else _text(value)

    def notes(self, after: str, before: str, limit: int) -> list[tuple[str, str]]:
        return self._range("notes", "note-keys", f"({after}", f"({before}", limit)

    def close(self) -> None:
        if self._owned:
            self._client.close()

    def _kept(self, values: str, order: str, key: str, value: str) -> str:
        """What a hash has under a key: the value, unless the key was taken."""
        return _text(self._run("ADD", values, order, key, value))

    def _range(
        self, values: str, order: str, first: str, last: str, limit: int
    ) -> list[tuple[str, str]]:
        found = self._run("RANGE", values, order, "ZRANGEBYLEX", first, last, limit)
        return _pairs([_text(item) for item in found])

    def _run(self, script: str, *values: str | int | bytes) -> Any:
        with self._errors():
            return self._scripts[script](args=[self._prefix, *values], client=self._client)

    def _run_as_bytes(self, name: str, *values: str | int | bytes) -> list[bytes]:
        script = self._scripts[name]
        command = ("EVALSHA", script.sha, 0, self._prefix, *values)
        client: Any = self._client
        with self._errors():
            try:
                found: list[bytes] = client.execute_command(*command, **_AS_BYTES)
            except self._no_script:
                client.script_load(script.script)
                found = client.execute_command(*command, **_AS_BYTES)
        return found

    def _ask(self, *commands: tuple[Any, ...], **options: Any) -> list[Any]:
        """The answers of commands, asked together, by a database that is still an index."""
        client: Any = self._client
        with self._errors(), client.pipeline(transaction=False) as pipeline:
            pipeline.exists(f"{self._prefix}format")
            for command in commands:
                pipeline.execute_command(*command, **options)
            answers: list[Any] = pipeline.execute()
        if not answers[0]:
            raise self._emptied()
        return answers[1:]

    def _version(self) -> str:
        (version,) = self._ask(("GET", f"{self._prefix}term-version"))
        return "0" if version is None else _text(version)

    def _write(self, script: str, changes: Sequence[Change], *values: str | int) -> int:
        """Write entries and what they are found by, until nobody else writes in between."""
        while (answer := self._try(script, self._version(), changes, *values)) == lua.STALE:
            pass
        return answer

    def _try(self, script: str, version: str, changes: Sequence[Change], *values: str | int) -> int:
        changed = plan(self._pages, changes)
        written = {key: value for key, value in changed.items() if value is not None}
        flat = [item for pair in written.items() for item in pair]
        removed = [key for key, value in changed.items() if value is None]
        # redis-py may send a command again whose answer was lost, and which was carried out.
        token = secrets.token_hex(8)
        return int(self._run(script, version, token, *values, len(written), *flat, *removed))

    def _set_up(self) -> None:
        key = f"{self._prefix}format"
        with self._errors():
            kind = _text(self._client.type(key))
            if kind == "none":
                if self._client.exists(f"{self._prefix}names"):
                    raise self._lost(key)
                self._client.set(key, str(FORMAT), nx=True)
            found: Any = self._client.get(key) if kind in ("none", "string") else None
        text = "" if found is None else _text(found)
        if not text.isascii() or not text.isdigit():
            raise BackendError(
                f"{self.address} has keys beginning with {self._prefix!r} of another program. "
                "Choose another prefix: redis://…?prefix=name:"
            )
        if int(text) > FORMAT:
            raise too_new(self.address, int(text))
        self._check_memory()
        self._run("CHECK")
        if int(text) < FORMAT:
            start = "-"
            while last := self._run("UPGRADE", start):
                start = f"({_text(last[0])}"

    def _check_memory(self) -> None:
        """Refuse a server that throws keys away when its memory is full."""
        try:
            server: Any = {**self._client.info("memory"), **self._client.info("replication")}
        except self._error:
            return  # a user who may not ask
        policy = str(server.get("maxmemory_policy", ""))
        if not policy.startswith("allkeys") or server.get("role") != "master":
            return
        what = (
            f"{self.address}: the server has maxmemory-policy {policy}: when its memory is full it "
            "throws parts of the index away. Set maxmemory-policy noeviction in its "
            "configuration, or name another server."
        )
        if server.get("maxmemory"):
            raise BackendError(what)
        warn(AtdataWarning(what))

    def _emptied(self) -> BackendError:
        return BackendError(
            f"{self.address} no longer holds this index: the server was emptied, restarted without "
            "its data, or evicted keys. Nothing was written. Restore its data; to begin an empty "
            "index there, open it again. Let the server save its data (appendonly yes) and keep "
            "all of it (maxmemory-policy noeviction)."
        )

    def _lost(self, key: str) -> BackendError:
        return BackendError(
            f"{self.address} has lost a part of the index: {key} does not agree with the rest. "
            "Servers that evict keys when their memory is full do so: set maxmemory-policy "
            "noeviction, and restore the data from a copy."
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            text = str(error)
            if lua.EMPTY in text:
                raise self._emptied() from None
            if lua.LOST in text:
                raise self._lost(text.partition(lua.LOST)[2].partition(";")[0].strip()) from None
            raise BackendError(
                f"{self.address}: Redis does not answer or refused: {text.rstrip('.')}. "
                "Check that it runs, and the host, port, user and password."
            ) from error


class _RedisPages(Pages):
    """The pages for searching, in one hash."""

    def __init__(self, backend: RedisBackend) -> None:
        self._backend = backend

    def some(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        parts = [
            keys[start : start + _KEYS_AT_ONCE] for start in range(0, len(keys), _KEYS_AT_ONCE)
        ]
        key = f"{self._backend._prefix}term-pages"
        answers = self._backend._ask(*(("HMGET", key, *part) for part in parts), **_AS_BYTES)
        pairs = zip(keys, (value for answer in answers for value in answer), strict=True)
        found = {key: value for key, value in pairs if value is not None}
        # Every reader and writer asks for this page first.
        if META in keys and META not in found:
            version = f"{self._backend._prefix}term-version"
            was_written, meta = self._backend._ask(("EXISTS", version), ("HEXISTS", key, META))
            if was_written and not meta:
                raise self._backend._lost("term-pages")
        return found

    def range(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return self._between("ZRANGEBYLEX", b"[" + start, b"(" + end, limit)

    def last(self, start: bytes, end: bytes) -> tuple[bytes, bytes] | None:
        return next(iter(self._between("ZREVRANGEBYLEX", b"[" + end, b"[" + start, 1)), None)

    def _between(
        self, command: str, first: bytes, last: bytes, limit: int
    ) -> list[tuple[bytes, bytes]]:
        order = ("term-pages", "term-order", command)
        return _pairs(self._backend._run_as_bytes("RANGE", *order, first, last, limit))


def _text(value: Any) -> str:
    # A client that the caller made may decode answers itself.
    return value.decode() if isinstance(value, bytes) else str(value)


def _pairs(flat: Sequence[T]) -> list[tuple[T, T]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _row(name: str, revision: int, item: Any) -> EntryRow:
    cid, _, document = _text(item).partition(" ")
    return EntryRow(name, revision, cid, document)


def _rows(flat: Sequence[Any]) -> Iterator[EntryRow]:
    """Rows of name, revision, item; name, revision, item; …"""
    for name, revision, item in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
        yield _row(_text(name), int(revision), item)


def _address_of_client(client: Redis) -> str:
    options = client.connection_pool.connection_kwargs
    if path := options.get("path"):
        return f"unix://{path}"
    host, port = options.get("host", "localhost"), options.get("port", 6379)
    return f"redis://{host}:{port}/{options.get('db', 0)}"
