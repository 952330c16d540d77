"""Fixtures: the peers, run in environments of their own, and shards that they wrote."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.envs import PEER, PEER_NPY, Environment, EnvironmentMissing, NoPython, locked
from tests.interop.make_fixtures import FIXTURES, PEERS, run_peer, write_with

BY_NAME = {peer.name: peer for peer in PEERS}


@contextmanager
def skipped_without_peer() -> Iterator[None]:
    """Skip where no Python runs the peer; else a peer that cannot be had fails with CI=true."""
    try:
        yield
    except NoPython as missing:
        pytest.skip(str(missing))
    except EnvironmentMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(params=[PEER, PEER_NPY], ids=lambda peer: peer.name)
def read_with_peer(request: pytest.FixtureRequest) -> Callable[[Path], str]:
    """Let a peer read a folder of shards; gives the JSON that it printed."""
    peer: Environment = request.param

    def read(folder: Path) -> str:
        with skipped_without_peer():
            return run_peer(peer, "read", folder)

    return read


@pytest.fixture(
    scope="session",
    params=[(name, kept) for name in BY_NAME for kept in (True, False)],
    ids=lambda made: f"{made[0]}-{'kept' if made[1] else 'written-now'}",
)
def peer_shards(
    request: pytest.FixtureRequest, run_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder of shards that a peer wrote: those kept with the tests, and fresh ones."""
    name, kept = request.param
    if not kept:
        return _written_now(name, run_folder)
    folder = tmp_path_factory.mktemp("peer-shards")
    for packed in (FIXTURES / name).glob("*.tar.gz"):
        (folder / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


def _written_now(name: str, run_folder: Path) -> Path:
    folder = run_folder / f"shards-of-{name}"
    with locked(run_folder / f"{folder.name}.lock"), skipped_without_peer():
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=run_folder) as scratch:
                made = Path(scratch) / "made"
                made.mkdir()
                write_with(BY_NAME[name], made)
                made.rename(folder)
    return folder
