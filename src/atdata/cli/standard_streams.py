"""Standard streams that may be closed, piped, full, or not in UTF-8."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

CLOSED_PIPE: Final = 141
"""Exit code if the reader closes the pipe: what a shell reports for SIGPIPE."""
_FAILED: Final = 1


@contextmanager
def prepared() -> Iterator[None]:
    """Run a command whatever state its streams are in, and exit with the right code."""
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        # Names and text from the network may not fit the terminal's encoding.
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
        # Commands report their own errors, so this one came from printing.
        with suppress(OSError):
            print(f"error: standard output: {error.strerror}", file=sys.stderr)
        code = code or _FAILED
    # Python flushes again at exit, and would report the error a second time.
    _discard(sys.stdout)
    sys.exit(code)  # type: ignore[arg-type]


def _open_closed() -> None:
    """Open the null device in place of each closed standard stream.

    Otherwise the next file that is opened takes its number, and output is written into it.
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
