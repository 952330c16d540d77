"""``atdata demo``: the main job, from a sample type to the network and back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from atdata._protocols import IndexEntry
from atdata.cli.output import progress, size
from atdata.dataset.write import write_samples
from atdata.errors import AtdataError, SandboxError
from atdata.load import load_dataset
from atdata.promote import promote_to_atmosphere, shards_of_entry
from atdata.samples.packable import packable

SAMPLES = 3_000
SHARD = 1_000
BATCH = 256


@packable
class Digit:
    """A drawn digit."""

    image: NDArray[np.uint8]
    label: int
    writer: str
    slant: float | None = None


def digits(number: int) -> Iterator[Digit]:
    """So many digits, the same in every run."""
    random = np.random.default_rng(7)
    for i in range(number):
        image = random.integers(0, 256, size=(28, 28), dtype=np.uint8)
        slant = float(random.normal()) if i % 3 else None
        yield Digit(image, label=i % 10, writer=f"writer-{i % 40:02d}", slant=slant)


def demo(
    no_network: Annotated[
        bool, typer.Option("--no-network", help="Leave out the part on the network.")
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep",
            metavar="FOLDER",
            show_default=False,
            help="Work in this folder and leave everything there.",
        ),
    ] = None,
) -> None:
    """Make a dataset, index it, publish it on a network of its own, and read it back."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        _run(keep.absolute(), no_network)
        return
    with tempfile.TemporaryDirectory(prefix="atdata-demo-") as folder:
        _run(Path(folder), no_network)
        _say("done", f"{folder} is removed; --keep FOLDER keeps it")


def _run(folder: Path, no_network: bool) -> None:
    from atdata.local import DiskDataStore, LocalIndex

    with progress("writing samples", SAMPLES, unit="samples") as bar:
        drawn = (_advance(bar, digit) for digit in digits(SAMPLES))
        written = write_samples(drawn, folder / "digits.tar", maxcount=SHARD)
    shards = written.known_shards()
    fields = ", ".join(field.describe() for field in Digit.__atdata_codec__.fields)  # type: ignore[attr-defined]
    _say("type", f"Digit({fields})")
    _say("shards", f"{len(written):,} samples in {len(shards)} shards of {size(shards[0].bytes)}")
    _say("", f"{folder}/digits-{{000000..{len(shards) - 1:06d}}}.tar")

    index = LocalIndex(folder / "index.db", data_store=DiskDataStore(folder / "store"))
    entry = index.insert_dataset(
        written,
        name="digits",
        description="Digits that nobody drew",
        tags=["demo", "images"],
        license="CC0-1.0",
        metadata={"seed": 7},
    )
    _say("index", f"{folder}/index.db: digits, {entry.cid}")
    _say("", entry.schema_ref)
    _say("", entry.data_urls[0])

    dataset = load_dataset("@local/digits", Digit, split="train", index=index)
    batches = list(dataset.shuffled(BATCH, seed=0))
    image: Any = batches[0].image
    _say("batches", f"{len(batches)} of up to {BATCH}: image {image.dtype} {image.shape}")
    _compare(dataset, "the local index")

    if no_network:
        _say("network", "left out (--no-network)")
        return
    try:
        _publish(entry, index)
    except SandboxError as error:
        _say("network", "left out: it cannot be started on this machine")
        _say("", " ".join(str(error).split())[:500])


def _publish(entry: IndexEntry, index: Any) -> None:
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
            _say("promoted", f"by {alice.handle}, {len(shards_of_entry(entry))} shards as blobs")
            _say("", uri)
            again = promote_to_atmosphere(entry, index, client, data_store=store)
            _say(
                "again",
                "promoted once more: the same URI" if again == uri else f"DIFFERENT: {again}",
            )
            _read_as_a_stranger(uri)


def _read_as_a_stranger(uri: str) -> None:
    # No login, no type, no index: what load_dataset makes of the URI alone.
    dataset = load_dataset(uri, split="train")
    shards = dataset.shard_list
    found = f"{dataset.count():,} {dataset.sample_type.__name__} in {len(shards)} blobs"
    _say("stranger", f"load_dataset(uri), no login and no type given: {found}")
    _say("", shards[0])
    _compare(dataset, "the network")


def _compare(dataset: Any, place: str) -> None:
    names = [field.name for field in Digit.__atdata_codec__.fields]  # type: ignore[attr-defined]
    read = 0
    for expected, found in zip(digits(SAMPLES), dataset.ordered(), strict=True):
        for name in names:
            mine, theirs = getattr(expected, name), getattr(found, name)
            same = np.array_equal(mine, theirs) if name == "image" else mine == theirs
            if not same:
                raise AtdataError(f"Sample {read} read from {place} differs in {name}.")
        read += 1
    _say("compared", f"{read:,} of {SAMPLES:,} samples from {place} are as they were made")


def _advance(bar: Any, sample: Digit) -> Digit:
    bar.advance(1)
    return sample


def _say(what: str, said: str) -> None:
    print(f"{what:<9} {said}", flush=True)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a while, and ATDATA_PDS_URL, which a stranger has not, away."""
    names = {*values, "ATDATA_PDS_URL"}
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)
