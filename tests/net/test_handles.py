"""From a handle to its account by DNS and by the file of its host, on a public internet.

Names and addresses are of `tests.hostile.internet`; servers, sockets and TLS are real.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from atdata._limits import limits
from atdata.errors import IdentityError
from atdata.net.identity import resolve_handle, verified_handle
from tests.hostile import internet
from tests.services.dns import Nameserver, nameserver
from tests.sources.web import WebServer, web_server

ALICE = "alice.someone.com"
DID = "did:plc:" + "a" * 24
OTHER = "did:plc:" + "b" * 24
FILE = "/.well-known/atproto-did"


@dataclass
class Internet:
    """The hosts and identities of a pretended internet."""

    web: WebServer
    """The address of every public name."""
    dns: Nameserver
    contacted: list[str]
    """Addresses that were connected to, except the nameserver's."""

    def account(self, did: str, *names: str) -> None:
        """Add an account to the directory."""
        document = {"id": did, "alsoKnownAs": [f"at://{name}" for name in names]}
        self.web.files[f"/{did}"] = json.dumps(document).encode()

    def text(self, *texts: str) -> None:
        """Set the TXT records of Alice's name."""
        self.dns.texts[f"_atproto.{ALICE}"] = list(texts)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Internet]:
    """An internet of this test alone."""
    trusted = internet.certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, tmp_path / "key.pem")
    with web_server(context) as web, nameserver() as dns:
        contacted: list[str] = []
        port = int(web.url.rpartition(":")[2])
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        monkeypatch.setenv("ATDATA_PLC_URL", "https://plc.someone.com")
        monkeypatch.setenv("ATDATA_DNS_URL", dns.url)
        monkeypatch.delenv("ATDATA_PDS_URL", raising=False)
        # The world's names and addresses are not this machine's to have. Only where they lead is
        # changed; the servers behind them, sockets and TLS are real.
        routed = internet.routed(port, contacted.append, own=(dns.port,))
        monkeypatch.setattr(socket, "getaddrinfo", internet.resolve)
        monkeypatch.setattr(socket, "socket", routed)
        found = Internet(web, dns, contacted)
        found.account(DID, ALICE)
        yield found
        monkeypatch.undo()


@pytest.mark.parametrize("body", [DID, f"{DID}\n", f" {DID}\r\n"])
def test_by_file(there: Internet, body: str) -> None:
    """The file on its host names a handle's account; a newline at its end does not matter."""
    there.web.files[FILE] = body.encode()
    assert resolve_handle(f"@{ALICE.upper()}") == DID
    assert verified_handle(DID) == ALICE
    assert (FILE, ALICE) in [(path, sent["host"]) for path, sent in there.web.asked]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        f"{DID}\n{OTHER}".encode(),
        f"did={DID}".encode(),
        f'"{DID}"'.encode(),
        b"did:plc:",
        b"\xff\xfe",
        f"{DID}#atproto_pds".encode(),
        DID.encode() + b" " * 3_000,
        DID.encode() + b"\0",
        None,
    ],
)
def test_files_that_name_nobody(there: Internet, body: bytes | None) -> None:
    """A file that is missing, too long, or not exactly one DID names nobody."""
    if body is not None:
        there.web.files[FILE] = body
    with pytest.raises(IdentityError, match=f"{ALICE}' does not resolve"):
        resolve_handle(ALICE)
    assert verified_handle(DID) is None


def test_a_file_that_its_server_packs(there: Internet) -> None:
    """A file with a content encoding is not decompressed."""
    there.web.files[FILE] = DID.encode()
    there.web.encoding = "gzip"
    assert resolve_handle(ALICE) == DID


@pytest.mark.parametrize(
    ("to", "leads"),
    [
        ("https://someone.com/did", True),
        ("/did", True),
        ("http://someone.com/did", False),
        ("https://private.someone.com/did", False),
        ("https://169.254.169.254/did", False),
        ("https://[::ffff:127.0.0.1]/did", False),
        ("https://0x7f.1/did", False),
        ("file:///etc/passwd", False),
    ],
)
def test_a_file_behind_a_redirect(there: Internet, to: str, leads: bool) -> None:
    """A redirect is followed within https and the public internet, and nowhere else."""
    there.web.files["/did"] = DID.encode()
    there.web.moved[FILE] = to
    if leads:
        assert resolve_handle(ALICE) == DID
    else:
        with pytest.raises(IdentityError):
            resolve_handle(ALICE)
    assert set(there.contacted) == {internet.PUBLIC}


def test_redirects_in_circles(there: Internet) -> None:
    """Redirects that lead to one another name nobody."""
    there.web.moved[FILE] = FILE
    with pytest.raises(IdentityError):
        resolve_handle(ALICE)


def test_a_host_that_is_not_public(there: Internet) -> None:
    """A handle whose host is in a private network is not asked for its file."""
    there.account(DID, "private.someone.com")
    there.web.files[FILE] = DID.encode()
    with pytest.raises(IdentityError):
        resolve_handle("private.someone.com")
    assert there.contacted == []


def test_a_host_that_keeps_silent(there: Internet) -> None:
    """A host that does not answer in time names nobody, and does not block."""
    over = threading.Event()

    def program(query: dict[str, str]) -> bytes:
        over.wait(30)
        return DID.encode()

    there.web.programs[FILE] = program
    with limits.set(document_seconds=1), pytest.raises(IdentityError):
        resolve_handle(ALICE)
    over.set()


def test_an_account_that_names_another_handle(there: Internet) -> None:
    """If the account does not name the handle in turn, that is an error, however it was found."""
    there.account(OTHER, "bob.someone.com")
    there.web.files[FILE] = OTHER.encode()
    with pytest.raises(IdentityError, match="does not name it"):
        resolve_handle(ALICE)
    there.text(f"did={OTHER}")
    with pytest.raises(IdentityError, match="does not name it"):
        resolve_handle(ALICE)


@pytest.mark.parametrize("manner", ["", "large", "alias", "another number first"])
def test_by_dns_before_the_file(there: Internet, manner: str) -> None:
    """DNS takes precedence: the file is not even requested, whatever it holds."""
    there.account(OTHER, ALICE)
    there.web.files[FILE] = OTHER.encode()
    there.text("v=spf1 -all", f"did={DID}")
    there.dns.manner = manner
    assert resolve_handle(ALICE) == DID
    assert verified_handle(DID) == ALICE
    assert verified_handle(OTHER) is None
    assert FILE not in [path for path, _ in there.web.asked]


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([f"did={DID}", f"did={DID}"], DID),
        ([f"did={DID}", "did=alice", "did="], DID),
        ([f"did={DID}", f"did={OTHER}"], None),
        ([f"DID={OTHER}", OTHER, "did=nobody"], DID),
        ([], DID),
    ],
    ids=["twice", "with nonsense", "two accounts", "nobody", "no records"],
)
def test_records_and_a_file(there: Internet, texts: list[str], found: str | None) -> None:
    """Two accounts in DNS name nobody, whatever the file holds; with none, the file counts."""
    there.web.files[FILE] = DID.encode()
    there.text(*texts)
    if found:
        assert resolve_handle(ALICE) == found
    else:
        with pytest.raises(IdentityError, match="does not resolve"):
            resolve_handle(ALICE)


@pytest.mark.parametrize("manner", ["refuses", "garbage", "cut", "silent"])
def test_dns_that_cannot_say(there: Internet, manner: str) -> None:
    """If DNS does not answer, or answers nonsense, the file counts."""
    there.text(f"did={OTHER}")
    there.web.files[FILE] = DID.encode()
    there.dns.manner = manner
    assert resolve_handle(ALICE) == DID


def test_a_certificate_of_another_name(there: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of a host that cannot prove its name is not believed."""
    resolve = internet.NAMES | {"alice.elsewhere.com": [internet.PUBLIC]}
    monkeypatch.setattr(internet, "NAMES", resolve)
    there.account(DID, "alice.elsewhere.com")
    there.web.files[FILE] = DID.encode()
    with pytest.raises(IdentityError, match="does not resolve"):
        resolve_handle("alice.elsewhere.com")
    assert [path for path, _ in there.web.asked] == []
