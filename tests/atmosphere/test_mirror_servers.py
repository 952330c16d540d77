"""A mirror whose servers are killed or cut off ends with what they list."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atdata.errors import AtmosphereError
from atdata.local import LocalIndex
from atdata.testing import network as net
from atdata.testing.network import Account
from tests.atmosphere.moving import move
from tests.atmosphere.publishing import (
    DATASET,
    SCHEMA,
    call,
    create,
    dataset_record,
    delete,
    logged_in,
    schema_record,
    update,
    write_all,
)
from tests.atmosphere.test_accounts import administer
from tests.atmosphere.test_mirror import expected, kept, until
from tests.services.dns import Nameserver, nameserver
from tests.services.pds import LoneServer
from tests.services.proxy import FaultProxy


class Writer(threading.Thread):
    """Writes, changes and deletes records of an account without a pause, until stopped."""

    def __init__(self, account: Account) -> None:
        super().__init__(daemon=True)
        self.client = logged_in(account)
        self.written = self.failed = 0
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        """Ignore failures: only the server knows whether a write was done."""
        number, did = 0, self.client.did
        last: int | None = None
        while not self.over.wait(0.1):
            number += 1
            writes = [create(DATASET, f"{number}-{n}", dataset_record(did, "x")) for n in range(4)]
            if last is not None:
                writes += [
                    update(DATASET, f"{last}-0", dataset_record(did, "y", f"word{number}")),
                    delete(DATASET, f"{last}-1"),
                ]
            try:
                write_all(self.client, writes)
            except AtmosphereError:
                # Perhaps it was done: what is deleted cannot be deleted again.
                last = None
                self.failed += 1
            else:
                last = number
                self.written += len(writes)

    def stop(self) -> None:
        """Wait until it has finished."""
        self.over.set()
        self.join()


@contextmanager
def mirroring(place: Path, servers: list[str]) -> Iterator[None]:
    """A process that follows these servers into an index, and is killed at the end."""
    command = [sys.executable, "-m", "atdata", "discover", *servers, "--follow"]
    process = subprocess.Popen(
        [*command, "--into", str(place)], env=os.environ, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def named(dns: Nameserver, account: Account, handle: str = "") -> Account:
    """The account, whose handle DNS resolves."""
    dns.texts[f"_atproto.{handle or account.handle}"] = [f"did={account.did}"]
    return account


def test_servers_are_killed_and_accounts_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror survives killed servers and a cut network, and accounts that were deleted, moved
    and renamed while it was down."""
    place = tmp_path / "mirror.db"
    monkeypatch.setenv("ATDATA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("ATDATA_PDS_URL", raising=False)
    with (
        net.start(servers=0, accounts=()) as directory,
        LoneServer(directory.plc_url) as one,
        LoneServer(directory.plc_url) as two,
        FaultProxy(two.url.replace("http://", "ws://")) as proxy,
        nameserver() as dns,
        LocalIndex(place) as index,
    ):
        monkeypatch.setenv("ATDATA_PLC_URL", directory.plc_url)
        monkeypatch.setenv("ATDATA_DNS_URL", dns.url)
        servers = [one.url, proxy.url.replace("ws://", "http://")]
        homes = {"stays": one, "renamed": one, "deleted": one, "left": two, "moves": two}
        who = {name: named(dns, home.network.create_account()) for name, home in homes.items()}
        for account in who.values():
            client = logged_in(account)
            records = [create(DATASET, key, dataset_record(client.did, key)) for key in "abc"]
            write_all(client, [*records, create(SCHEMA, "a", schema_record("A"))])
        writers = [Writer(named(dns, home.network.create_account())) for home in (one, two)]
        dids = [account.did for account in who.values()] + [w.client.did for w in writers]

        def has_followed(times: int = 1) -> None:
            """Keep waiting until events of both streams are applied."""
            for _ in range(times):
                before = [index.mirrored.cursor(url) or 0 for url in servers]
                until(
                    lambda: all(
                        (index.mirrored.cursor(url) or 0) > seen
                        for url, seen in zip(servers, before, strict=True)  # noqa: B023
                    ),
                    minutes=3,
                )

        kills = 0
        with mirroring(place, servers):
            has_followed()
            for server in (one, two, one):
                server.kill()
                kills += 1
                server.start()
                has_followed()
            for _ in range(2):
                proxy.refuse()
                written = writers[1].written
                until(lambda: writers[1].written > written + 20)  # noqa: B023
                proxy.accept()
                has_followed()
            one.kill()
            two.kill()
            kills += 2
        # The mirror is down from here on.
        one.start()
        two.start()
        renamed = f"n{who['renamed'].handle}"
        named(dns, who["renamed"], renamed)
        body = {"did": who["renamed"].did, "handle": renamed}
        administer(one.network, "com.atproto.admin.updateAccountHandle", body)
        administer(one.network, "com.atproto.admin.deleteAccount", {"did": who["deleted"].did})
        call(logged_in(who["left"]), "deactivateAccount", {}, of="server")
        who["moves"] = move(who["moves"], two, one)
        mover = logged_in(who["moves"])
        write_all(
            mover, [delete(DATASET, "a"), create(DATASET, "d", dataset_record(mover.did, "d"))]
        )
        with mirroring(place, servers):
            has_followed()
            write_all(mover, [create(DATASET, "e", dataset_record(mover.did, "e"))])
            for writer in writers:
                writer.stop()
            gone = {who["deleted"].did, who["left"].did}
            wanted = expected([did for did in dids if did not in gone])
            until(lambda: kept(index) == wanted, minutes=3)
            uri = f"at://{who['renamed'].did}/{DATASET}/a"
            until(lambda: index.get_dataset(uri).title == f"@{renamed}/a")
            moved = f"at://{mover.did}/{DATASET}/e"
            assert index.get_dataset(moved).title == f"@{mover.handle}/e"
            assert len([uri for uri in wanted if mover.did in uri]) == 5
        written, failed = (sum(getattr(w, name) for w in writers) for name in ("written", "failed"))
        assert written
        print(f"{written} writes, {failed} that failed, {kills} servers killed, {len(wanted)} left")
