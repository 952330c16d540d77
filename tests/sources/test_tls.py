"""https: certificates are checked against the name, also where the address was checked first."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from atdata.errors import SourceError, UnsafeUrlError
from atdata.net.http import open_url
from atdata.net.policy import Policy
from tests.sources.web import WebServer, web_server

DATA = b"data" * 100_000


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[WebServer]:
    """A server whose certificate, which nobody has vouched for yet, is for localhost alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    with web_server(context) as server:
        server.files["/a.tar"] = DATA
        yield server


@pytest.fixture
def trusted(secure: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> WebServer:
    """The same, its certificate trusted by the environment."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    return secure


def by_name(server: WebServer) -> str:
    """The file's URL with the name that the certificate is for."""
    return server.url.replace("127.0.0.1", "localhost") + "/a.tar"


@pytest.mark.parametrize("policy", [None, Policy(allow_private=True)])
def test_a_trusted_certificate_for_the_name(trusted: WebServer, policy: Policy | None) -> None:
    """With a certificate that is trusted and for this name, the file is read, checked or not."""
    with open_url(by_name(trusted), policy=policy) as stream:
        assert stream.read() == DATA
    assert trusted.asked[0][1]["host"] == by_name(trusted).split("/")[2]


@pytest.mark.parametrize("policy", [None, Policy(allow_private=True)])
def test_a_certificate_for_another_name(trusted: WebServer, policy: Policy | None) -> None:
    """A trusted certificate of another name than the URL's is refused, at once."""
    with pytest.raises(SourceError, match="certificate cannot be verified"):
        open_url(f"{trusted.url}/a.tar", policy=policy)
    assert trusted.asked == []


@pytest.mark.parametrize("policy", [None, Policy(allow_private=True)])
def test_a_certificate_that_nobody_vouches_for(secure: WebServer, policy: Policy | None) -> None:
    """A certificate that is not trusted is refused, and the error says what to set."""
    with pytest.raises(SourceError, match="SSL_CERT_FILE"):
        open_url(by_name(secure), policy=policy)


def test_a_redirect_from_https_to_http(trusted: WebServer) -> None:
    """A redirect that leaves https is not followed."""
    url = by_name(trusted).replace("/a.tar", "/redirect?to=http://localhost/a.tar")
    with pytest.raises(UnsafeUrlError, match="from https to http"):
        open_url(url)
