"""JAX: its ranks are found, its arrays take the batches. Each process of it is a real one.

Needs JAX, which is not among the locked packages: `make test-torch` runs these tests with it.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from atdata import write_samples
from tests.training.items import items

if importlib.util.find_spec("jax") is None:
    pytest.skip(
        "JAX is not installed; make test-torch installs it and runs these tests",
        allow_module_level=True,
    )

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, sys
import jax
import jax.numpy as jnp
import atdata
from tests.training.items import Item

rank, world, port = map(int, sys.argv[2:5])
if world > 1:
    jax.distributed.initialize(f"127.0.0.1:{port}", world, rank)
dataset = atdata.Dataset[Item](sys.argv[1])
mean = jax.jit(jnp.mean)
steps = []
for batch in dataset.split(even="drop").batches(4, shuffle=True):
    assert mean(batch["image"]) == batch["number"].mean()
    steps.append(jnp.asarray(batch["number"]).tolist())
try:
    dataset.split(0, world + 1)
    said = ""
except atdata.errors.OptionError as error:
    said = str(error)
print(json.dumps([jax.process_index(), jax.process_count(), steps, said]))
"""


def run(folder: Path, world: int) -> list[list[object]]:
    """What each process of JAX printed."""
    (folder / "program.py").write_text(PROGRAM)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(folder / "program.py"), str(folder)]
    running = [
        subprocess.Popen(
            [*command, str(rank), str(world), str(port)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    printed = [process.communicate(timeout=240)[0] for process in running]
    assert [process.returncode for process in running] == [0] * world
    return [json.loads(text) for text in printed]


@pytest.mark.parametrize("world", [1, 2])
def test_the_ranks_of_jax_are_found(tmp_path: Path, world: int) -> None:
    """One process reads all, two read halves in step; another world size is contradicted."""
    write_samples(items(101), tmp_path / "items.tar", maxcount=37)
    found = run(tmp_path, world)
    assert [rank[:2] for rank in found] == [[rank, world] for rank in range(world)]
    seen = [n for _, _, steps, _ in found for step in steps for n in step]  # type: ignore[attr-defined]
    assert len(seen) == len(set(seen)) == 101 // world * world
    assert len({len(steps) for _, _, steps, _ in found}) == 1  # type: ignore[arg-type]
    for rank, *_, said in found:
        assert (f"this process is rank {rank} of {world}" in str(said)) is (world > 1)
