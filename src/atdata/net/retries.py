"""Retries: the one place that counts failures and waits."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Final

from atdata._limits import limits
from atdata.errors import SourceError
from atdata.net.logs import logger

_log = logger(__name__)
_PROGRESS_BYTES: Final = 64 << 10
_GOOD_BYTES: Final = 512 << 10
_CALM_BYTES: Final = 1_000_000
_MAX_FAILURES: Final = 1_000
"""Of one download, not counting those after which half a megabyte came."""
_RESTART_PAUSE_SECONDS: Final = 2.0
"""Between attempts to reach a server that may be restarting."""
_MAX_PAUSED_SECONDS: Final = 1_200.0
"""All pauses of one download together, however much comes between: a drip does not hold us."""
_LOGGED_SECONDS: Final = 5.0
"""A pause that a server asks for is logged from this length on."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long to try again. Progress starts the count from zero."""

    attempts: int = 6
    """Failures in a row, with less than 64 KB between them, before giving up."""
    connect_attempts: int = 6
    """The same for connections that cannot even be made, to a server that has not yet answered
    this process. One that has may be restarting: it gets ``limits.patience`` seconds."""
    first_pause: float = 0.1
    """Seconds before the second attempt; doubled each time, with jitter."""
    longest_pause: float = 10.0
    """Seconds; a server may ask for more."""
    total_seconds: float = 120.0
    """Without progress: pauses and failing attempts together."""
    total_paused: float = _MAX_PAUSED_SECONDS
    """Seconds of all pauses together."""


class Retries:
    """The failures of one download or call: counts them, and waits between attempts.

    Args:
        name: What to call it in errors and in the log.
        policy: How often and how long; None: the default, and a server that answered before is
            given the time of a restart.
    """

    def __init__(self, name: str, policy: RetryPolicy | None = None) -> None:
        self._name = name
        self._policy = policy or RetryPolicy()
        self._waits_for_restarts = policy is None
        self._all = self._failures = self._connect_failures = self._restarting = 0
        self._bytes = _CALM_BYTES
        self._since: float | None = None
        self._summary = (0, 0.0)
        self.paused = 0.0
        """Seconds of all pauses so far."""

    @property
    def troubled(self) -> bool:
        """Whether something failed within the last megabyte."""
        return self._bytes < _CALM_BYTES

    def progressed(self, size: int) -> None:
        """Count new bytes; enough of them reset the count of failures."""
        if self.troubled:
            if self._bytes < _GOOD_BYTES <= self._bytes + size:
                self._all -= 1
            self._bytes += size
            if self._bytes >= _PROGRESS_BYTES:
                self._failures = self._connect_failures = self._restarting = 0
                self._since = None

    def again(
        self, *, connecting: bool = False, restarting: bool = False, asked: float | None = None
    ) -> bool:
        """Count a failure and wait until the next attempt; False, at once, if there is none.

        Args:
            connecting: Whether no connection could be made.
            restarting: Whether that was to a server that has answered before.
            asked: Seconds that the server asks to wait.
        """
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        restarting = restarting and self._waits_for_restarts
        self._all += 1
        self._restarting += restarting
        self._failures += not restarting
        self._connect_failures += connecting and not restarting
        self._bytes = 0
        p = self._policy
        tried = self._failures + self._restarting
        longest = _RESTART_PAUSE_SECONDS if restarting else p.longest_pause
        pause = min(p.first_pause * 2 ** min(tried - 1, 30), longest) * random.uniform(0.5, 1.0)
        pause = max(pause, asked or 0.0)
        spent = now - self._since
        used_up = self._all >= _MAX_FAILURES or self.paused + pause > p.total_paused
        if (
            used_up
            or self._failures >= p.attempts
            or self._connect_failures >= p.connect_attempts
            or spent + pause > (limits.patience if restarting else p.total_seconds)
        ):
            self._summary = (self._all, self.paused) if used_up else (tried, spent)
            return False
        if (asked or 0.0) > _LOGGED_SECONDS:
            _log.warning("%s asks to wait %.0f seconds.", self._name, asked)
        self.paused += pause
        time.sleep(pause)
        return True

    def wait(
        self,
        problem: str,
        cause: Exception | None = None,
        *,
        connecting: bool = False,
        restarting: bool = False,
        asked: float | None = None,
    ) -> None:
        """As `again`, with an error at the end, which says what failed.

        Raises:
            SourceError: There is no next attempt; says how often and for how long it was tried.
        """
        if self.again(connecting=connecting, restarting=restarting, asked=asked):
            return
        failures, seconds = self._summary
        wish = f", which asks to come back in {asked:.0f} s" if asked else ""
        raise SourceError(
            f"{self._name}: {problem}{wish}. Gave up after {failures} "
            f"attempt{'s' if failures > 1 else ''} in {seconds:.1f} s. Check the address "
            "and the network, then run it again."
        ) from cause
