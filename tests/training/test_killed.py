"""Nothing is left of a training process that was killed; `killed.py` kills many more.

Needs PyTorch, which is not among the locked packages: `make test-torch` says how to run these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.killed import blobs, run

pytest.importorskip(
    "torch", reason="PyTorch is not installed; make test-torch runs these tests with it"
)


@pytest.mark.parametrize(
    ("context", "workers", "size", "loader"),
    [("fork", 3, 100_000, "ours"), ("spawn", 1, 640_000, "DataLoader")],
)
def test_workers_end_with_the_process_that_is_killed(
    context: str, workers: int, size: int, loader: str, tmp_path: Path
) -> None:
    """Also where they wait for room in a pipe that nobody reads any more."""
    blobs(str(tmp_path), size)
    how: dict[str, Any] = {"context": context, "workers": workers, "persistent": True}
    how |= {"bytes": size, "loader": loader, "epochs": 0, "steps": 2}
    left, _ = run(str(tmp_path), {**how, "strategy": "file_descriptor", "signal": "SIGKILL"})
    assert not left
