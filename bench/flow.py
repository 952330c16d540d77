"""``python -m bench.flow``: which files of the package a person opens to follow what it does.

Each line is one thing that a user does, followed under `sys.setprofile` in all threads: how many
files of ``src/atdata`` it runs, how many functions of them, how often they are called, and how many
of these calls lead from one file into another. What is imported on first use was imported before,
by the same thing done once before: what is counted is the flow, not what is made once a type.

To compare with another checkout, name its source: ``PYTHONPATH=…/src python -m bench.flow``.
``--network`` adds a promotion and reading it back at its AT URI, on a network of one's own.
``--files`` lists the files, ``--functions`` also what runs in each, and how often.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import atdata
from atdata.atmosphere import AtmosphereClient, PDSBlobStore
from atdata.local import LocalIndex
from atdata.promote import promote_to_atmosphere

SOURCE: Final = str(Path(atdata.__file__).resolve().parent)
SAMPLES: Final = 1000
BATCH_SIZE: Final = 64


@dataclass
class Flow:
    """What ran while something was done."""

    calls: dict[CodeType, int] = field(default_factory=dict)
    changes: int = 0

    @property
    def files(self) -> list[str]:
        """The files of the package, by their paths in it."""
        return sorted({code.co_filename.removeprefix(SOURCE + "/") for code in self.calls})

    def functions(self, file: str) -> list[tuple[int, str]]:
        """How often each function of a file is called, in the order in which they stand there."""
        inside = [code for code in self.calls if code.co_filename == f"{SOURCE}/{file}"]
        inside.sort(key=lambda code: code.co_firstlineno)
        return [(self.calls[code], code.co_qualname) for code in inside]

    def follow(self, do: Callable[[], Any]) -> Any:
        """What ``do`` returns, its calls counted, those in threads that it starts as well."""

        def see(frame: FrameType, event: str, _: Any) -> None:
            code = frame.f_code
            if event != "call" or not code.co_filename.startswith(SOURCE):
                return
            self.calls[code] = self.calls.get(code, 0) + 1
            caller = frame.f_back
            while caller is not None and not caller.f_code.co_filename.startswith(SOURCE):
                caller = caller.f_back
            if caller is not None and caller.f_code.co_filename != code.co_filename:
                self.changes += 1

        threading.setprofile(see)
        sys.setprofile(see)
        try:
            return do()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


def followed(do: Callable[[], Any]) -> tuple[Any, Flow]:
    """What ``do`` returns, and what ran meanwhile."""
    flow = Flow()
    return flow.follow(do), flow


@atdata.packable
class Sample:
    """An image and its label."""

    image: NDArray[np.float32]
    label: int


def reading(folder: Path) -> Iterator[tuple[str, Flow]]:
    """Write a shard, and read it in order and shuffled."""
    shard = str(folder / "x.tar")
    samples = [Sample(np.full((8, 8), i, np.float32), i) for i in range(SAMPLES)]
    yield "write", followed(lambda: atdata.write_samples(samples, shard))[1]

    def ordered() -> tuple[Any, Any]:
        batches = iter(atdata.Dataset[Sample](shard).ordered(BATCH_SIZE))
        return batches, next(batches)

    def shuffled() -> tuple[Any, Any]:
        batches = iter(atdata.Dataset[Sample](shard).shuffled(BATCH_SIZE, seed=0))
        return batches, next(batches)

    for what, begin in (("ordered", ordered), ("shuffled", shuffled)):
        (batches, _), first = followed(begin)
        yield f"{what}, first batch", first
        # The second batch may still be made by what was begun for the first one.
        next(batches)
        _, following = followed(partial(next, batches))
        yield f"{what}, next batch", following
        batches.close()


def login(network: Any) -> Any:
    """A session of an account of a network of one's own."""
    account = network.accounts[0]
    os.environ.update(ATDATA_PLC_URL=network.plc_url, ATDATA_PDS_URL=account.server_url)
    client = AtmosphereClient()
    client.login(account.handle, account.password)
    return client


def promoting(folder: Path, name: str, client: Any) -> Iterator[tuple[str, Flow]]:
    """Promote what was written, and read it back at its AT URI."""
    index = LocalIndex(f"sqlite:///{folder / 'index.db'}")
    entry = index.insert_dataset(atdata.Dataset[Sample](str(folder / "x.tar")), name=name)
    store = PDSBlobStore(client)

    def promote() -> Any:
        return promote_to_atmosphere(entry, index, client, data_store=store)

    uri, flow = followed(promote)
    yield "promote", flow

    def read() -> Any:
        found = atdata.load_dataset(str(uri), Sample, split="train")
        return next(iter(found.ordered(BATCH_SIZE)))

    yield "at://, first batch", followed(read)[1]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.flow", description=__doc__)
    parser.add_argument("--network", action="store_true", help="promote and read back as well")
    parser.add_argument("--files", action="store_true", help="list the files of each")
    parser.add_argument("--functions", action="store_true", help="and the functions in them")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        client: Any = None
        if arguments.network:
            from atdata.testing.network import start

            client = login(stack.enter_context(start()))
        print(f"{'':24}{'files':>7}{'functions':>11}{'calls':>9}{'changes of file':>17}")
        flows: list[tuple[str, Flow]] = []
        for turn in ("before", "counted"):
            (folder / turn).mkdir()
            flows = list(reading(folder / turn))
            if client is not None:
                flows += promoting(folder / turn, turn, client)
        for name, flow in flows:
            counts = len(flow.files), len(flow.calls), sum(flow.calls.values()), flow.changes
            print(f"{name:24}{counts[0]:7}{counts[1]:11}{counts[2]:9,}{counts[3]:17,}")
            for file in flow.files if arguments.files or arguments.functions else ():
                print(f"    {file}")
                for count, function in flow.functions(file) if arguments.functions else ():
                    print(f"{count:10} {function}")


if __name__ == "__main__":
    # The sample type is that of the module, which others find by its name.
    from bench import flow

    flow.main()
