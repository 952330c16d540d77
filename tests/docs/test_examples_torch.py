"""The programs in examples/ that need PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.running import run
from tests.docs.test_examples import EXAMPLES

pytest.importorskip("torch", reason="PyTorch is not installed; make torch installs it")


def test_train_and_resume(tmp_path: Path) -> None:
    """The second run continues where the first one stopped, to the end of the second epoch."""
    first = run(EXAMPLES / "train_and_resume.py", tmp_path, {})
    assert first.stdout == "stopped after batch 25\n"
    second = run(EXAMPLES / "train_and_resume.py", tmp_path, {})
    assert second.stdout.startswith("resuming after batch 25\nfinished after batch 78, loss ")
