"""Several processes of several threads write to one index at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from atdata.local import LocalIndex
from tests.local.conftest import MakeDigits

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 4


def test_nothing_is_lost_or_doubled(place: str, digits: MakeDigits) -> None:
    """Four processes of four threads insert at once: every content is there, and each once."""
    same = digits(100, samples=1).shard_list
    own = [
        [digits(10 * process + number, samples=1).shard_list[0] for number in range(4)]
        for process in range(PROCESSES)
    ]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.local.writing", place, str(number), *same, *own[number]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for number in range(PROCESSES)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    said: list[list[str]] = []
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        output, _ = process.communicate()
        assert process.returncode == 0
        said += [line.split(" ") for line in output.splitlines()]
    with LocalIndex(place) as index:
        names = [entry.name for entry in index.list_datasets()]
        expected = {f"own-{p}-{n}" for p in range(PROCESSES) for n in range(4)}
        assert sorted(names) == sorted(expected | {"same", "contested"})
        assert len(index.history("same")) == 1
        contested = index.history("contested")
        assert [entry.revision for entry in contested] == list(range(1, 17))
        assert len({entry.cid for entry in contested}) == 16
        assert len(list(index.list_schemas())) == 1
        for name, cid, revision in said:
            assert index.history(name)[int(revision) - 1].cid == cid
