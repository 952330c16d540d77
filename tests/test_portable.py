"""Core tests pass without what macOS and Windows lack, in an interpreter where it is hidden."""

from __future__ import annotations

import subprocess
import sys

from tests.portable import CORE, QUICK, ROOT


def test_reading_writing_and_indexing_need_no_posix_calls() -> None:
    """Samples, shards, datasets and an SQLite index work without fork, preadv, flock and /proc."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.portable", "-q", "-p", "no:cacheprovider", *QUICK],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_core_tests_exist() -> None:
    """A file that was renamed is still run by ``python -m tests.portable``."""
    assert [path for path in (*CORE, *QUICK) if not (ROOT / path).exists()] == []
