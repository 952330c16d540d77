"""Where a local index is kept, and what is said when it cannot be used."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atdata.errors import BackendError, OptionError, UrlError
from atdata.local import LocalIndex
from tests.local.conftest import Digit, MakeDigits
from tests.services.postgres import PostgresServer
from tests.services.proxy import FaultProxy


def run_python(code: str, **environment: str) -> str:
    """What a new Python process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


SHOW = "from atdata.local import LocalIndex; print(LocalIndex())"


def test_the_default_is_a_file_of_the_user(tmp_path: Path) -> None:
    """With nothing named, the index is an SQLite file in the user's data folder."""
    shown = run_python(SHOW, XDG_DATA_HOME=str(tmp_path), HOME=str(tmp_path), ATDATA_INDEX="")
    (made,) = tmp_path.rglob("index.db")
    assert shown == f"LocalIndex('sqlite://{made}')"
    assert made.parent.name == "atdata"


def test_the_environment_names_another(tmp_path: Path, redis_url: str) -> None:
    """ATDATA_INDEX names a path or a URL; an argument wins over it."""
    path = tmp_path / "mine.db"
    assert run_python(SHOW, ATDATA_INDEX=str(path)) == f"LocalIndex('sqlite://{path}')"
    assert run_python(SHOW, ATDATA_INDEX=redis_url) == f"LocalIndex({redis_url!r})"
    other = tmp_path / "other.db"
    code = f"from atdata.local import LocalIndex; print(LocalIndex({str(other)!r}))"
    assert run_python(code, ATDATA_INDEX=str(path / "not" / "used")) == (
        f"LocalIndex('sqlite://{other}')"
    )


def test_names_of_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: MakeDigits
) -> None:
    """A str, a Path, a relative path and an sqlite URL with signs escaped name the same index."""
    path = tmp_path / "a folder" / "100% mine?.db"
    with LocalIndex(path) as index:
        index.insert_dataset(digits(), name="digits")
    monkeypatch.chdir(tmp_path)
    url = f"sqlite://{tmp_path}/a%20folder/100%25%20mine%3F.db"
    for where in (str(path), Path("a folder/100% mine?.db"), url, url.replace("//", "///", 1)):
        with LocalIndex(where) as index:
            assert index.get_dataset("digits").revision == 1
            assert str(index) == f"LocalIndex({url!r})"


def test_a_live_redis_client(redis_url: str, digits: MakeDigits) -> None:
    """A redis.Redis is taken as it is, whether it decodes answers or not, and is not closed."""
    import redis

    for decode in (False, True):
        with redis.Redis.from_url(redis_url, decode_responses=decode) as client:
            index = LocalIndex(redis=client)
            index.insert_dataset(digits(), name=f"dïgits {decode}")
            assert index.get_dataset(f"dïgits {decode}").name == f"dïgits {decode}"
            assert index.history(f"dïgits {decode}")[0].revision == 1
            assert index.get_schema(next(index.list_schemas()).ref)["version"] == "1.0.0"
            index.close()
            assert client.ping()
    with LocalIndex(redis_url) as index:
        assert len(list(index.list_datasets())) == 2


def test_two_indexes_in_one_redis(redis_url: str, digits: MakeDigits) -> None:
    """Indexes with different prefixes share a database and see nothing of each other."""
    with LocalIndex(redis_url) as one, LocalIndex(f"{redis_url}?prefix=team%3A") as two:
        one.insert_dataset(digits(), name="digits")
        assert list(two.list_datasets()) == []
        assert "prefix=team%3A" in str(two)


@pytest.mark.parametrize(
    "where",
    [
        "mysql://host/db",
        "sqlite://",
        "sqlite:///",
        "sqlite://name.db",
        ":memory:",
        "",
        "  ",
        "a\0b",
    ],
)
def test_places_that_are_none(where: str) -> None:
    """A place that cannot be one is a UrlError, which says what to write."""
    with pytest.raises(UrlError):
        LocalIndex(where or "  ")


@pytest.mark.parametrize(
    "where",
    [
        "postgresql:bob:s3cret@host/db",
        "postgresql:/bob:s3cret@host/db",
        "POSTGRES:bob:s3cret@host/db",
        "postgresql+psycopg:bob:s3cret@host/db",
        "mysql:/bob:s3cret@host/db",
        "redis:bob:s3cret@host/0",
        "rediss:/:s3cret@host",
        "redis:s3cret",
        "unix:/s3cret",
        "sqlite:/s3cret.db",
        "host=db user=bob password=s3cret",
        Path("postgresql://bob:s3cret@host/db"),
        "postgresql://bob:s3cret@x@host/db",
        "postgresql://bob:x/s3cret@host/db",
        "postgresql://bob:x?s3cret@host/db",
        "postgresql://bob:x#s3cret@host/db",
        "postgresql://bob:x@y/s3cret@host/db",
        "redis://:s3cret@x@host/0",
        "redis://bob:12/s3cret@host/0",
        "rediss://bob:#s3cret@host/0",
        "postgresql//me:s3cret@localhost/db",
        "postgresql//me:s3/cret@localhost/db",
        "postgresql/me:s3cret@localhost/db",
        "mysql//me:s3cret@localhost/db",
    ],
    ids=str,
)
def test_urls_that_would_show_a_password(
    where: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL without its slashes or with a bare '@' makes no file and shows no password."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATDATA_INDEX", str(where))
    for place in (where, None):
        with pytest.raises(UrlError) as caught:
            LocalIndex(place)
        assert "s3cret" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert "://" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_files_with_names_like_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of such a name is opened where it is written as a path, or exists."""
    monkeypatch.chdir(tmp_path)
    LocalIndex("./redis:mine.db").close()
    LocalIndex("redis:mine.db").close()
    LocalIndex("a=b:c@d.db").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a=b:c@d.db", "redis:mine.db"]


@pytest.mark.parametrize("where", [3, b"index.db", object()])
def test_places_of_a_wrong_type(where: Any) -> None:
    """Something else than a path or URL is refused."""
    with pytest.raises((OptionError, UrlError)):
        LocalIndex(where)


def test_arguments_that_do_not_go_together(tmp_path: Path, redis_url: str) -> None:
    """A place and a client at once, and a client or store that is none, are refused."""
    import redis

    with redis.Redis.from_url(redis_url) as client:
        with pytest.raises(OptionError, match="not both"):
            LocalIndex(tmp_path / "index.db", redis=client)
        with pytest.raises(OptionError, match="redis="):
            LocalIndex(client)
    with pytest.raises(OptionError, match="first argument"):
        LocalIndex(redis=redis_url)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="DiskDataStore"):
        LocalIndex(tmp_path / "index.db", data_store=str(tmp_path))  # type: ignore[arg-type]


def failure(where: Any) -> BackendError:
    """The error that opening gives; neither it nor its traceback has the word 'secret'."""
    with pytest.raises(BackendError) as caught:
        LocalIndex(where)
    assert isinstance(caught.value, ConnectionError)
    assert "secret" not in "".join(traceback.format_exception(caught.value)).replace(
        f"failure({where!r})", ""
    )
    return caught.value


@pytest.mark.parametrize(
    "url", ["redis://:secret@127.0.0.1:1/0", "postgresql://me:secret@127.0.0.1:1/db"]
)
def test_a_server_that_is_down(url: str) -> None:
    """A server that does not answer is a BackendError with its address, without the password."""
    error = failure(url)
    assert "127.0.0.1:1" in str(error)
    assert ". Check that it runs" in str(error)
    assert "?." not in str(error)


def test_a_wrong_password_for_redis(redis_url: str) -> None:
    """A refused Redis password is an error that says so."""
    import redis

    with redis.Redis.from_url(redis_url) as client:
        client.acl_setuser(
            "guest", enabled=True, passwords=["+right"], categories=["+@all"], keys=["*"]
        )
        assert "password" in str(failure(redis_url.replace("//", "//guest:secret@")))
        right = redis_url.replace("//", "//guest:right@")
        with LocalIndex(right) as index:
            assert "right" not in repr(index)
        client.acl_deluser("guest")


def test_a_wrong_password_for_postgres(postgres_server: PostgresServer, postgres_url: str) -> None:
    """A refused PostgreSQL password and a missing database are errors that say so."""
    host = postgres_url.rpartition("@")[2]
    assert "password" in str(failure(f"postgresql://postgres:secret@{host}"))
    missing = postgres_server.database("not_there")
    assert "not_there" in str(failure(missing))
    with LocalIndex(postgres_url) as index:
        assert repr(index) == f"LocalIndex('postgresql://{host}')"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@[::bad/db",
        "postgresql://me:secret@host/db?nonsense=secret",
        "redis://me:secret@host:port/0",
        "redis://me:secret@host/0?nonsense=1",
    ],
)
def test_malformed_urls_do_not_show_the_password(url: str) -> None:
    """A URL that the driver cannot parse is refused without repeating the password."""
    with pytest.raises((BackendError, UrlError)) as caught:
        LocalIndex(url)
    shown = "".join(traceback.format_exception(caught.value))
    assert "secret" not in shown.replace(url, "")
    assert "secret" not in str(caught.value)


def test_files_that_are_no_index(tmp_path: Path) -> None:
    """A text file, another program's database and a folder are refused and left as they are."""
    text = tmp_path / "notes.txt"
    text.write_text("notes " * 1000)
    assert "no SQLite database" in str(failure(text))
    assert text.read_text() == "notes " * 1000
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE entries (a)")
    connection.commit()
    connection.close()
    before = other.read_bytes()
    assert "another program" in str(failure(other))
    assert other.read_bytes() == before
    assert "not a folder" in str(failure(tmp_path))
    assert "write" in str(failure(text / "index.db"))


def test_databases_of_another_program(redis_url: str, postgres_url: str) -> None:
    """Tables or keys of our names that are not ours are refused and left as they are."""
    import psycopg
    import redis

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE atdata_entries (a integer)")
    assert "another program" in str(failure(postgres_url))
    with redis.Redis.from_url(redis_url) as client:
        for value in ("theirs", ""):
            client.set("atdata:format", value)
            assert "another program" in str(failure(redis_url))
        client.delete("atdata:format")
        client.hset("atdata:format", "a", "b")
        assert "another program" in str(failure(redis_url))


def test_an_index_of_a_newer_version(tmp_path: Path, redis_url: str, postgres_url: str) -> None:
    """An index that a newer version wrote is refused with the line that upgrades."""
    import psycopg
    import redis

    path = tmp_path / "index.db"
    for where in (path, redis_url, postgres_url):
        LocalIndex(where).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with redis.Redis.from_url(redis_url) as client:
        client.set("atdata:format", 99)
    with psycopg.connect(postgres_url, autocommit=True) as postgres:
        postgres.execute("UPDATE atdata_format SET version = 99")
    for where in (path, redis_url, postgres_url):
        message = str(failure(where))
        assert "format 99" in message
        assert "pip install --upgrade atdata" in message


def test_a_database_that_ended_is_used_again(
    request: pytest.FixtureRequest,
    proxy_to: Callable[[str], FaultProxy],
    digits: MakeDigits,
    redis_url: str,
    postgres_url: str,
) -> None:
    """An index works after its server has closed every connection."""
    dataset = digits()
    for url in (redis_url, postgres_url):
        proxy = proxy_to(url)
        with LocalIndex(proxy.url) as index:
            index.insert_dataset(dataset, name="one")
            proxy.refuse()
            with pytest.raises(BackendError):
                index.get_dataset("one")
            proxy.accept()
            assert index.get_dataset("one").revision == 1
            index.insert_dataset(dataset, name="two")


def test_a_closed_index_says_so(tmp_path: Path) -> None:
    """After close() an index is not used in silence."""
    index = LocalIndex(tmp_path / "index.db")
    index.close()
    with pytest.raises(BackendError, match="closed"):
        index.publish_schema(Digit)
