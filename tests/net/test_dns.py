"""TXT records, asked of a real nameserver."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.errors import SourceError
from atdata.net.dns import _is_answer, _texts, system_servers, txt_records
from tests.services.dns import Nameserver, nameserver

NAME = "_atproto.alice.someone.com"


@pytest.fixture
def dns() -> Iterator[Nameserver]:
    """A nameserver of this test alone, which knows one name."""
    with nameserver() as server:
        server.texts[NAME] = ["v=spf1", "did=did:plc:" + "b" * 24]
        yield server


@pytest.mark.parametrize(
    "manner",
    ["", "large", "another number first", "another question first", "alias", "capitals"],
)
def test_records_are_found(dns: Nameserver, manner: str) -> None:
    """The records arrive whole, over TCP where they are large, and nobody else's word is taken."""
    dns.manner = manner
    assert txt_records(NAME, [("127.0.0.1", dns.port)]) == dns.texts[NAME]
    assert dns.asked[-1] == f"{'tcp' if manner == 'large' else 'udp'} {NAME}"


@pytest.mark.parametrize("manner", ["silent", "refuses", "cut", "garbage", "many"])
def test_a_server_that_cannot_say(dns: Nameserver, manner: str) -> None:
    """Where one nameserver does not answer, or not with sense, the next one is asked."""
    dns.manner = manner
    with nameserver() as other:
        other.texts = dns.texts
        servers = [("127.0.0.1", dns.port), ("127.0.0.1", other.port)]
        assert txt_records(NAME, servers) == dns.texts[NAME]
    if manner != "silent":
        with pytest.raises(SourceError, match=r"no nameserver answers \(127\.0\.0\.1\)"):
            txt_records(NAME, [("127.0.0.1", dns.port)])


def test_names_that_are_none(dns: Nameserver) -> None:
    """A name that is not there, or too long to be one, has no records."""
    assert txt_records("nobody.someone.com", [("127.0.0.1", dns.port)]) == []
    assert txt_records("a." * 127 + "com", [("127.0.0.1", 9)]) == []
    dns.texts["nothing.someone.com"] = []
    assert txt_records("nothing.someone.com", [("127.0.0.1", dns.port)]) == []


def test_the_systems_servers() -> None:
    """The system's nameservers are at most three, each an address and a port."""
    found = system_servers()
    assert len(found) <= 3
    assert all(port == 53 and host for host, port in found)


@given(st.binary(max_size=600), st.integers(0, 40))
def test_any_answer(answer: bytes, at: int) -> None:
    """Whatever a nameserver sends, there are texts, no answer, or an error that is caught."""
    head = b"ab\x81\x80\0\1"
    question = b"\1a\0\0\x10\0\1"
    if _is_answer(answer, b"ab", question):
        _texts(answer, 12)
    whole = head + answer
    if len(whole) >= 12:
        try:
            _texts(whole, min(12 + at, len(whole)))
        except ValueError:
            return
