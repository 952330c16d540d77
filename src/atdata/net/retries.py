"""How long a download goes on after failures."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Final

from atdata._limits import limits
from atdata.errors import SourceError

_PROGRESS: Final = 64 << 10
_GOOD: Final = 512 << 10
_CALM: Final = 1_000_000
_MAX_FAILURES: Final = 1_000
"""Of one download, not counting those with half a megabyte behind them."""
_AWAY: Final = 2.0
"""Seconds between attempts to reach a server that may come back at any time."""
_MOST_PAUSES: Final = 1_200.0
"""Seconds, of one download, however much comes between: what drips does not hold us."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on after failures. Progress starts the count again."""

    attempts: int = 6
    """Failures in a row, without 64 KB between them, before giving up."""
    connects: int = 6
    """The same for connections that cannot even be made, to a server that has not answered this
    process yet. One that has may be starting again: it is waited for ``limits.patience``."""
    first_wait: float = 0.1
    """Seconds before the second attempt; doubled each time, with jitter."""
    longest_wait: float = 10.0
    budget: float = 120.0
    """Seconds without progress, waiting and failing together."""


class Retries:
    """Counts failures of one download, waits between attempts, and gives up in the end.

    Args:
        name: What to call the download in errors.
        patience: How long; None: as long as a restart of the server takes, too.
    """

    def __init__(self, name: str, patience: Patience | None = None) -> None:
        self._name = name
        self._patience = patience or Patience()
        self._waits_for_restarts = patience is None
        self._all = self._failures = self._connect_failures = self._away = 0
        self._bytes = _CALM
        self._since: float | None = None
        self.paused = 0.0
        """Seconds of all pauses so far."""

    @property
    def troubled(self) -> bool:
        """Whether something failed within the last megabyte."""
        return self._bytes < _CALM

    def progressed(self, size: int) -> None:
        """So many new bytes have arrived; enough of them start the count of failures afresh."""
        if self.troubled:
            if self._bytes < _GOOD <= self._bytes + size:
                self._all -= 1
            self._bytes += size
            if self._bytes >= _PROGRESS:
                self._failures = self._connect_failures = self._away = 0
                self._since = None

    def wait(
        self,
        problem: str,
        cause: Exception | None = None,
        *,
        connecting: bool = False,
        away: bool = False,
        retry_after: float | None = None,
    ) -> None:
        """Wait until the next attempt.

        Args:
            problem: What failed.
            cause: The error that it failed with.
            connecting: Whether no connection could be made.
            away: Whether that was to a server which has answered before: it is given time.
            retry_after: Seconds that the server asks for.

        Raises:
            SourceError: There is none; says what failed, how often and for how long.
        """
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        away = away and self._waits_for_restarts
        self._all += 1
        self._away += away
        self._failures += not away
        self._connect_failures += connecting and not away
        self._bytes = 0
        p = self._patience
        doubled = min(self._failures + self._away - 1, 30)
        wait = min(p.first_wait * 2**doubled, _AWAY if away else p.longest_wait)
        wait *= random.uniform(0.5, 1.0)
        wait = max(wait, retry_after or 0.0)
        spent = now - self._since
        over = self._all >= _MAX_FAILURES or self.paused + wait > _MOST_PAUSES
        if (
            over
            or self._failures >= p.attempts
            or self._connect_failures >= p.connects
            or spent + wait > (limits.patience if away else p.budget)
        ):
            tried = self._failures + self._away
            failures, seconds = (self._all, self.paused) if over else (tried, spent)
            asked = f", which asks to come back in {retry_after:.0f} s" if retry_after else ""
            raise SourceError(
                f"{self._name}: {problem}{asked}. Gave up after {failures} "
                f"attempt{'s' if failures > 1 else ''} in {seconds:.1f} s. Check the address "
                "and the network, then run it again."
            ) from cause
        self.paused += wait
        time.sleep(wait)
