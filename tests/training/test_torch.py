"""The loader for PyTorch: the same batches for any number of workers, resumed, split, in step.

Needs PyTorch, which is not among the locked packages: `make test-torch` installs it and runs these.
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
from atdata.errors import LengthError, OptionError, SourceError, StateError
from tests.docs.running import run
from tests.docs.test_pages import program_of
from tests.training.conftest import Remote
from tests.training.items import Item, even, items, texts

torch: Any = pytest.importorskip(
    "torch", reason="PyTorch is not installed; make test-torch installs it and runs these tests"
)

ROOT = Path(__file__).resolve().parents[2]
WAYS = [
    (0, None),
    *((workers, how) for how in ("fork", "spawn") for workers in (1, 2, 4)),
    (2, "forkserver"),
]


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


def test_samples_without_a_type_are_tensors(dataset: Dataset[Item], tmp_path: Path) -> None:
    """DictSamples make the same batches as samples of their type, ragged ones included."""
    untyped = Dataset(dataset.shard_list)
    for ours, theirs in zip(
        untyped.to_torch(16, shuffle=True, num_workers=2),
        dataset.to_torch(16, shuffle=True),
        strict=True,
    ):
        assert set(ours) == set(theirs)
        assert torch.equal(ours["image"], theirs["image"])
        assert ours["number"].tolist() == theirs["number"].tolist()
        assert ours["name"] == theirs["name"]
    ragged = Dataset(write_samples(texts(20), tmp_path / "texts.tar").shard_list)
    batch = next(iter(ragged.to_torch(8, ragged="pad", num_workers=1)))
    assert batch["ids.lengths"].tolist() == [1, 2, 3, 4, 5, 1, 2, 3]
    assert batch["ids"].shape == (8, 5)


def test_mixtures_are_loaded(dataset: Dataset[Item], tmp_path: Path) -> None:
    """A mixture gives the same batches for any workers, splits, and resumes."""
    other = write_samples(items(400)[200:], tmp_path / "other.tar")
    mixture = mix([dataset, other], weights=[1, 1])
    alone = numbers(iter(mixture.to_torch(8, shuffle=True)))
    assert alone == numbers(iter(mixture.to_torch(8, shuffle=True, num_workers=2)))
    assert flat(alone) == [s.number for s in mixture.shuffled()]
    loader = mixture.to_torch(8, shuffle=True, num_workers=2)
    batches = iter(loader)
    seen = flat([next(batches)["number"].tolist() for _ in range(5)])
    for rank in range(3):
        rest = mixture.split(rank, 3).to_torch(4, shuffle=True, num_workers=1)
        rest.load_state_dict(json.loads(json.dumps(loader.state_dict())))
        seen += flat(numbers(iter(rest)))
    assert sorted(seen) == sorted(flat(alone))


def test_pinned_memory_needs_a_device(dataset: Dataset[Item]) -> None:
    """With a device, tensors are in pinned memory; without one, asking for it changes nothing."""
    has_device = torch.accelerator.is_available()
    for workers in (0, 2):
        for asked in (dataset, dataset.filter(even)):
            loader = asked.to_torch(8, num_workers=workers, pin_memory=True)
            batches = list(loader)
            assert all(batch["image"].is_pinned() == has_device for batch in batches)
            assert flat(numbers(iter(batches))) == [s.number for s in asked]


def stateful(loader: Any, workers: int) -> Any:
    found = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    return found(loader.dataset, batch_size=None, num_workers=workers)


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_the_loader_of_torchdata_resumes(dataset: Dataset[Item], workers: int) -> None:
    """StatefulDataLoader over the loader's dataset resumes where it stopped, in any epoch."""
    loader = dataset.to_torch(8, shuffle=True, seed=4)
    expected = [
        [b["number"].tolist() for b in dataset.batches(8, shuffle=True, seed=4, epoch=epoch)]
        for epoch in range(2)
    ]
    first = stateful(loader, workers)
    assert numbers(iter(first)) == expected[0]
    loader.set_epoch(1)
    batches = iter(first)
    begin = [next(batches)["number"].tolist() for _ in range(5)]
    state = json.loads(json.dumps(first.state_dict()))
    assert len(json.dumps(state)) < 600 * (workers + 1)
    second = stateful(dataset.to_torch(8, shuffle=True, seed=4), workers)
    second.load_state_dict(state)
    assert begin + numbers(iter(second)) == expected[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_of_torchdata_refuses_other_states(
    dataset: Dataset[Item], workers: int, tmp_path: Path
) -> None:
    """What the state of a worker cannot be continued with is an error, never other samples."""
    first = stateful(dataset.to_torch(8, shuffle=True, seed=4), workers)
    batches = iter(first)
    next(batches)
    state = first.state_dict()
    other = write_samples(items(50), tmp_path / "other.tar")
    refused = [
        (other.to_torch(8, shuffle=True, seed=4), workers, "dataset of 101 samples"),
        (dataset.to_torch(8, shuffle=True, seed=5), workers, "seed=4"),
        (dataset.to_torch(7, shuffle=True, seed=4), workers, "batch_size=8, here it is 7"),
        (dataset.split(0, 2).to_torch(8, shuffle=True, seed=4), workers, "world_size=1"),
    ]
    if workers:
        # What is the same in a worker takes seconds to fail in.
        refused = [(dataset.to_torch(8, shuffle=True, seed=4), 3, r"worker=\[., 2\]")]
    for loader, count, said in refused:
        second = stateful(loader, count)
        second.load_state_dict(state)
        with pytest.raises(StateError, match=said):
            iter(second)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_read_over_a_bad_network(remote: Remote, context: str) -> None:
    """Over a failing network, workers return each sample once, cached or not."""
    proxy, dataset = remote
    assert dataset[7].number == 7  # this process has connections and tables already
    proxy.cut(after=1_000_000, times=None, match=r"\.tar( |$|\?)")
    proxy.answer(503, times=2)
    proxy.answer(500, times=1)
    proxy.delay(0.02)
    for shuffle in (False, True):
        loader = dataset.to_torch(
            32, shuffle=shuffle, num_workers=2, multiprocessing_context=context
        )
        assert sorted(flat(numbers(iter(loader)))) == list(range(600))
    assert dataset[599].number == 599


def test_workers_read_blobs_and_share_a_cache(blobs: Remote, tmp_path: Path) -> None:
    """Workers bring blobs once each into the cache that they share."""
    proxy, dataset = blobs
    cached = dataset.cached(tmp_path / "cache")
    assert cached.count() == 600
    before = len(proxy.requests)
    for _ in range(2):
        loader = cached.to_torch(32, shuffle=True, num_workers=3)
        assert sorted(flat(numbers(iter(loader)))) == list(range(600))
    fetched = [str(r) for r in proxy.requests[before:] if "getBlob" in str(r)]
    assert len(fetched) <= 3


def test_the_error_of_a_worker_is_the_loops(remote: Remote) -> None:
    """What fails in a worker ends the loop with the same error; the next loop may go well."""
    proxy, dataset = remote
    loader = dataset.to_torch(32, shuffle=True, num_workers=2)
    len(loader)
    proxy.answer(503, times=None)
    with pytest.raises(SourceError, match=r"items.*503.*Gave up after"):
        list(loader)
    proxy.clear()
    assert sorted(flat(numbers(iter(loader)))) == list(range(600))


def test_the_page_is_run(tmp_path: Path) -> None:
    """The PyTorch block of the training page runs unchanged, after the others."""
    page = (ROOT / "docs" / "training.md").read_text()
    block = page.split("## Load into PyTorch")[1].split("```")[1]
    assert "to_torch" in block
    given = "seen = []\ntrain = lambda image, label: seen.append(len(label))\ncheckpoint = {}\n"
    program = f"{program_of(page)}\n{given}{block}\nassert sum(seen) == 10_000\n"
    (tmp_path / "page.py").write_text(program)
    run(tmp_path / "page.py", tmp_path, {})


def test_wrong_arguments_are_refused(dataset: Dataset[Item]) -> None:
    """Fewer than no workers, another epoch without shuffling, and foreign states are errors."""
    wrong: dict[str, Any]
    for wrong in (
        {"num_workers": -1},
        {"num_workers": 1.0},
        {"prefetch_factor": 0},
        {"multiprocessing_context": "thread"},
    ):
        with pytest.raises(OptionError, match=f"{next(iter(wrong))}=.*expected"):
            dataset.to_torch(8, **wrong)
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

folder, stop = Path(sys.argv[1]), int(sys.argv[2])
dist.init_process_group("gloo")
dataset = atdata.Dataset[Item](folder)
loader = dataset.to_torch(4, shuffle=True, even="drop", num_workers=1)
if (folder / "state.json").exists():
    loader.load_state_dict(json.loads((folder / "state.json").read_text()))
steps, state = [], None
for batch in loader:
    mean = batch["image"].mean()
    dist.all_reduce(mean)  # hangs unless every rank makes the same steps
    steps.append(batch["number"].tolist())
    state = loader.state_dict()
    if len(steps) == stop:
        break
rank = dist.get_rank()
(folder / f"{rank}.json").write_text(json.dumps([steps, state]))
dist.destroy_process_group()
"""


def ranks(folder: Path, count: int, stop: int) -> tuple[list[list[list[int]]], dict[str, Any]]:
    """What each of so many ranks read, and a state of one of them."""
    (folder / "rank.py").write_text(RANK)
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}"]
    command += ["--standalone", str(folder / "rank.py"), str(folder), str(stop)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(count)]
    return [steps for steps, _ in found], found[-1][1]


def test_four_ranks_of_gloo_are_in_step(tmp_path: Path) -> None:
    """Four processes over three shards make equally many steps and read no sample twice."""
    write_samples(items(101), tmp_path / "items.tar", maxcount=37)
    found, _ = ranks(tmp_path, 4, stop=0)
    assert [len(steps) for steps in found] == [7] * 4
    seen = [number for steps in found for number in flat(steps)]
    assert len(seen) == len(set(seen)) == 100


def test_training_goes_on_with_fewer_processes(tmp_path: Path) -> None:
    """What four processes had not read when they ended, two processes read, once and in step."""
    write_samples(items(101), tmp_path / "items.tar", maxcount=37)
    found, state = ranks(tmp_path, 4, stop=3)
    seen = [number for steps in found for number in flat(steps)]
    assert len(seen) == 48
    (tmp_path / "state.json").write_text(json.dumps(state))
    found, _ = ranks(tmp_path, 2, stop=0)
    assert [len(steps) for steps in found] == [7] * 2
    seen += [number for steps in found for number in flat(steps)]
    assert len(seen) == len(set(seen)) == 100
