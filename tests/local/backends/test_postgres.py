"""Connections to PostgreSQL, whatever surrounds them."""

from __future__ import annotations

import os
import socket
import traceback
from contextlib import closing

import pytest

from atdata.errors import BackendError
from atdata.local import LocalIndex
from atdata.local.backends.postgres import PostgresBackend
from tests.local.conftest import MakeDigits


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "SJIS", "UTF8"])
def test_text_is_unicode_whatever_the_environment_says(
    postgres_url: str, digits: MakeDigits, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """An index keeps every name and description, with any encoding set for libpq's programs."""
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    with LocalIndex(postgres_url) as index:
        index.insert_dataset(digits(), name="日本", description="żółć 😀")
        assert [(e.name, e.description) for e in index.search("日本")] == [("日本", "żółć 😀")]
    monkeypatch.delenv("PGCLIENTENCODING")
    with LocalIndex(postgres_url) as index:
        assert index.get_dataset("日本").description == "żółć 😀"


@pytest.mark.parametrize(("options", "idle"), [("", 30), ("?keepalives_idle=7", 7)])
def test_a_network_that_swallows_everything_is_noticed(
    postgres_url: str, options: str, idle: int
) -> None:
    """The system asks a silent server whether it is there, and ends a connection without answers;
    what the URL says goes before.
    """
    with closing(PostgresBackend(postgres_url)) as backend:
        host = backend.address
    with closing(PostgresBackend(postgres_url + options)) as backend, backend._pool.use() as used:
        assert backend.address.startswith(host)
        with socket.socket(fileno=os.dup(used.fileno())) as there:
            assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == idle
            assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 10
            assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
            assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000


@pytest.mark.parametrize("password", ["Zq7hunter2Xw%zz", "Zq7hunter2Xw", "Zq7hunter2Xw%40"])
def test_what_led_to_an_error_has_no_password(password: str) -> None:
    """No exception that led to ours holds a part of the password, in its text or elsewhere."""
    with pytest.raises(BackendError) as caught:
        LocalIndex(f"postgresql://u:{password}@127.0.0.1:1/d")
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in repr((error.args, vars(error)))
        error = error.__cause__ or error.__context__


def test_an_index_that_did_not_open_can_be_shown() -> None:
    """A traceback with local variables shows the error itself."""
    with pytest.raises(BackendError) as caught:
        LocalIndex("postgresql://u@127.0.0.1:1/d")
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "BackendError" in "".join(shown.format())
