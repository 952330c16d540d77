"""Servers of the network that lie, repeat themselves or find no end."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import libipld
import pytest
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_sockets

from atdata._limits import limits
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, Mirror
from atdata.atmosphere.discover import accounts
from atdata.atproto.dag import cid_of
from atdata.atproto.firehose import Firehose
from atdata.atproto.reader import Reader
from atdata.errors import AtmosphereError, RecordError
from atdata.local import LocalIndex
from tests.atmosphere.hostile import ALL, BY_COLLECTION, OWNER, RECORDS, Page, row, serve, update
from tests.atmosphere.publishing import DATASET, SCHEMA, schema_record
from tests.sources.web import WebServer, saying, slowly


def without_an_end(rows: Callable[[int], list[Any]], key: str, pause: float = 0) -> Page:
    """Each page has a cursor that was not there before."""
    turns = itertools.count()

    def page(query: dict[str, str]) -> dict[str, Any]:
        turn = next(turns)
        threading.Event().wait(pause)
        return {key: rows(turn), "cursor": f"c{turn}"}

    return page


def in_turns(cursors: list[str], key: str) -> Page:
    """Cursors that come again."""
    turns = itertools.cycle(cursors)
    return lambda query: {key: [], "cursor": next(turns)}


def did(number: int) -> str:
    """A DID of nobody."""
    return "did:plc:" + "".join("abcdefgh"[number >> 3 * n & 7] for n in range(24))


ENDLESS = {
    "new cursors": (lambda key: without_an_end(lambda turn: [], key), "more than 20 pages"),
    "one cursor": (lambda key: in_turns(["a"], key), "goes in circles"),
    "a circle": (lambda key: in_turns(["a", "b", "c"], key), "goes in circles"),
    "long cursors": (lambda key: in_turns(["c" * 100_000], key), "no end"),
    "large pages": (lambda key: without_an_end(lambda turn: [7] * 5_000, key), "a page of 5,000"),
    "many rows": (lambda key: without_an_end(lambda turn: ROWS[key](turn), key), "more than 500"),
    "slow pages": (lambda key: without_an_end(lambda turn: [], key, 0.2), "within 1 s"),
}
ROWS: dict[str, Callable[[int], list[Any]]] = {
    "repos": lambda turn: [{"did": did(100 * turn + n)} for n in range(100)],
    "records": lambda turn: [row(f"a{turn}-{n}") for n in range(100)],
}


@pytest.mark.parametrize("path", [BY_COLLECTION, ALL])
@pytest.mark.parametrize(("page", "message"), ENDLESS.values(), ids=ENDLESS)
def test_a_relay_without_an_end(
    home: WebServer, page: Callable[[str], Page], message: str, path: str, tmp_path: Path
) -> None:
    """A relay, or a server, whose list of accounts never ends is an error, also for a mirror."""
    del home.programs[BY_COLLECTION]
    described: dict[str, list[str]] = {"collections": []}
    home.files["/xrpc/com.atproto.repo.describeRepo"] = json.dumps(described).encode()
    with (
        limits.set(pages=20, accounts=500, listing_seconds=1),
        LocalIndex(tmp_path / "mirror.db") as index,
    ):
        for ask in (lambda: list(accounts(home.url)), lambda: update(index, home)):
            serve(home, path, page("repos"))
            with pytest.raises(AtmosphereError, match=message):
                ask()


@pytest.mark.parametrize(("page", "message"), ENDLESS.values(), ids=ENDLESS)
def test_records_without_an_end(
    home: WebServer, page: Callable[[str], Page], message: str, tmp_path: Path
) -> None:
    """An account whose records never end is an error; discovery and a mirror pass it over."""
    reader = AtmosphereIndex(AtmosphereClient())
    with (
        limits.set(pages=20, records=500, listing_seconds=1),
        LocalIndex(tmp_path / "mirror.db") as index,
    ):
        serve(home, RECORDS, page("records"))
        with pytest.raises(AtmosphereError, match=message):
            list(Reader().list_records(OWNER[0], DATASET))
        serve(home, RECORDS, page("records"))
        assert len(list(reader.discover(home.url))) <= 500
        serve(home, RECORDS, page("records"))
        reported: list[str] = []
        Mirror(index.mirrored, report=reported.append).update(home.url)
        assert any("tried again later" in line for line in reported)


@pytest.mark.parametrize(
    "record",
    [
        lambda: row("a", of="did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"),
        lambda: row("a", collection="ac.foundation.dataset.sampleSchema"),
        lambda: {**row("a"), "uri": "at://alice.test/ac.foundation.dataset.record/a"},
    ],
    ids=["another account", "another collection", "a handle"],
)
def test_a_server_does_not_speak_for_others(
    home: WebServer, record: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    """What a server lists as another account's is believed by nobody, least of all a mirror."""
    serve(home, RECORDS, lambda query: {"records": [record()]})
    with pytest.raises(RecordError, match="lists at://"):
        list(Reader().list_records(OWNER[0], DATASET))
    with LocalIndex(tmp_path / "mirror.db") as index:
        update(index, home)
        assert index.mirrored.uris() == []


def test_an_account_that_fails_rests(home: WebServer, tmp_path: Path) -> None:
    """An account whose server fails is asked again after longer and longer pauses."""
    with LocalIndex(tmp_path / "mirror.db") as index:
        del home.programs[RECORDS]
        mirror = update(index, home)
        rests = []
        for _ in range(15):
            mirror._list_or_retry(OWNER[0])
            rests.append(mirror._retries[OWNER[0]][1])
        assert rests == sorted(rests)
        assert rests[-1] == 3600
        asked = len(home.asked)
        mirror._retry_due()
        assert len(home.asked) == asked
        serve(
            home,
            RECORDS,
            lambda query: {"records": [row("a")] if query["collection"] == DATASET else []},
        )
        mirror.update(home.url)
        assert mirror._retries == {}
        assert len(index.mirrored.uris()) == 1


def frame(opcode: int, size: int, *, last: bool = True) -> bytes:
    """The head of a frame of a WebSocket."""
    return bytes((opcode | 0x80 * last, 127)) + size.to_bytes(8)


def again(piece: bytes, send: Callable[[bytes], None], *, first: bytes = b"") -> None:
    """The same for ever."""
    send(first)
    while True:
        send(piece)


def drip(piece: bytes, send: Callable[[bytes], None], *, first: bytes = b"") -> None:
    """The same for ever, now and then."""
    send(first)
    pause = threading.Event()
    while not pause.wait(0.01):
        send(piece)


@contextmanager
def stream(script: Callable[[Callable[[bytes], None]], None]) -> Iterator[str]:
    """A firehose that sends whatever it likes, after a proper beginning; gives its URL."""

    def talk(connection: ServerConnection) -> None:
        with suppress(OSError):
            script(connection.socket.sendall)
        connection.socket.close()

    with serve_sockets(talk, "127.0.0.1", 0, compression=None, close_timeout=0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
    thread.join()


EVENT = libipld.encode_dag_cbor({"op": 1, "t": "#info"})
STREAMS: dict[str, Callable[[Callable[[bytes], None]], object]] = {
    "a long message": lambda send: send(frame(2, 10_001)),
    "a message as long as memory": lambda send: send(frame(2, 2**62)),
    "many parts": lambda send: again(
        (frame(0, 1, last=False) + b"a") * 10, send, first=frame(2, 1, last=False) + b"a"
    ),
    "empty parts": lambda send: again(
        frame(0, 0, last=False) * 100, send, first=frame(2, 0, last=False)
    ),
    "text": lambda send: send(frame(1, 5) + b"hello"),
    "no frame": lambda send: send(b"\xff" * 100),
    "nothing in it": lambda send: send(frame(2, 0)),
    "deep": lambda send: send(frame(2, 9_000) + b"\x81" * 9_000),
    "many in it": lambda send: send(frame(2, 9) + b"\x9b" + b"\xff" * 8),
    "as many as there is room for": lambda send: send(
        frame(2, len(EVENT) + 9_000) + EVENT + b"\x99\x23\x25" + b"\xa0" * 8_997
    ),
    "no body": lambda send: send(frame(2, len(EVENT)) + EVENT),
    "a list": lambda send: send(frame(2, len(EVENT) + 1) + EVENT + b"\x80"),
    "a number": lambda send: send(
        frame(2, len(EVENT) + 7) + EVENT + libipld.encode_dag_cbor({"seq": -1})
    ),
    "the end": lambda send: None,
}


@pytest.mark.parametrize("script", STREAMS.values(), ids=STREAMS)
def test_a_firehose_that_makes_no_sense(
    script: Callable[[Callable[[bytes], None]], None],
) -> None:
    """Too much, too many, or nothing that is an event: an error of ours that names the server."""
    with (
        limits.set(message_bytes=10_000, containers=1_000),
        stream(script) as server,
        pytest.raises(AtmosphereError, match=f"The firehose of {server}"),
    ):
        list(Firehose(server).events(0, threading.Event()))


@pytest.mark.parametrize(
    "script",
    [
        lambda send: drip(b"a", send, first=frame(2, 5_000)),
        lambda send: drip(frame(9, 1) + b"a", send),
        lambda send: drip(frame(2, 0, last=False)[:1], send),
    ],
    ids=["message", "pings", "heads"],
)
def test_a_firehose_that_drips(script: Callable[[Callable[[bytes], None]], None]) -> None:
    """Whoever follows a server that sends a byte now and then can go on with other things."""
    stop = threading.Event()
    with stream(script) as server:
        reported = 0
        with suppress(AtmosphereError):
            for event in Firehose(server).events(0, stop):
                assert event is None
                reported += 1
                if reported == 2:
                    stop.set()


@pytest.mark.parametrize("status", [200, 302, 308, 401, 404, 500])
def test_a_firehose_that_leads_elsewhere(home: WebServer, status: int) -> None:
    """A server that is none, or sends its follower to another one, is an error; nobody is asked."""
    elsewhere = f"{home.url}/xrpc/com.atproto.sync.subscribeRepos"
    head = f"HTTP/1.1 {status} Well\r\nLocation: ws{elsewhere.removeprefix('http')}\r\n"
    said = head.encode() + b"Content-Length: 0\r\n\r\n"
    before = len(home.asked)
    with (
        saying(lambda send, over: send(said)) as server,
        pytest.raises(AtmosphereError, match=f"answers {status}, not a stream"),
    ):
        next(Firehose(server).events(0, threading.Event()))
    assert len(home.asked) == before


def test_a_firehose_that_does_not_begin() -> None:
    """A server that drips the beginning of a stream is left."""
    script = slowly(b"HTTP/1.1 101 ", b"a")
    with (
        limits.set(document_seconds=1),
        saying(script) as server,
        pytest.raises(AtmosphereError, match="ended: TimeoutError"),
    ):
        next(Firehose(server).events(0, threading.Event()))


WORDS = ["a\0b", "\0", "\ud800", "a\udfffb", "\U0010ffff", "\x1b[2J", "a" * 3_000, "\u202e", ""]


def with_words(word: str) -> list[dict[str, Any]]:
    """Records with a word in each place of text."""
    found = []
    for number, change in enumerate(
        [
            {"name": word},
            {"description": word},
            {"tags": [word]},
            {"license": word},
            {"schemaRef": f"at://{OWNER[0]}/{SCHEMA}/{word}"},
            {"storage": {"$type": f"{EXTERNAL}", "urls": [f"https://data.example/{word}.tar"]}},
            {"storage": {"$type": f"{EXTERNAL}", "urls": ["s3://a/b"], "endpoint": word}},
            {"more": {word: [word]}},
            {"createdAt": word},
        ]
    ):
        listed = row(f"r{number}")
        listed["value"] |= change
        found.append(listed)
    changes: list[dict[str, Any]] = [
        {"name": word},
        {"name": f"m.{word}"},
        {"description": word},
        {"metadata": {word: word}},
    ]
    for number, change in enumerate(changes):
        listed = row(f"s{number}", collection=SCHEMA)
        listed["value"] = schema_record("A") | change
        found.append(listed)
    for listed in found:
        with suppress(RecordError):
            listed["cid"] = cid_of(listed["value"])
    return found


EXTERNAL = "ac.foundation.dataset.storageExternal"


@pytest.mark.parametrize("backend", ["sqlite", "postgres", "redis"])
def test_words_that_a_database_cannot_hold(
    home: WebServer, backend: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Whatever its text holds, a record is kept or skipped; the others are kept."""
    place = (
        str(tmp_path / "mirror.db")
        if backend == "sqlite"
        else request.getfixturevalue(f"{backend}_url")
    )
    with LocalIndex(place) as index:
        for word in WORDS:
            listed = [*with_words(word), row("good")]
            serve(
                home,
                RECORDS,
                lambda query: {
                    "records": [
                        one
                        for one in listed  # noqa: B023
                        if f"/{query['collection']}/" in one["uri"]
                    ]
                },
            )
            reported: list[str] = []
            mirror = Mirror(index.mirrored, report=reported.append)
            mirror.update(home.url)
            assert not [line for line in reported if "again later" in line], word
            assert f"at://{OWNER[0]}/{DATASET}/good" in index.mirrored.uris()
            assert index.mirrored.uris(OWNER[0]) == index.mirrored.uris()
            if word != WORDS[-1]:
                mirror._drop(OWNER[0])
        assert len(list(index.list_datasets())) > 0
        assert len(index.search("none")) > 0
