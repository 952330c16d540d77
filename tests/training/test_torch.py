"""The loader for PyTorch: the same batches for any number of workers, resumed, split, in step.

Needs PyTorch, which is not among the locked packages: `make test-torch` says how to run these.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atdata import Dataset, mix, write_samples
from atdata.errors import LengthError, OptionError, StateError
from tests.training.items import Item, even, items, texts

torch: Any = pytest.importorskip(
    "torch", reason="PyTorch is not installed; make test-torch runs these tests with it"
)

ROOT = Path(__file__).resolve().parents[2]
WAYS = [(0, None), (1, "fork"), (2, "fork"), (2, "spawn"), (4, "fork")]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset[Item]:
    return write_samples(items(101), tmp_path / "items.tar", maxcount=37)


def numbers(batches: Iterator[dict[str, Any]]) -> list[list[int]]:
    return [batch["number"].tolist() for batch in batches]


def test_tensors_have_the_values(dataset: Dataset[Item]) -> None:
    """Arrays and numbers are tensors of the same dtype, text stays a list."""
    batch = next(iter(dataset.to_torch(16)))
    assert batch["image"].shape == (16, 2, 3)
    assert batch["image"].dtype == torch.float32
    assert batch["number"].dtype == torch.int64
    np.testing.assert_array_equal(batch["image"].numpy(), dataset[:16].image)
    assert batch["name"] == [f"n{i}" for i in range(16)]


def flat(batches: list[list[int]]) -> list[int]:
    return [number for batch in batches for number in batch]


@pytest.mark.parametrize(("workers", "context"), WAYS)
def test_workers_change_nothing(dataset: Dataset[Item], workers: int, context: str | None) -> None:
    """Forked or spawned, however many: the same batches in the same order, each sample once."""
    expected = [b["number"].tolist() for b in dataset.batches(8, shuffle=True, seed=4)]
    loader = dataset.to_torch(
        8, shuffle=True, seed=4, num_workers=workers, multiprocessing_context=context
    )
    assert len(loader) == 13
    assert numbers(iter(loader)) == expected
    second = numbers(iter(loader))
    assert second != expected
    assert sorted(flat(second)) == list(range(101))


@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0), (2, 3), (4, 1)])
def test_resumed_with_other_workers(dataset: Dataset[Item], before: int, after: int) -> None:
    """What the loop got counts, not what workers prefetched; the rest comes with any workers."""
    expected = [b["number"].tolist() for b in dataset.batches(8, shuffle=True, seed=4)]
    loader = dataset.to_torch(8, shuffle=True, seed=4, num_workers=before)
    batches = iter(loader)
    begin = [next(batches)["number"].tolist() for _ in range(5)]
    state = json.loads(json.dumps(loader.state_dict()))
    assert state["taken"] == 40
    other = dataset.to_torch(8, shuffle=True, seed=4, num_workers=after)
    other.load_state_dict(state)
    assert len(other) == 8
    assert begin + numbers(iter(other)) == expected
    assert len(numbers(iter(other))) == 13


@pytest.mark.parametrize("workers", [0, 2])
def test_filtered_batches_are_full_and_resumed(dataset: Dataset[Item], workers: int) -> None:
    """Batches of a filtered dataset have their size and order whatever the workers."""
    kept = dataset.filter(even)
    loader = kept.to_torch(8, shuffle=True, seed=1, num_workers=workers)
    whole = numbers(iter(loader))
    assert [len(batch) for batch in whole] == [8] * 6 + [3]
    assert flat(whole) == [s.number for s in kept.shuffled(seed=1)]
    with pytest.raises(LengthError):
        len(loader)
    loader.set_epoch(0)
    batches = iter(loader)
    begin = [next(batches)["number"].tolist() for _ in range(3)]
    rest = kept.to_torch(8, shuffle=True, seed=1, num_workers=2 - workers)
    rest.load_state_dict(loader.state_dict())
    assert begin + numbers(iter(rest)) == whole


def test_one_shard_serves_many_ranks_and_workers(tmp_path: Path) -> None:
    """One shard, 8 ranks with 4 workers each: every sample once, ranks in step."""
    dataset = write_samples(items(100), tmp_path / "one.tar")
    seen = []
    for rank in range(8):
        part = dataset.split(rank, 8, even="pad").to_torch(3, shuffle=True, num_workers=4)
        batches = numbers(iter(part))
        assert len(batches) == len(part) == 5
        seen += flat(batches)
    assert len(seen) == 104
    assert set(seen) == set(range(100))


def test_ragged_tensors(tmp_path: Path) -> None:
    """Padded, joined and listed arrays are tensors as well."""
    dataset = write_samples(texts(20), tmp_path / "texts.tar")
    batch = next(iter(dataset.to_torch(8, ragged={"ids": "flat", "grid": "pad"}, num_workers=1)))
    assert batch["ids.offsets"].tolist()[:3] == [0, 1, 3]
    assert batch["grid"].shape == (8, 3, 4)
    batch = next(iter(dataset.to_torch(8, ragged="list")))
    assert [len(ids) for ids in batch["ids"]] == [1, 2, 3, 4, 5, 1, 2, 3]


def test_mixtures_are_loaded(dataset: Dataset[Item], tmp_path: Path) -> None:
    """A mixture comes in the same batches for any number of workers."""
    other = write_samples(items(400)[200:], tmp_path / "other.tar")
    mixture = mix([dataset, other], weights=[1, 1])
    alone = numbers(iter(mixture.to_torch(8, shuffle=True)))
    assert alone == numbers(iter(mixture.to_torch(8, shuffle=True, num_workers=2)))
    assert flat(alone) == [s.number for s in mixture.shuffled()]


def test_the_loader_of_torchdata_resumes(dataset: Dataset[Item]) -> None:
    """StatefulDataLoader over the loader's dataset goes on where it was stopped."""
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    loader = dataset.to_torch(8, shuffle=True, seed=4)
    expected = [b["number"].tolist() for b in dataset.batches(8, shuffle=True, seed=4)]
    make = lambda: stateful(loader.dataset, batch_size=None, num_workers=2)  # noqa: E731
    first = make()
    batches = iter(first)
    begin = [next(batches)["number"].tolist() for _ in range(5)]
    second = make()
    second.load_state_dict(first.state_dict())
    assert begin + numbers(iter(second)) == expected


def test_wrong_arguments_are_refused(dataset: Dataset[Item]) -> None:
    """Fewer than no workers, another epoch without shuffling, and foreign states are errors."""
    with pytest.raises(OptionError, match="num_workers"):
        dataset.to_torch(8, num_workers=-1)
    with pytest.raises(OptionError, match="shuffle"):
        dataset.to_torch(8).set_epoch(1)
    with pytest.raises(StateError):
        dataset.to_torch(8).load_state_dict(dataset.shuffled(seed=0).state_dict())


RANK = """
import json, sys
import torch.distributed as dist
from pathlib import Path
import atdata
from tests.training.items import Item

dist.init_process_group("gloo")
dataset = atdata.Dataset[Item](Path(sys.argv[1]))
loader = dataset.to_torch(4, shuffle=True, even="drop", num_workers=1)
steps = []
for batch in loader:
    mean = batch["image"].mean()
    dist.all_reduce(mean)  # hangs unless every rank makes the same steps
    steps.append(batch["number"].tolist())
Path(sys.argv[2], f"{dist.get_rank()}.json").write_text(json.dumps(steps))
dist.destroy_process_group()
"""


def test_four_ranks_of_gloo_are_in_step(tmp_path: Path) -> None:
    """Four processes over three shards make equally many steps and read no sample twice."""
    write_samples(items(101), tmp_path / "items.tar", maxcount=37)
    program = tmp_path / "rank.py"
    program.write_text(RANK)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=4"]
    command += ["--standalone", str(program), str(tmp_path), str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(4)]
    assert [len(steps) for steps in ranks] == [7] * 4
    seen = [number for steps in ranks for step in steps for number in step]
    assert len(seen) == len(set(seen)) == 100
