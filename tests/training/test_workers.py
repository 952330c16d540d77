"""Worker processes of the loader for PyTorch: what they send, and how long they live.

Needs PyTorch, which is not among the locked packages: `make test-torch` installs it and runs these.
"""

from __future__ import annotations

import gc
import itertools
import json
import multiprocessing
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atdata import Dataset, DictSample, mix, write_samples
from atdata.errors import NotSendableError
from tests.training.items import Clip, Item, Maybe, clips, even, items

torch: Any = pytest.importorskip(
    "torch", reason="PyTorch is not installed; make test-torch installs it and runs these tests"
)

LISTS: dict[str, Any] = {"sound": "list", "grid": "list"}
WAYS: list[Any] = [
    "list",
    "pad",
    {"sound": "flat", "grid": "pad", "extra": "flat"},
    {**LISTS, "extra": "pad"},
    LISTS,
]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset[Clip]:
    return write_samples(clips(42), tmp_path / "clips.tar", maxcount=17)


@pytest.fixture
def numbered(tmp_path: Path) -> Dataset[Item]:
    return write_samples(items(101), tmp_path / "items.tar", maxcount=37)


def numbers(loader: Any) -> list[list[int]]:
    return [batch["number"].tolist() for batch in loader]


def same(mine: Any, other: Any) -> bool:
    """Whether both are the same tensors, lists, texts or None."""
    if isinstance(mine, dict | list) and type(mine) is type(other) and len(mine) == len(other):
        if isinstance(mine, dict) and isinstance(other, dict):
            return all(same(mine[name], other.get(name)) for name in mine)
        return all(same(a, b) for a, b in zip(mine, other, strict=True))
    if isinstance(mine, torch.Tensor) and isinstance(other, torch.Tensor):
        return bool(mine.dtype == other.dtype and torch.equal(mine, other))
    return type(mine) is type(other) and bool(mine == other)


def right(clip: Clip, batch: dict[str, Any], row: int) -> bool:
    """Whether a row of a batch of lists has the values of a clip."""
    arrays: list[tuple[Any, Any]] = [
        (clip.frame, batch["frame"][row]),
        (clip.sound, batch["sound"][row]),
    ]
    arrays += [(clip.grid, batch["grid"][row])]
    if clip.extra is None:
        assert batch["extra"][row] is None
    else:
        arrays += [(clip.extra, batch["extra"][row])]
    return batch["name"][row] == clip.name and all(
        tuple(theirs.shape) == mine.shape and np.array_equal(mine, theirs)
        for mine, theirs in arrays
    )


@pytest.mark.parametrize("ragged", WAYS)
def test_ragged_and_missing_arrays_come_the_same(dataset: Dataset[Clip], ragged: Any) -> None:
    """Whatever is made of arrays that differ or are missing, workers bring the same batches."""
    expected = list(dataset.to_torch(8, shuffle=True, seed=1, ragged=ragged))
    assert len(expected) == 6
    for workers in (1, 2, 4):
        loader = dataset.to_torch(8, shuffle=True, seed=1, ragged=ragged, num_workers=workers)
        assert same(list(loader), expected)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_bring_the_samples_that_were_written(dataset: Dataset[Clip], context: str) -> None:
    """Small or large, of one shape or many, or missing: every value is the one of its sample."""
    loader = dataset.to_torch(
        8, shuffle=True, ragged=LISTS, num_workers=2, multiprocessing_context=context
    )
    made, seen = clips(42), []
    for batch in loader:
        for row, number in enumerate(batch["number"].tolist()):
            assert right(made[number], batch, row)
            seen.append(number)
    assert sorted(seen) == list(range(42))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_what_cannot_be_sent_is_an_error_and_no_warning(
    numbered: Dataset[Item], context: Any
) -> None:
    """Ours comes before what PyTorch says of its pickle; of a mixture's datasets as well."""
    doubled = numbered.map(lambda item: item, sample_type=Item)
    for unsent in (numbered.filter(lambda item: True), doubled, mix([numbered, doubled])):
        loader = unsent.to_torch(8, num_workers=1, multiprocessing_context=context)
        with pytest.raises(NotSendableError, match="lambda"):
            list(loader)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 1])
def test_the_tensors_of_a_list_share_memory(dataset: Dataset[Clip], workers: int) -> None:
    """A list of tensors is one piece of memory; what is written to one is seen in no other."""
    batch = next(iter(dataset.to_torch(8, ragged=LISTS, num_workers=workers)))
    for name in ("sound", "grid", "extra"):
        there = [tensor for tensor in batch[name] if tensor is not None and len(tensor)]
        assert len({tensor.untyped_storage().data_ptr() for tensor in there}) == 1
        for number, tensor in enumerate(there):
            tensor[:] = number
        assert all(bool((tensor == number).all()) for number, tensor in enumerate(there))
    fields = ("frame", "number")
    assert len({batch[name].untyped_storage().data_ptr() for name in fields}) == 2


def test_a_list_of_nothing_and_lists_of_several_dtypes(tmp_path: Path) -> None:
    """Batches in which all arrays are missing, and arrays of several dtypes, arrive as they are."""
    nothing = write_samples([Maybe(None)] * 4, tmp_path / "nothing.tar")
    assert list(nothing.to_torch(2, num_workers=1)) == [{"scores": [None, None]}] * 2
    dtypes = ("f4", "<i2", ">i2", "?")
    mixed = [DictSample({"a": np.ones(i + 1, dtype)}) for i, dtype in enumerate(dtypes)]
    untyped = Dataset(write_samples(mixed, tmp_path / "mixed.tar").shard_list)
    (batch,) = untyped.to_torch(4, num_workers=1, ragged="list")
    expected = [torch.float32, torch.int16, torch.int16, torch.bool]
    assert [tensor.dtype for tensor in batch["a"]] == expected
    assert [tensor.tolist() for tensor in batch["a"]] == [[1], [1] * 2, [1] * 3, [True] * 4]
    assert same([batch], list(untyped.to_torch(4, ragged="list")))


@pytest.mark.parametrize("strategy", ["file_descriptor", "file_system"])
def test_what_is_held_never_changes(dataset: Dataset[Clip], strategy: str) -> None:
    """Memory is used again only when no tensor of it is left: a row that is kept stays as it is."""
    before = torch.multiprocessing.get_sharing_strategy()
    torch.multiprocessing.set_sharing_strategy(strategy)
    try:
        loader = dataset.to_torch(8, shuffle=True, ragged=LISTS, num_workers=2)
        kept: list[tuple[int, Any, Any]] = []
        for _ in range(3):
            for batch in loader:
                row = len(kept) % len(batch["number"])
                kept.append((int(batch["number"][row]), batch["frame"][row], batch["sound"][row]))
        assert len(kept) == 18
        for number, frame, sound in kept:
            assert np.array_equal(frame, clips(42)[number].frame)
            assert np.array_equal(sound, clips(42)[number].sound)
    finally:
        torch.multiprocessing.set_sharing_strategy(before)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_live_on(numbered: Dataset[Item], context: str) -> None:
    """Each epoch has its own order, the one that new workers give, and the same processes."""
    expected = [
        [b["number"].tolist() for b in numbered.batches(8, shuffle=True, seed=4, epoch=epoch)]
        for epoch in range(3)
    ]
    how: dict[str, Any] = {"shuffle": True, "seed": 4, "multiprocessing_context": context}
    loader = numbered.to_torch(8, num_workers=2, **how)
    found = [numbers(loader)]
    processes = {process.pid for process in multiprocessing.active_children()}
    found += [numbers(loader) for _ in range(2)]
    assert found == expected
    assert found[0] != found[1]
    assert processes == {process.pid for process in multiprocessing.active_children()}
    loader.set_epoch(1)
    assert numbers(loader) == expected[1]
    del loader
    assert not processes & {process.pid for process in multiprocessing.active_children()}
    passing = numbered.to_torch(8, num_workers=2, persistent_workers=False, **how)
    assert [numbers(passing) for _ in range(3)] == expected
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("filtered", [False, True])
def test_workers_that_live_on_resume(numbered: Dataset[Item], filtered: bool) -> None:
    """A loop that is left, and a state that is loaded, go on exactly, with the same workers."""
    dataset = numbered.filter(even) if filtered else numbered
    epochs = [
        [b["number"].tolist() for b in dataset.batches(8, shuffle=True, seed=4, epoch=epoch)]
        for epoch in range(2)
    ]
    loader = dataset.to_torch(8, shuffle=True, seed=4, num_workers=2)
    for _ in range(2):
        begin, state = [], {}
        for batch in loader:
            begin.append(batch["number"].tolist())
            state = json.loads(json.dumps(loader.state_dict()))
            if len(begin) == 3:
                break
        processes = {process.pid for process in multiprocessing.active_children()}
        loader.load_state_dict(state)
        assert begin + numbers(loader) == epochs[0]
        assert numbers(loader) == epochs[1]
        assert processes == {process.pid for process in multiprocessing.active_children()}
        loader.set_epoch(0)
    rest = dataset.to_torch(8, shuffle=True, seed=4)
    rest.load_state_dict(state)
    assert begin + numbers(rest) == epochs[0]


def test_two_loops_at_once(numbered: Dataset[Item]) -> None:
    """Loops over one loader at the same time have each their own workers and all batches."""
    loader = numbered.to_torch(8, num_workers=1)
    whole = numbers(loader)
    pairs = [(a["number"].tolist(), b["number"].tolist()) for a, b in zip(loader, loader)]  # noqa: B905
    assert pairs == [(batch, batch) for batch in whole]
    assert numbers(loader) == whole


def test_workers_that_have_ended_are_replaced(numbered: Dataset[Item]) -> None:
    """Workers that something ended between two epochs are missed by none of them."""
    loader = numbered.to_torch(8, num_workers=2)
    whole = numbers(loader)
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    assert numbers(loader) == whole


def test_a_loader_is_sent_without_its_workers(numbered: Dataset[Item]) -> None:
    """A loader that has read can be pickled: what it becomes reads with workers of its own."""
    loader = numbered.to_torch(8, num_workers=1)
    whole = numbers(loader)
    assert numbers(pickle.loads(pickle.dumps(loader))) == whole
    assert numbers(loader) == whole


@pytest.mark.parametrize("drops", ["child", "parent"])
def test_a_fork_shares_no_memory_that_is_filled_again(dataset: Dataset[Clip], drops: str) -> None:
    """What one process holds of a batch stays as it is, whatever the other does with its copy."""
    loader = dataset.to_torch(8, ragged=LISTS, num_workers=1, prefetch_factor=1)
    batches = iter(loader)
    batch = next(batches)
    expected = batch["frame"].numpy().copy()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        # With NumPy: threads of PyTorch that the parent had would be waited for.
        held = batch["frame"].numpy()
        del batch
        if drops == "parent":
            os.read(read, 1)
            os._exit(not np.array_equal(held, expected))
        del held
        os._exit(0)
    if drops == "child":
        assert os.waitpid(child, 0)[1] == 0
        assert len(list(batches)) == 5
        assert np.array_equal(batch["frame"], expected)
    else:
        del batch
        assert len(list(batches)) == 5
        os.write(write, b"x")
        assert os.waitpid(child, 0)[1] == 0
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_forked_child_reads_the_rest_of_a_loop(numbered: Dataset[Item], workers: int) -> None:
    """Parent and child go on with one loop, each to its end; or the child lets go of it."""
    loader = numbered.to_torch(8, shuffle=True, seed=4, num_workers=workers)
    whole = [b["number"].tolist() for b in numbered.batches(8, shuffle=True, seed=4)]
    batches = iter(loader)
    begin = [next(batches)["number"].tolist() for _ in range(3)]
    for lets_go in (True, False):
        child = os.fork()
        if not child:
            if lets_go:
                del batches, loader
                gc.collect()
                os._exit(0)
            state = json.loads(json.dumps(loader.state_dict()))
            right = state["taken"] == 24 and begin + numbers(batches) == whole
            del batches, loader
            os._exit(not right)
        assert os.waitpid(child, 0)[1] == 0
    assert begin + numbers(batches) == whole


@pytest.mark.parametrize("persistent", [True, False])
def test_workers_of_a_loop_that_was_left_go_with_the_loader(
    numbered: Dataset[Item], persistent: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without the garbage collector's help, and without a word from workers that come later."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):
            loader = numbered.to_torch(8, num_workers=2, persistent_workers=persistent)
            next(iter(loader))
            left = multiprocessing.active_children()
            assert len(left) == (2 if persistent else 0)
            other = numbered.to_torch(8, num_workers=1, persistent_workers=persistent)
            assert len(numbers(other)) == 13
            del loader
            assert not set(left) & set(multiprocessing.active_children())
            del other
            assert not multiprocessing.active_children()
    finally:
        gc.enable()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("steps", [2, 6])
def test_workers_take_their_shared_memory_along(dataset: Dataset[Clip], steps: int) -> None:
    """The workers of an epoch leave no file of the strategy "file_system"."""
    before = torch.multiprocessing.get_sharing_strategy()
    torch.multiprocessing.set_sharing_strategy("file_system")
    try:
        loader = dataset.to_torch(8, ragged=LISTS, num_workers=2, persistent_workers=False)
        workers: set[int | None] = set()
        for _ in range(2):
            frame: Any = None
            for batch in itertools.islice(loader, steps):
                workers |= {process.pid for process in multiprocessing.active_children()}
                frame = batch["frame"][:2]
                del batch
            kept = frame.numpy().copy()
            assert np.array_equal(frame, kept)
        assert len(workers) == 4
        del frame
        left = {path.name.split("_")[1] for path in Path("/dev/shm").glob("torch_*")}
        assert not left & {str(worker) for worker in workers}
    finally:
        torch.multiprocessing.set_sharing_strategy(before)
