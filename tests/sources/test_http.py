"""Reading over http: whole, resumed, retried, or failing with a clear error; never a mix."""

from __future__ import annotations

import gzip
import os
import random
import re
import traceback
from collections.abc import Callable

import pytest

from atdata.errors import (
    IntegrityError,
    NotFoundError,
    ShardNotFoundError,
    SourceError,
    UnsafeUrlError,
    UrlError,
)
from atdata.net.http import get_json, open_url
from atdata.net.policy import Policy
from atdata.net.retries import RetryPolicy
from atdata.sources.http import HttpReader
from tests.services.proxy import FaultProxy
from tests.sources.web import WebServer

ProxyTo = Callable[[str], FaultProxy]

DATA = random.Random(1).randbytes(3_000_000)
OTHER = random.Random(2).randbytes(3_000_000)
QUICK = RetryPolicy(attempts=4, first_pause=0.01)


def test_a_file_arrives_whole(web: WebServer) -> None:
    """What is read is what the server has, in reads of any size."""
    web.files["/a.tar"] = DATA
    with HttpReader().open(f"{web.url}/a.tar") as stream:
        head = stream.read(512)
        assert head + stream.read() == DATA


@pytest.mark.parametrize("abrupt", [True, False])
def test_goes_on_after_dropped_connections(web: WebServer, proxy_to: ProxyTo, abrupt: bool) -> None:
    """A download that drops repeatedly resumes at the last byte, of the same file."""
    web.files["/a.tar"] = DATA
    proxy = proxy_to(web.url)
    proxy.cut(after=800_000, times=3, abrupt=abrupt)
    with open_url(f"{proxy.url}/a.tar", retry_policy=QUICK) as stream:
        assert stream.read() == DATA
    first, *rest = web.asked
    assert "range" not in first[1]
    assert len(rest) == 3
    assert all(re.fullmatch(r"bytes=\d+-", headers["range"]) for _, headers in rest)
    assert all("if-match" in headers for _, headers in rest)


def test_connections_that_break_early_still_get_on(web: WebServer, proxy_to: ProxyTo) -> None:
    """Connections that each carry 150 KB together carry a file of 3 MB."""
    web.files["/a.tar"] = DATA
    proxy = proxy_to(web.url)
    proxy.cut(after=150_000, times=19)
    with open_url(
        f"{proxy.url}/a.tar", retry_policy=RetryPolicy(attempts=25, first_pause=0.001)
    ) as s:
        assert s.read() == DATA


def test_a_file_that_changes_meanwhile_is_an_error(web: WebServer, proxy_to: ProxyTo) -> None:
    """If the file is replaced during a drop, the rest is not read from the new one."""
    web.files["/a.tar"] = DATA
    proxy = proxy_to(web.url)
    proxy.cut(after=1_500_000, abrupt=False)
    with open_url(f"{proxy.url}/a.tar", retry_policy=QUICK) as stream:
        begun = stream.read(1000)
        web.files["/a.tar"] = OTHER
        with pytest.raises(IntegrityError, match="changed on the server"):
            stream.read()
    assert begun == DATA[:1000]


def test_a_changed_file_without_ranges_is_an_error(web: WebServer, proxy_to: ProxyTo) -> None:
    """A server that ignores ranges and has another file by now is not mixed in."""
    web.files["/a.tar"], web.ranges = DATA, False
    proxy = proxy_to(web.url)
    proxy.cut(after=1_500_000, abrupt=False)
    with open_url(f"{proxy.url}/a.tar", retry_policy=QUICK) as stream:
        stream.read(1000)
        web.files["/a.tar"] = OTHER
        with pytest.raises(IntegrityError, match="changed on the server"):
            stream.read()


def test_without_ranges_the_same_file_is_read_again(web: WebServer, proxy_to: ProxyTo) -> None:
    """Without ranges, a download resumes if the ETag proves that the file is the same."""
    web.files["/a.tar"], web.ranges = DATA, False
    proxy = proxy_to(web.url)
    proxy.cut(after=1_500_000, abrupt=False)
    with open_url(f"{proxy.url}/a.tar", retry_policy=QUICK) as stream:
        assert stream.read() == DATA


def test_without_any_validator_a_dropped_connection_is_an_error(
    web: WebServer, proxy_to: ProxyTo
) -> None:
    """If nothing proves that the file is the same, a download is not pieced together."""
    web.files["/a.tar"], web.etags = DATA, False
    proxy = proxy_to(web.url)
    proxy.cut(after=1_500_000, abrupt=False)
    with (
        open_url(f"{proxy.url}/a.tar", retry_policy=QUICK) as stream,
        pytest.raises(SourceError, match="neither ETag nor Last-Modified"),
    ):
        stream.read()


def test_a_busy_server_is_asked_again(web: WebServer, proxy_to: ProxyTo) -> None:
    """500, 502, 503, 504 and 429 with Retry-After are waited out."""
    web.files["/a.tar"] = DATA
    proxy = proxy_to(web.url)
    for status in (500, 502, 503, 504):
        proxy.answer(status)
    proxy.answer(429, headers={"Retry-After": "0"})
    patience = RetryPolicy(attempts=10, first_pause=0.01)
    with open_url(f"{proxy.url}/a.tar", retry_policy=patience) as stream:
        assert stream.read() == DATA
    assert len(proxy.requests) == 6


def test_patience_ends_with_a_clear_error(web: WebServer, proxy_to: ProxyTo) -> None:
    """A server that stays broken ends in an error with URL, status and attempts, but no secret."""
    proxy = proxy_to(web.url)
    proxy.answer(503, times=None)
    with pytest.raises(SourceError) as caught:
        open_url(f"{proxy.url}/a.tar?token=s3cret", retry_policy=QUICK)
    message = "".join(traceback.format_exception_only(caught.value))
    assert "/a.tar?…: the server answers 503" in message
    assert "4 attempts" in message
    assert "s3cret" not in message
    assert len(proxy.requests) == 4


def test_a_server_that_asks_for_an_hour_is_not_waited_for(
    web: WebServer, proxy_to: ProxyTo
) -> None:
    """A Retry-After beyond the limit is an immediate error, which names the wait."""
    proxy = proxy_to(web.url)
    proxy.answer(429, times=None, headers={"Retry-After": "3600"})
    with pytest.raises(SourceError, match="come back in 3600 s"):
        open_url(f"{proxy.url}/a.tar")
    assert len(proxy.requests) == 1


def test_a_server_that_is_down(web: WebServer, proxy_to: ProxyTo) -> None:
    """A refused connection says that the server cannot be reached."""
    proxy = proxy_to(web.url)
    proxy.refuse()
    with pytest.raises(SourceError, match="cannot be reached"):
        open_url(f"{proxy.url}/a.tar", retry_policy=QUICK)


def test_a_missing_file(web: WebServer) -> None:
    """404 is a missing shard, and a KeyError."""
    with pytest.raises(ShardNotFoundError, match=r"/none\.tar"):
        open_url(f"{web.url}/none.tar")
    with pytest.raises(KeyError):
        open_url(f"{web.url}/none.tar")


def test_the_size_is_checked_before_reading(web: WebServer) -> None:
    """A file of another size than recorded is refused when it is opened."""
    web.files["/a.tar"] = DATA
    with pytest.raises(IntegrityError, match="should have 17 bytes and has 3000000"):
        open_url(f"{web.url}/a.tar", expect_bytes=17)


def test_a_content_encoding_is_never_undone(web: WebServer) -> None:
    """A file stored with a content encoding is read as the bytes that are stored."""
    web.files["/a.tar"], web.encoding = gzip.compress(DATA[:10_000]), "gzip"
    with open_url(f"{web.url}/a.tar") as stream:
        assert stream.read() == web.files["/a.tar"]
    assert web.asked[0][1]["accept-encoding"] == "identity"


def test_a_server_that_compresses_is_named(web: WebServer) -> None:
    """A shard compressed by its server is not reported as a compressed file."""
    web.files["/a.tar"], web.encoding = gzip.compress(DATA[:10_000]), "gzip"
    with (
        HttpReader().open(f"{web.url}/a.tar") as stream,
        pytest.raises(
            SourceError, match=r"a\.tar: the server sends it with Content-Encoding: gzip"
        ),
    ):
        stream.read()
    # Objects are often stored with a header that is not true of them.
    for encoding, body in (("gzip", DATA), ("aws-chunked", DATA)):
        web.files["/a.tar"], web.encoding = body, encoding
        with HttpReader().open(f"{web.url}/a.tar") as stream:
            assert stream.read() == body


def test_redirects_are_followed(web: WebServer) -> None:
    """A redirect leads to the file."""
    web.files["/a.tar"] = DATA
    with open_url(f"{web.url}/redirect?to=/a.tar") as stream:
        assert stream.read() == DATA


def test_secrets_do_not_follow_to_another_host(web: WebServer, proxy_to: ProxyTo) -> None:
    """After a redirect to another host, neither password nor custom headers are sent."""
    web.files["/a.tar"] = DATA
    elsewhere = proxy_to(web.url)
    url = f"{web.url}/redirect?to={elsewhere.url}/a.tar".replace("://", "://me:pass@", 1)
    with open_url(url, headers={"X-Key": "k"}) as stream:
        assert stream.read() == DATA
    (_, first), (_, second) = web.asked
    assert first["authorization"].startswith("Basic ")
    assert first["x-key"] == "k"
    assert not {"authorization", "x-key"} & second.keys()


def test_endless_redirects_end(web: WebServer) -> None:
    """A circle of redirects is an error."""
    web.circle = True
    with pytest.raises(SourceError, match="redirects more than 10 times"):
        open_url(f"{web.url}/redirect?to=/a.tar")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a"])
def test_redirects_stay_on_the_web(web: WebServer, target: str) -> None:
    """A redirect to anything but http(s) is not followed."""
    with pytest.raises(UnsafeUrlError, match="not followed"):
        open_url(f"{web.url}/redirect?to={target}")


def test_strangers_do_not_reach_this_machine(web: WebServer) -> None:
    """Under the policy for untrusted URLs, neither http nor a loopback address is opened."""
    policy = Policy(allow_private=False)
    with pytest.raises(UnsafeUrlError, match="schemes https"):
        open_url(f"{web.url}/a.tar", policy=policy)
    for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"):
        with pytest.raises(UnsafeUrlError, match="ATDATA_ALLOW_PRIVATE"):
            open_url(f"https://{host}/a.tar", policy=policy)
    assert web.asked == []


def test_strangers_may_be_allowed_in(web: WebServer) -> None:
    """With private addresses allowed, an untrusted http URL is read."""
    web.files["/a.tar"] = DATA
    with open_url(f"{web.url}/a.tar", policy=Policy(allow_private=True)) as stream:
        assert stream.read() == DATA


@pytest.mark.parametrize("url", ["http://", "http:///x", "http://[::1/x", "http://a:b/x"])
def test_what_is_no_url_says_so(url: str) -> None:
    """A malformed URL is a UrlError."""
    with pytest.raises(UrlError):
        open_url(url)


def test_a_forked_child_reads_on(web: WebServer) -> None:
    """A stream opened before a fork is read whole by parent and child, each on its own."""
    web.files["/a.tar"] = DATA
    with open_url(f"{web.url}/a.tar") as stream:
        assert stream.read(10) == DATA[:10]
        child = os.fork()
        if child == 0:
            os._exit(0 if stream.read() == DATA[10:] else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert stream.read() == DATA[10:]


def test_json(web: WebServer) -> None:
    """A JSON document is parsed; missing, malformed and too large have errors of their own."""
    web.files["/doc"] = b'{"a": 1}'
    web.files["/page"] = b"<html>"
    assert get_json(f"{web.url}/doc", params={"x": "y z"}) == {"a": 1}
    assert web.asked[-1][0] == "/doc?x=y+z"
    with pytest.raises(NotFoundError):
        get_json(f"{web.url}/none")
    with pytest.raises(SourceError, match="expected JSON"):
        get_json(f"{web.url}/page")
    with pytest.raises(SourceError, match="longer than 4 bytes"):
        get_json(f"{web.url}/doc", max_bytes=4)
