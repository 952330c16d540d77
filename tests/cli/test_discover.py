"""``atdata discover`` and ``atdata search``, as a user types them."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from atdata.testing.network import Account, Network
from tests.cli.commands import atdata_command, documents, running
from tests.cli.test_network import INSERT, reading, writing


@pytest.fixture
def account(network: Network) -> Account:
    """A new account for this test."""
    return network.create_account()


def test_what_is_published_is_found_and_kept(
    folder: Path, network: Network, account: Account, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Anyone can find a promoted dataset on its server, mirror it, search it and follow it."""
    documents(folder, *INSERT, "--type", "rows:Row")
    promote = ("promote", "rows", "--store", "blobs", "--tag", "words", "--license", "MIT")
    [done] = documents(folder, *promote, more=writing(network, account))

    reader, more = tmp_path_factory.mktemp("reader"), reading(network)
    found = documents(reader, "discover", account.server_url, more=more)
    assert done["uri"] in [one["uri"] for one in found]
    into = ("--into", "mirror.db")
    [counts] = documents(reader, "discover", account.server_url, *into, more=more)
    assert counts["put"] >= 2
    assert counts["broken"] < counts["put"]
    query = ("search", "rows", "--tag", "words", "--license", "mit", "--index", "mirror.db")
    kept = {one["name"]: one for one in documents(reader, *query)}
    assert kept[done["uri"]]["title"] == f"@{account.handle}/rows"
    assert documents(reader, *query, "--tag", "other") == []
    shown = atdata_command(reader, "search", "row", "--index", "mirror.db")
    assert f"@{account.handle}/rows\t20\twords\tMIT\t" in shown.stdout

    query = (*query[:-1], "followed.db")
    follow = ("discover", account.server_url, "--into", "followed.db", "--follow", "--json")
    with running(reader, *follow, more=more) as follower:
        # Searching makes no index, so until the follower has made it the search fails.
        while not ((reader / "followed.db").exists() and documents(reader, *query)):
            assert follower.poll() is None
        follower.send_signal(signal.SIGINT)
        out, _ = follower.communicate(timeout=60)
    assert follower.returncode == 0
    assert json.loads(out)["broken"] >= 0


def test_wrong_questions(folder: Path) -> None:
    """--follow without --into, and an unreachable server, end with their exit codes."""
    done = atdata_command(folder, "discover", "http://127.0.0.1:9", "--follow")
    assert (done.returncode, "--into" in done.stderr) == (2, True)
    done = atdata_command(folder, "discover", "nowhere")
    assert (done.returncode, "not the URL" in done.stderr) == (2, True)
    assert atdata_command(folder, "discover", "http://127.0.0.1:9").returncode == 6
    assert atdata_command(folder, "search", "a", "--limit", "0").returncode == 2
