"""Faults for a proxy to make: rules that wait for requests."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["answer", "cut", "cut_upload", "delay", "pause", "flip", "lose"]


@dataclass(frozen=True)
class Request:
    """A request that came by; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Acknowledged:
    """A request with a body whose answer, a 2xx, went to the client to its last byte."""

    said: str
    """``"METHOD /path?query"``."""
    sha256: str
    """Of the request's body."""
    at: float
    """When, by time.monotonic()."""


class Pause:
    """Requests that are held: wait until one has arrived, then let them go on."""

    def __init__(self) -> None:
        self._arrived, self._released = threading.Event(), threading.Event()

    def wait(self, seconds: float = 30) -> None:
        """Return once a matching request has arrived.

        Raises:
            TimeoutError: None came.
        """
        if not self._arrived.wait(seconds):
            raise TimeoutError(f"no matching request within {seconds:g} seconds")

    def arrived(self, seconds: float) -> bool:
        """Whether a matching request arrives within so many seconds."""
        return self._arrived.wait(seconds)

    def release(self) -> None:
        """Let the held requests, and all later ones, go on."""
        self._released.set()

    def hold(self) -> None:
        """Called by the proxy, in the request's thread."""
        self._arrived.set()
        self._released.wait(120)


@dataclass
class Rule:
    """One fault, for ``times`` requests that match (None: for all), after ``skip`` others."""

    kind: Kind
    match: re.Pattern[str]
    times: int | None
    skip: int = 0
    after: int = 0
    seconds: float = 0
    abrupt: bool = True
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    pause: Pause = field(default_factory=Pause)


class Rules:
    """The rules in force, and counters; shared by the proxy's threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self.requests: list[Request] = []
        self.acknowledged: list[Acknowledged] = []
        self.connections = 0
        self.bytes_down = 0
        self.bytes_up = 0

    def add(self, rule: Rule) -> None:
        """From now on."""
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """Forget all rules and release what is held."""
        with self._lock:
            rules, self._rules = self._rules, []
        for rule in rules:
            rule.pause.release()

    def take(self, kind: Kind, said: str) -> Rule | None:
        """The first rule of this kind that matches, used up by one."""
        with self._lock:
            for rule in self._rules:
                if rule.kind == kind and rule.times != 0 and rule.match.search(said):
                    if rule.skip:
                        rule.skip -= 1
                        continue
                    if rule.times is not None:
                        rule.times -= 1
                    return rule
        return None

    def hold_up(self, said: str) -> None:
        """Delay or hold the request, if a rule says so."""
        if (delay := self.take("delay", said)) is not None:
            time.sleep(delay.seconds)
        if (held := self.take("pause", said)) is not None:
            held.pause.hold()

    def count(
        self, *, down: int = 0, up: int = 0, connection: int = 0, request: Request | None = None
    ) -> None:
        """Add to the counters."""
        with self._lock:
            self.bytes_down += down
            self.bytes_up += up
            self.connections += connection
            if request is not None:
                self.requests.append(request)

    def acknowledge(self, said: str, sha256: str) -> None:
        """Note that an answer has arrived."""
        with self._lock:
            self.acknowledged.append(Acknowledged(said, sha256, time.monotonic()))
