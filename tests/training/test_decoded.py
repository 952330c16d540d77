"""Pictures that loader workers decode: the same pixels, whatever the number of workers.

Needs PyTorch, which is not among the locked packages: `make test-torch` installs it and runs these.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atdata import Dataset, Decode, Image, packable, write_samples
from atdata.errors import DecodeError

torch: Any = pytest.importorskip(
    "torch", reason="PyTorch is not installed; make test-torch installs it and runs these tests"
)


@packable
class Seen:
    image: Image
    label: int


def can_be_decoded(seen: Seen) -> bool:
    return bool(seen.image.decode().size)


def pictures(count: int) -> list[Seen]:
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        pixels = coarse.repeat(8 + number % 3, axis=0).repeat(9, axis=1)
        made.append(Seen(Image(pixels, format="png" if number % 4 else "jpeg"), number))
    return made


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset[Seen]:
    folder = tmp_path_factory.mktemp("seen")
    return write_samples(pictures(75), folder / "seen.tar", maxcount=30)


def is_odd(sample: Seen) -> bool:
    return sample.label % 2 == 1


DECODE = {"image": Decode(size=24, crop="random", layout="CHW", mean=0.5, std=0.25)}
OPTIONS: dict[str, Any] = {"shuffle": True, "seed": 5, "decode": DECODE}


def found(loader: Any) -> dict[int, Any]:
    return {
        label: image
        for batch in loader
        for label, image in zip(batch["label"].tolist(), batch["image"], strict=True)
    }


def same(one: dict[int, Any], other: dict[int, Any]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_give_the_same_pixels(dataset: Dataset[Seen], context: str) -> None:
    """No worker, one or three, in each of two epochs; the second has other random parts."""
    loader = dataset.to_torch(16, **OPTIONS)
    first, second = found(loader), found(loader)
    assert first[7].shape == (3, 24, 24)
    assert first[7].dtype == torch.float32
    assert not torch.equal(first[7], second[7])
    for workers in (1, 3):
        other = dataset.to_torch(
            16, num_workers=workers, multiprocessing_context=context, **OPTIONS
        )
        assert same(found(other), first)
        assert same(found(other), second)
    by_rows = dataset.to_torch(
        11, num_workers=2, multiprocessing_context=context, shuffle=False, decode=DECODE
    )
    assert same(found(by_rows), found(dataset.to_torch(11, shuffle=False, decode=DECODE)))


def test_a_filtered_loader_gives_the_same_pixels(dataset: Dataset[Seen]) -> None:
    """Where a filter leaves samples out, the rest are decoded as without it."""
    whole = found(dataset.to_torch(16, **OPTIONS))
    kept = found(dataset.filter(is_odd).to_torch(8, num_workers=2, **OPTIONS))
    assert set(kept) == set(range(1, 75, 2))
    assert all(torch.equal(kept[label], whole[label]) for label in kept)


def test_a_resumed_loader_gives_the_same_pixels(dataset: Dataset[Seen]) -> None:
    """Stopped in the middle and resumed with another number of workers, nothing differs."""
    whole = found(dataset.to_torch(16, **OPTIONS))
    loader = dataset.to_torch(16, num_workers=2, **OPTIONS)
    begun, batches = {}, iter(loader)
    for batch in itertools.islice(batches, 2):
        begun.update(found([batch]))
    state = loader.state_dict()
    resumed = dataset.to_torch(16, num_workers=1, **OPTIONS)
    resumed.load_state_dict(state)
    assert same({**begun, **found(resumed)}, whole)


def test_a_worker_names_the_broken_picture(tmp_path: Path) -> None:
    """The error that a worker sends has shard, offset and key, as one without workers."""
    made = pictures(20)
    made[11] = Seen(Image(made[11].image.bytes[:60]), 11)
    broken = write_samples(made, tmp_path / "broken.tar")
    with pytest.raises(DecodeError, match=r"broken\.tar, byte \d+, sample '000000011': \$\.image"):
        list(broken.to_torch(4, num_workers=2, decode=DECODE))


@pytest.mark.parametrize("filtered", [False, True])
def test_an_error_of_a_worker_keeps_what_it_has(tmp_path: Path, filtered: bool) -> None:
    """Shard, offset and key can be asked for, and the message is the same without workers."""
    made = pictures(8)
    made[5] = Seen(Image(made[5].image.bytes[:60]), 5)
    broken: Dataset[Any] = write_samples(made, tmp_path / "broken.tar")
    if filtered:
        broken = broken.filter(can_be_decoded)
    found = []
    for workers in (0, 2):
        loader = broken.to_torch(4, num_workers=workers, decode=DECODE)
        with pytest.raises(DecodeError) as caught:
            list(loader)
        error = caught.value
        found.append((error.shard, error.offset, error.key, str(error)))
    assert found[0] == found[1]
    assert found[0][2] == "000000005"
    assert "can_be_decoded" in error.__notes__[0] or not filtered
