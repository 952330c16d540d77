"""Batches on their way from a loader's process. Imported where torch is.

What is cheapest to send: one tensor for a field, not one for each sample. Arrays that differ in
shape are joined, with their lengths, -1 for None.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from bench.workloads import Row, Workload


def collate(workload: Workload) -> partial[dict[str, Any]]:
    """For ``DataLoader(collate_fn=…)``: samples to a batch."""
    return partial(_collated, workload)


def _collated(workload: Workload, rows: list[Row]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, kind in workload.kinds.items():
        values = [row[name] for row in rows]
        if kind in ("ragged", "optional"):
            found[name], found[f"{name}.lengths"] = _joined(values)
        else:
            # Straight into shared memory, where the process is a loader's.
            found[name] = torch.utils.data.default_collate(values)
    return found


def from_columns(workload: Workload) -> partial[dict[str, Any]]:
    """The same for batches that are NumPy arrays and lists already."""
    return partial(_as_tensors, workload)


def _as_tensors(workload: Workload, batch: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, kind in workload.kinds.items():
        if kind in ("ragged", "optional"):
            found[name], found[f"{name}.lengths"] = _joined(batch[name])
        elif kind == "array":
            # What is read is read-only, and torch wants its own.
            found[name] = torch.tensor(batch[name])
        else:
            found[name] = torch.tensor(batch[name]) if kind == "int" else batch[name]
    return found


def _joined(values: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([-1 if value is None else len(value) for value in values])
    there = [value for value in values if value is not None]
    if not there:
        return torch.zeros(0), lengths
    if isinstance(there[0], np.ndarray):
        return torch.from_numpy(np.concatenate(there)), lengths
    return torch.cat(there), lengths


def columns(workload: Workload, batch: dict[str, Any]) -> dict[str, Any]:
    """A batch of tensors as one of NumPy arrays and lists."""
    found: dict[str, Any] = {}
    for name in workload.kinds:
        values = batch[name]
        if f"{name}.lengths" in batch:
            lengths = batch[f"{name}.lengths"].tolist()
            ends = np.cumsum([0, *(max(length, 0) for length in lengths)])
            found[name] = [
                None if length < 0 else values[a:b].numpy()
                for length, (a, b) in zip(lengths, pairwise(ends), strict=True)
            ]
        elif f"{name}.offsets" in batch:
            ends = batch[f"{name}.offsets"].tolist()
            found[name] = [values[a:b].numpy() for a, b in pairwise(ends)]
        elif isinstance(values, torch.Tensor):
            found[name] = values.numpy()
        else:
            found[name] = [v.numpy() if isinstance(v, torch.Tensor) else v for v in values]
    for name, like in workload.arrays().items():
        found[name] = found[name].reshape(-1, *like.shape)
    return found
