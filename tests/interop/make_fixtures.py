"""Make ``fixtures/`` again: shards that other packages wrote, to be read wherever tests run.

    python -m tests.interop.make_fixtures

The peer gives a sample a key made from the clock: each run makes other bytes.
"""

from __future__ import annotations

import gzip
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from bench.envs import PEER, PEER_NPY, Environment, own_environ

HERE: Final = Path(__file__).parent
FIXTURES: Final = HERE / "fixtures"
PEERS: Final = (PEER, PEER_NPY)


def main() -> None:
    """Let each peer write, and keep what it wrote, compressed."""
    for peer in PEERS:
        with tempfile.TemporaryDirectory() as scratch:
            write_with(peer, Path(scratch))
            for shard in sorted(Path(scratch).glob("*.tar")):
                packed = FIXTURES / peer.name / f"{shard.name}.gz"
                packed.parent.mkdir(parents=True, exist_ok=True)
                packed.write_bytes(gzip.compress(shard.read_bytes(), 9, mtime=0))


def write_with(peer: Environment, folder: Path) -> None:
    """Let a peer write every case to a folder."""
    run_peer(peer, "write", folder)


def run_peer(peer: Environment, command: str, folder: Path) -> str:
    """Run ``peer.py`` in a peer's environment and return what it printed.

    Raises:
        bench.envs.EnvironmentMissing: The peer cannot be had here.
        RuntimeError: It failed; ends with the last lines that it wrote.
    """
    ran = subprocess.run(
        [peer.python(), HERE / "peer.py", command, folder],
        capture_output=True,
        text=True,
        timeout=300,
        env=own_environ(),
    )
    if ran.returncode != 0:
        raise RuntimeError(f"{peer.name} could not {command}: {ran.stderr[-2000:]}")
    return ran.stdout


if __name__ == "__main__":
    main()
