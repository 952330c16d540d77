"""``atdata demo``: from a sample type to the network and back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray

from atdata.cli.output import progress, size
from atdata.dataset.write import write_samples
from atdata.errors import AtdataError, SandboxError
from atdata.load import load_dataset
from atdata.promote import promote_to_atmosphere
from atdata.samples.packable import packable

_SAMPLES: Final = 3_000
_SHARD_SAMPLES: Final = 1_000
_BATCH_SAMPLES: Final = 256


@packable
class Digit:
    """A drawn digit."""

    image: NDArray[np.uint8]
    label: int
    writer: str
    slant: float | None = None


def digits(number: int) -> Iterator[Digit]:
    """This many digits, the same in every run."""
    random = np.random.default_rng(7)
    for i in range(number):
        image = random.integers(0, 256, size=(28, 28), dtype=np.uint8)
        slant = float(random.normal()) if i % 3 else None
        yield Digit(image, label=i % 10, writer=f"writer-{i % 40:02d}", slant=slant)


def demo(
    no_network: Annotated[
        bool, typer.Option("--no-network", help="Skip the network part.")
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep", metavar="FOLDER", help="Work in this folder and keep everything in it."
        ),
    ] = None,
) -> None:
    """Make, index, publish and read back a dataset, locally."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        _run(keep.absolute(), no_network)
        return
    with tempfile.TemporaryDirectory(prefix="atdata-demo-") as folder:
        _run(Path(folder), no_network)
        _say("done", f"removed {folder}; --keep FOLDER keeps it")


def _run(folder: Path, no_network: bool) -> None:
    from atdata.local import DiskDataStore, LocalIndex

    with progress("writing samples", _SAMPLES, unit="samples") as advance:
        counted = _counted(digits(_SAMPLES), advance)
        written = write_samples(counted, folder / "digits.tar", maxcount=_SHARD_SAMPLES)
    shards = written.known_shards()
    fields = ", ".join(field.describe() for field in Digit.__atdata_codec__.fields)  # type: ignore[attr-defined]
    _say("type", f"Digit({fields})")
    _say("shards", f"{len(written):,} samples in {len(shards)} shards of {size(shards[0].bytes)}")
    _say("", f"{folder}/digits-{{000000..{len(shards) - 1:06d}}}.tar")

    index = LocalIndex(folder / "index.db", data_store=DiskDataStore(folder / "store"))
    entry = index.insert_dataset(
        written,
        name="digits",
        description="Random digits",
        tags=["demo", "images"],
        license="CC0-1.0",
        metadata={"seed": 7},
    )
    _say("index", f"{folder}/index.db: digits, {entry.cid}")
    _say("", entry.schema_ref)
    _say("", entry.data_urls[0])

    dataset = load_dataset("@local/digits", Digit, split="train", index=index)
    batches = list(dataset.shuffled(_BATCH_SAMPLES, seed=0))
    image: Any = batches[0].image
    _say("batches", f"{len(batches)} of up to {_BATCH_SAMPLES}: image {image.dtype} {image.shape}")
    _compare(dataset, "the local index")

    if no_network:
        _say("network", "skipped (--no-network)")
        return
    try:
        _publish(entry, index)
    except SandboxError as error:
        _say("network", "skipped: it cannot be started on this machine")
        _say("", " ".join(str(error).split())[:500])


def _publish(entry: Any, index: Any) -> None:
    from atdata.atmosphere import AtmosphereClient, PDSBlobStore
    from atdata.testing import network

    with network.start(report=lambda line: _say("network", line)) as net:
        alice = net.accounts[0]
        _say("network", f"directory {net.plc_url}, servers {', '.join(s.url for s in net.servers)}")
        with _environment({"ATDATA_PLC_URL": net.plc_url, "ATDATA_ALLOW_PRIVATE": "1"}):
            client = AtmosphereClient(alice.server_url)
            client.login(alice.handle, alice.password)
            store = PDSBlobStore(client)
            uri = promote_to_atmosphere(entry, index, client, data_store=store)
            _say("promoted", f"by {alice.handle}, {len(entry.shards)} shards as blobs")
            _say("", uri)
            again = promote_to_atmosphere(entry, index, client, data_store=store)
            _say("again", "promoted again: the same URI" if again == uri else f"DIFFERENT: {again}")
            _read_without_login(uri)


def _read_without_login(uri: str) -> None:
    # No login, no type, no index: the URI is all that load_dataset gets.
    dataset = load_dataset(uri, split="train")
    shards = dataset.shard_list
    found = f"{dataset.count():,} {dataset.sample_type.__name__} in {len(shards)} blobs"
    _say("anyone", f"load_dataset(uri), no login and no type given: {found}")
    _say("", shards[0])
    _compare(dataset, "the network")


def _compare(dataset: Any, place: str) -> None:
    names = [field.name for field in Digit.__atdata_codec__.fields]  # type: ignore[attr-defined]
    read = 0
    for expected, found in zip(digits(_SAMPLES), dataset.ordered(), strict=True):
        for name in names:
            mine, theirs = getattr(expected, name), getattr(found, name)
            same = np.array_equal(mine, theirs) if name == "image" else mine == theirs
            if not same:
                raise AtdataError(f"Sample {read} read from {place} differs in {name}.")
        read += 1
    _say("compared", f"{read:,} of {_SAMPLES:,} samples from {place} equal the originals")


def _counted(samples: Iterable[Digit], advance: Callable[[int], None]) -> Iterator[Digit]:
    for sample in samples:
        advance(1)
        yield sample


def _say(step: str, text: str) -> None:
    print(f"{step:<9} {text}", flush=True)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a block, and unset ATDATA_PDS_URL: readers have none."""
    names = {*values, "ATDATA_PDS_URL"}
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)
