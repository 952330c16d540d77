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
``added``                  counter behind that order
``term:{term}``            set of the names whose newest revision has the term
``term-keys``              sorted set of the terms that some name has, in order
``terms:{name}``           set of the terms of a name
``unindexed``              set of names that an older version wrote, without terms
``notes``                  hash: key → value
``note-keys``              sorted set of the keys of notes, in order
=========================  ========================================================
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

from atdata._logs import hide_in_logs
from atdata._registry import require
from atdata.errors import BackendError, UrlError
from atdata.local.backends import _redis_scripts as lua
from atdata.local.backends.base import FORMAT, Backend, EntryRow, SchemaRow, address_of

if TYPE_CHECKING:
    from redis import Redis

DEFAULT_PREFIX: Final = "atdata:"
_CONNECT_SECONDS: Final = 10


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
        self._client = client
        self._owned = False
        self._prefix = prefix
        suffix = f"?{urlencode({'prefix': prefix})}" if prefix != DEFAULT_PREFIX else ""
        self.address = (address or _address_of_client(client)) + suffix
        scripts = {
            "add_schema": lua.ADD_SCHEMA,
            "schemas": lua.SCHEMAS,
            "add_entry": lua.ADD_ENTRY,
            "replace": lua.REPLACE,
            "newest": lua.NEWEST,
            "entry": lua.ENTRY,
            "entries": lua.ENTRIES,
            "remove": lua.REMOVE,
            "search": lua.SEARCH,
            "unindexed": lua.UNINDEXED,
            "index": lua.INDEX,
            "set_note": lua.SET_NOTE,
            "add_note": lua.ADD_NOTE,
            "notes": lua.NOTES,
            "upgrade": lua.UPGRADE,
        }
        self._scripts = {name: client.register_script(text) for name, text in scripts.items()}
        self._set_up()

    @classmethod
    def open(cls, url: str) -> RedisBackend:
        """Open ``redis://`` or ``rediss://``; the option ``prefix`` is ours, others redis-py's."""
        redis = require("redis", purpose="Indexes in Redis")
        base, _, query = url.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        prefix = options.pop("prefix", DEFAULT_PREFIX)
        options.setdefault("socket_connect_timeout", str(_CONNECT_SECONDS))
        try:
            client = redis.Redis.from_url(f"{base}?{urlencode(options)}")
            client.connection_pool.make_connection()
        except (ValueError, TypeError, AttributeError):
            # The message may hold the URL, password included.
            raise UrlError(
                f"{address_of(url)} is not a Redis URL. Write redis://user:password@host:port/0, "
                "special characters of the password as %XX."
            ) from None
        try:
            backend = cls(client, prefix=prefix, address=address_of(url))
        except BaseException:
            client.close()
            raise
        backend._owned = True
        return backend

    def add_schema(self, row: SchemaRow) -> SchemaRow:
        return SchemaRow(row.key, _text(self._run("add_schema", row.key, row.document)))

    def schema(self, key: str) -> SchemaRow | None:
        with self._errors():
            document: Any = self._client.hget(f"{self._prefix}schemas", key)
        return None if document is None else SchemaRow(key, _text(document))

    def schemas(self, after: str, before: str | None, limit: int) -> list[SchemaRow]:
        upper = "+" if before is None else f"({before}"
        flat = [_text(item) for item in self._run("schemas", f"({after}", upper, limit)]
        return [SchemaRow(*pair) for pair in zip(flat[::2], flat[1::2], strict=True)]

    def add_entry(self, row: EntryRow, terms: Collection[str] = ()) -> bool:
        added = self._run("add_entry", row.name, row.revision, row.cid, row.document, *terms)
        return int(added) == 1

    def replace(self, row: EntryRow, terms: Collection[str] = ()) -> None:
        self._run("replace", row.name, row.revision, row.cid, row.document, *terms)

    def newest(self, name: str) -> EntryRow | None:
        return next(_rows(self._run("newest", name)), None)

    def entry(self, cid: str) -> EntryRow | None:
        return next(_rows(self._run("entry", cid)), None)

    def history(self, name: str) -> list[EntryRow]:
        with self._errors():
            items: Any = self._client.lrange(f"{self._prefix}dataset:{name}", 0, -1)
        return [_row(name, number, item) for number, item in enumerate(items, start=1)]

    def revision(self, name: str, number: int) -> EntryRow | None:
        if number < 1:
            return None
        with self._errors():
            item: Any = self._client.lindex(f"{self._prefix}dataset:{name}", number - 1)
        return None if item is None else _row(name, number, item)

    def entries(self, after: str, limit: int) -> list[EntryRow]:
        return list(_rows(self._run("entries", f"({after}", limit)))

    def names(self, after: str, limit: int) -> list[str]:
        with self._errors():
            names: Any = self._client.zrangebylex(
                f"{self._prefix}names", f"({after}", "+", start=0, num=limit
            )
        return [_text(name) for name in names]

    def remove(self, name: str) -> int:
        return int(self._run("remove", name))

    def search(self, terms: Sequence[str], after: str, limit: int) -> list[EntryRow]:
        return list(_rows(self._run("search", f"({after}", limit, *terms)))

    def unindexed(self, limit: int) -> list[EntryRow]:
        return list(_rows(self._run("unindexed", limit)))

    def index(self, row: EntryRow, terms: Collection[str]) -> None:
        self._run("index", row.name, row.revision, f"{row.cid} {row.document}", *terms)

    def set_note(self, key: str, value: str | None) -> None:
        self._run("set_note", key, *(() if value is None else (value,)))

    def add_note(self, key: str, value: str) -> str:
        return _text(self._run("add_note", key, value))

    def note(self, key: str) -> str | None:
        with self._errors():
            value: Any = self._client.hget(f"{self._prefix}notes", key)
        return None if value is None else _text(value)

    def notes(self, after: str, before: str, limit: int) -> list[tuple[str, str]]:
        flat = [_text(item) for item in self._run("notes", f"({after}", f"({before}", limit)]
        return list(zip(flat[::2], flat[1::2], strict=True))

    def close(self) -> None:
        if self._owned:
            self._client.close()

    def _run(self, script: str, *values: str | int) -> Any:
        with self._errors():
            return self._scripts[script](args=[self._prefix, *values], client=self._client)

    def _set_up(self) -> None:
        key = f"{self._prefix}format"
        with self._errors():
            kind = _text(self._client.type(key))
            if kind == "none":
                self._client.set(key, str(FORMAT), nx=True)
            found: Any = self._client.get(key) if kind in ("none", "string") else None
        text = "" if found is None else _text(found)
        if not text.isascii() or not text.isdigit():
            raise BackendError(
                f"{self.address} has keys beginning with {self._prefix!r} of another program. "
                "Choose another prefix: redis://…?prefix=name:"
            )
        if int(text) > FORMAT:
            raise BackendError(
                f"{self.address} was written by a newer atdata (format {int(text)}; this one "
                f"reads {FORMAT}). Upgrade with: pip install --upgrade atdata"
            )
        if int(text) < FORMAT:
            self._run("upgrade")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            raise BackendError(
                f"{self.address}: Redis does not answer or refused: {str(error).rstrip('.')}. "
                "Check that it runs, and the host, port, user and password."
            ) from error


def _text(value: Any) -> str:
    # A client that the caller made may decode answers itself.
    return value.decode() if isinstance(value, bytes) else str(value)


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
