"""Standard input and output as a command finds them: closed, piped, full, or not in UTF-8."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

CLOSED_PIPE: Final = 141
"""Exit code of a command whose reader closed the pipe: as a shell shows a SIGPIPE."""
_FAILED: Final = 1


@contextmanager
def prepared() -> Iterator[None]:
    """Let a command read and print whatever its streams are, and end with the right code."""
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        # Names and texts of others may not be in the terminal's encoding.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code: object = 0
    try:
        try:
            yield
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
    except BrokenPipeError:
        code = CLOSED_PIPE
    except OSError as error:
        # Commands end with messages of their own: this is from what was printed.
        with suppress(OSError):
            print(f"error: standard output: {error.strerror}", file=sys.stderr)
        code = code or _FAILED
    # Python flushes again when it ends, and would complain there.
    _discard(sys.stdout)
    sys.exit(code)  # type: ignore[arg-type]


def _open_closed() -> None:
    """Put the null device where a standard stream is closed.

    The next file that is opened would take its number, and be printed into.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _discard(stream: object) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())  # type: ignore[attr-defined]
    os.close(null)
