"""What an untrusted URL may reach."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata._registry import SHARD_SCHEMES
from atdata._secrets import redacted
from atdata.errors import SourceError, UnsafeUrlError
from atdata.net.policy import STRANGER, Policy, is_public


@pytest.mark.parametrize("private", [False, True])
def test_the_table_of_schemes_decides(private: bool) -> None:
    """Of all readable schemes, a stranger may name those that the table allows."""
    policy = Policy(allow_private=private)
    for scheme in (*SHARD_SCHEMES, "of-another-package"):
        row = SHARD_SCHEMES.get(scheme)
        wanted = row is not None and row.from_network in (("always", "private")[: 1 + private])
        try:
            policy.check_url(f"{scheme}://host/a.tar")
        except UnsafeUrlError:
            assert not wanted, scheme
        else:
            assert wanted, scheme
    allowed = {name for name, row in SHARD_SCHEMES.items() if row.from_network == "always"}
    assert allowed == {"https", "s3", "at"}


@pytest.mark.parametrize(
    "url",
    [
        "pipe:cat /etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "relative.tar",
        "gs://b/k",
        "ftp://h/x",
        "http://example.com/x",
        "HTTP://example.com/x",
        "at:/://example.com/x",
        "https:x://y",
        "https://user@example.com/x",
        "https://example.com:22/x",
        "https:///x",
        "https://127.0.0.1\\@example.com/x",
        "",
    ],
)
def test_other_schemes_are_refused(url: str) -> None:
    """An untrusted URL is https, s3 or a blob, and nothing else."""
    with pytest.raises(UnsafeUrlError):
        Policy(allow_private=False).check_url(url)


@pytest.mark.parametrize("url", ["https://example.com/x", "s3://b/k", "at://did:plc:a/blob/b"])
def test_the_three_schemes_pass(url: str) -> None:
    """https, s3 and blobs pass."""
    Policy(allow_private=False).check_url(url)


def test_the_environment_decides_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """ATDATA_ALLOW_PRIVATE=1 counts from the moment when it is set."""
    monkeypatch.delenv("ATDATA_ALLOW_PRIVATE", raising=False)
    allowed = [STRANGER.private_allowed]
    monkeypatch.setenv("ATDATA_ALLOW_PRIVATE", "1")
    assert [*allowed, STRANGER.private_allowed] == [False, True]
    STRANGER.check_url("http://localhost/x")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "::127.0.0.1",
        "fec0::1",
        "5f00::1",
        "168.63.129.16",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    """Loopback, private, link-local and multicast addresses are not public, embedded or not."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_that_are_public(address: str) -> None:
    """Ordinary addresses of the internet are public."""
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_judged_like_itself(address: ipaddress.IPv4Address) -> None:
    """An IPv4 address embedded in IPv6 is as public as by itself."""
    mapped = ipaddress.IPv6Address((0xFFFF << 32) | int(address))
    assert is_public(str(mapped)) == is_public(str(address))


def test_a_host_that_is_not_there() -> None:
    """An error names the host that does not resolve."""
    with pytest.raises(SourceError, match=r"no-such-host\.invalid"):
        Policy().addresses("no-such-host.invalid", 443)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h/x?sig=1#f", "https://h/x?…"),
        ("https://h/x", "https://h/x"),
        ("/folder/a?b", "/folder/a?b"),
        ("s3://b/k?x", "s3://b/k?x"),
    ],
)
def test_secrets_in_urls_are_not_shown(url: str, shown: str) -> None:
    """Messages show a URL without password, query and fragment."""
    assert redacted(url) == shown
