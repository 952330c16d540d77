"""Samples of several datasets side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from atdata._arrays import Indices, Integers
from atdata.dataset.reading.derived import Derived, fingerprint_of
from atdata.dataset.reading.epoch import Epoch
from atdata.dataset.reading.rows import Rows, SampleRows
from atdata.errors import LengthError
from atdata.system.forks import once


class Zipped(Derived):
    """The samples at one position of several datasets, as a tuple. None of them is filtered."""

    @once
    def inner(self) -> list[Epoch]:
        """Each dataset, in stored order."""
        return [part._epoch(None) for part in self.parts]

    @once
    def samples(self) -> int:
        counts = [len(epoch) for epoch in self.inner]
        if len(set(counts)) > 1:
            raise LengthError(
                "zip() needs datasets of equal length, and these have "
                f"{', '.join(f'{count:,}' for count in counts)} samples. Take as many of each: "
                f"dataset.take({min(counts)})."
            )
        return counts[0]

    def known_samples(self) -> int | None:
        if any(part._known_samples() is None for part in self.parts):
            return None
        return self.samples

    @once
    def fingerprint(self) -> str:
        return fingerprint_of("zip", *(epoch.fingerprint for epoch in self.inner))

    def fetch(self, positions: Integers) -> tuple[list[Any], Integers]:
        wanted, back = np.unique(positions, return_inverse=True)
        return [epoch.fetch(wanted) for epoch in self.inner], back.reshape(-1)

    def finish(self, fetched: tuple[list[Any], Integers], part: Indices) -> tuple[Rows, Integers]:
        of_each, back = fetched
        chosen = back[part]
        rows = [epoch.finish(of, chosen)[0] for epoch, of in zip(self.inner, of_each, strict=True)]
        samples = list(zip(*(each.samples() for each in rows), strict=True))
        return SampleRows(rows[0].keys, samples), np.arange(len(chosen))

    def shown(self) -> str:
        return f"zip of {', '.join(map(repr, self.parts))}"
