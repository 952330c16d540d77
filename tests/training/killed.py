"""Kills training processes, and looks for what is left of them 5 s later.

``python -m tests.training.killed --runs 50`` kills so many, each with other options; needs PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from atdata import Dataset, write_samples
from tests.training.items import Blob

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 5.0
"""What is left after so many seconds was left for ever."""
IN_THE_MAKING = 60.0
"""The same for workers that have not begun: while PyTorch is imported, nothing is looked at."""
MARK = "ATDATA_TEST_KILLED"
SIZES = [1_000, 64_000, 100_000, 200_000, 640_000, 3_000_000]
"""Bytes of a batch; pipes have room for 64 kB, and what is over 1 MB is in shared memory."""


def options_of(number: int, seed: int = 0) -> dict[str, Any]:
    """What the process of one run does: the first runs go through everything there is."""
    rng = random.Random(f"{seed} {number}")
    return {
        "context": ["fork", "spawn", "forkserver"][number % 3],
        "workers": [2, 3, 1, 2, 3, 0][number % 6],
        "persistent": rng.random() < 0.5,
        "bytes": SIZES[number % len(SIZES)] if number % 5 else rng.choice(SIZES),
        "loader": rng.choice(["ours", "ours", "DataLoader", "StatefulDataLoader"]),
        "epochs": rng.choice([0, 0, 1]),
        "steps": rng.choice([0, 1, 2, 5]),
        "strategy": rng.choice(["file_descriptor", "file_descriptor", "file_system"]),
        "signal": rng.choice(["SIGKILL", "SIGTERM"]),
    }


def train(folder: str, how: dict[str, Any]) -> None:
    """What is killed: reads some batches, and waits then, with workers that read ahead."""
    import torch

    torch.multiprocessing.set_sharing_strategy(how["strategy"])
    batch = 4
    loader: Any = Dataset[Blob](folder).to_torch(
        batch,
        shuffle=True,
        num_workers=how["workers"],
        persistent_workers=how["persistent"],
        multiprocessing_context=how["context"] if how["workers"] else None,
        prefetch_factor=4,
    )
    if how["loader"] != "ours":
        made: Any = torch.utils.data.DataLoader
        if how["loader"] == "StatefulDataLoader":
            from torchdata.stateful_dataloader import StatefulDataLoader

            made = StatefulDataLoader
        more: dict[str, Any] = {"multiprocessing_context": how["context"], "prefetch_factor": 4}
        more["persistent_workers"] = how["persistent"]
        loader = made(
            loader.dataset,
            batch_size=None,
            num_workers=how["workers"],
            **(more if how["workers"] else {}),
        )
    for _ in range(how["epochs"]):
        for _ in loader:
            pass
    if not how["steps"]:
        # Killed while workers begin.
        print("ready", flush=True)
    batches = iter(loader)
    for _ in range(how["steps"] or 1):
        next(batches)
    print("ready", flush=True)
    signal.pause()


def left_of(mark: str) -> list[int]:
    """Processes that one run began and that live."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            lives = (folder / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            if lives and f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def run(folder: str, how: dict[str, Any]) -> tuple[int, float]:
    """Begin one training process and kill it.

    Returns:
        How many processes are left, and how many seconds it took until none was.
    """
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "tests.training.killed", "--train", folder, json.dumps(how)]
    environment = {**os.environ, MARK: mark, "OMP_NUM_THREADS": "1"}
    began = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert began.stdout is not None
    assert began.stdout.readline() == "ready\n", how
    assert not how["steps"] or len(left_of(mark)) > how["workers"], how
    os.kill(began.pid, signal.Signals[how["signal"]])
    killed = time.monotonic()
    began.wait()
    began.stdout.close()
    limit = SECONDS if how["steps"] else IN_THE_MAKING
    while (left := left_of(mark)) and time.monotonic() - killed < limit:
        time.sleep(0.02)
    took = time.monotonic() - killed
    for process in left:
        os.kill(process, signal.SIGKILL)
    return len(left), took


def blobs(folder: str, size: int) -> None:
    """Samples of which four are a batch of so many bytes."""
    data = np.zeros(size // 4, np.uint8)
    write_samples([Blob(data, i) for i in range(80)], Path(folder) / "blobs.tar", maxcount=30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", nargs=2, metavar=("FOLDER", "OPTIONS"))
    asked = parser.parse_args()
    if asked.train is not None:
        train(asked.train[0], json.loads(asked.train[1]))
        return
    failed, longest = 0, {True: 0.0, False: 0.0}
    with tempfile.TemporaryDirectory() as top:
        for size in SIZES:
            (Path(top) / str(size)).mkdir()
            blobs(f"{top}/{size}", size)
        for number in range(asked.runs):
            how = options_of(number, asked.seed)
            left, took = run(f"{top}/{how['bytes']}", how)
            failed += bool(left)
            has_begun = how["steps"] > 0
            longest[has_begun] = max(longest[has_begun], took)
            if left:
                print(f"{left} processes left after {took:.1f} s: {how}", flush=True)
    print(
        f"{asked.runs} training processes killed, seed {asked.seed}: of {failed} something was "
        f"left after {SECONDS} s; the longest took {longest[True]:.2f} s, and of those whose "
        f"workers had not begun {longest[False]:.2f} s"
    )
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
