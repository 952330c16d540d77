"""The contenders' processes, seen from the one that compares."""

from __future__ import annotations

import json
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bench.contender import Contender, Measure
from bench.envs import ROOT, own_environ

PATIENCE: Final = 600.0
"""Seconds after which an order has failed."""
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class ContenderFailed(Exception):
    """A contender failed; carries its traceback."""


class Process:
    """A running worker; a context manager."""

    def __init__(self, contender: Contender, *, loading: bool = False) -> None:
        self.contender = contender
        loads: frozenset[Measure] = contender.measures & {"loader"}
        self.measures = loads if loading else contender.measures - loads
        environment = contender.loading if loading else contender.environment
        assert environment
        python = environment.python()
        self._process = subprocess.Popen(
            [python, "-m", "bench.worker", contender.name],
            cwd=ROOT,
            env=own_environ() | ONE_THREAD,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def order(self, order: str, **arguments: Any) -> Any:
        """Give an order and wait for the answer.

        Raises:
            ContenderFailed: With the traceback.
        """
        assert self._process.stdin
        assert self._process.stdout
        late = threading.Timer(PATIENCE, self._process.kill)
        late.start()
        try:
            self._process.stdin.write(json.dumps({"order": order, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            late.cancel()
        reply = json.loads(line) if line else {"error": "its process ended"}
        if "error" in reply:
            raise ContenderFailed(f"{self.contender.name}, {order}: {reply['error']}")
        return reply["answer"]

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid


class PeakMemory:
    """The most memory of its own (not mapped files) that a process has while this is entered.

    From Linux's ``/proc``; elsewhere `bytes` stays None.
    """

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._stop = threading.Event()
        self.bytes: int | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.002):
            try:
                lines = self._status.read_text().splitlines()
            except OSError:
                return
            for line in lines:
                if line.startswith("RssAnon:"):
                    self.bytes = max(self.bytes or 0, int(line.split()[1]) * 1024)


def import_seconds(contender: Contender) -> float:
    """Seconds that its imports take in a new process, beyond importing numpy."""
    code = (
        "import time, numpy; start = time.perf_counter(); "
        f"{contender.imports}; print(time.perf_counter() - start)"
    )
    ran = subprocess.run(
        [contender.environment.python(), "-P", "-c", code],
        env=own_environ() | ONE_THREAD | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(ran.stdout.split()[-1])
