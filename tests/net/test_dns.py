"""TXT records, asked of a real nameserver."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atdata.errors import SourceError
from atdata.net.dns import system_servers, txt_records
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
    """Records arrive whole, over TCP if they are large, and forged answers are ignored."""
    dns.manner = manner
    assert txt_records(NAME, [("127.0.0.1", dns.port)]) == dns.texts[NAME]
    assert dns.asked[-1] == f"{'tcp' if manner == 'large' else 'udp'} {NAME}"


@pytest.mark.parametrize(
    "manner", ["silent", "refuses", "cut", "garbage", "many", "names in circles"]
)
def test_a_server_that_cannot_say(dns: Nameserver, manner: str) -> None:
    """Where one nameserver does not answer, or answers nonsense, the next one is asked."""
    dns.manner = manner
    with nameserver() as other:
        other.texts = dns.texts
        servers = [("127.0.0.1", dns.port), ("127.0.0.1", other.port)]
        assert txt_records(NAME, servers, answer_seconds=0.1) == dns.texts[NAME]
    with pytest.raises(SourceError, match=r"no nameserver answers \(127\.0\.0\.1\)"):
        txt_records(NAME, [("127.0.0.1", dns.port)], answer_seconds=0.1)


def test_a_server_by_name(dns: Nameserver) -> None:
    """A nameserver may be given by its name, and one whose name is unknown does not answer."""
    assert txt_records(NAME, [("localhost", dns.port)]) == dns.texts[NAME]
    with pytest.raises(SourceError, match=r"no nameserver answers \(dns\.invalid\)"):
        txt_records(NAME, [("dns.invalid", dns.port)])


def test_names_without_records(dns: Nameserver) -> None:
    """A name that does not exist, or is too long to be one, has no records."""
    assert txt_records("nobody.someone.com", [("127.0.0.1", dns.port)]) == []
    assert txt_records("a." * 127 + "com", [("127.0.0.1", 9)]) == []
    assert txt_records("a" * 64 + ".com", [("127.0.0.1", 9)]) == []
    dns.texts["nothing.someone.com"] = []
    assert txt_records("nothing.someone.com", [("127.0.0.1", dns.port)]) == []


def test_the_systems_servers() -> None:
    """The system's nameservers are at most three, each an address and a port."""
    found = system_servers()
    assert len(found) <= 3
    assert all(port == 53 and host for host, port in found)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=600))
def test_any_answer(dns: Nameserver, noise: bytes) -> None:
    """Whatever a nameserver sends after its number, there are texts or one error of ours."""
    dns.manner, dns.noise = "noise", noise
    try:
        found = txt_records(NAME, [("127.0.0.1", dns.port)], answer_seconds=0.01)
    except SourceError:
        return
    assert all(isinstance(text, str) for text in found)
