"""Attributes are computed once, on first use, and block no other thread."""

from __future__ import annotations

import ast
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import atdata
from atdata import Dataset, write_samples
from atdata.system.forks import once
from tests.sources.web import WebServer, web_server

SRC = Path(atdata.__file__).parent


@atdata.packable
class Number:
    number: int


class Slow:
    """Computes its value once it is allowed to."""

    def __init__(self, go: threading.Event | None = None) -> None:
        self.go = go
        self.begun = threading.Event()
        self.calls = 0

    @once
    def value(self) -> int:
        """The value."""
        self.calls += 1
        self.begun.set()
        if self.go is not None:
            assert self.go.wait(60)
        return os.getpid()


def test_no_lock_of_all_instances_is_used() -> None:
    """functools.cached_property, which has one in Python 3.11, is not used in the package."""
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            named = isinstance(node, ast.Attribute) and node.attr == "cached_property"
            imported = isinstance(node, ast.ImportFrom) and "cached_property" in (
                alias.name for alias in node.names
            )
            found = named or imported
            assert not found, path


def test_a_value_is_made_once_whoever_asks() -> None:
    """Of many threads that ask at once, one computes it; then it is a plain attribute."""
    slow = Slow(threading.Event())
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(lambda: slow.value) for _ in range(8)]
        assert slow.begun.wait(60)
        assert slow.go is not None
        slow.go.set()
        assert {answer.result() for answer in asked} == {os.getpid()}
    assert slow.calls == 1
    assert slow.__dict__["value"] == slow.value
    assert Slow.value.__doc__ == "The value."
    plain = Slow()
    assert plain.value == os.getpid()
    assert pickle.loads(pickle.dumps({"value": plain.__dict__["value"]})) == {"value": plain.value}


def test_an_error_is_not_kept() -> None:
    """If computing it fails, the next access tries again."""

    class Failing:
        tries = 0

        @once
        def value(self) -> int:
            self.tries += 1
            if self.tries == 1:
                raise ValueError("not yet")
            return self.tries

    failing = Failing()
    with pytest.raises(ValueError, match="not yet"):
        _ = failing.value
    assert failing.value == 2


def test_one_that_waits_is_in_nobody_elses_way() -> None:
    """While one instance waits, others compute theirs, and a forked child computes its own."""
    slow = Slow(threading.Event())
    waiting = threading.Thread(target=lambda: slow.value)
    waiting.start()
    assert slow.begun.wait(60)
    assert Slow().value == os.getpid()
    child = os.fork()
    if child == 0:
        slow.go = None
        os._exit(0 if slow.value == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert slow.go is not None
    slow.go.set()
    waiting.join()
    assert slow.value == os.getpid()


@contextmanager
def silent_server(body: bytes) -> Iterator[tuple[WebServer, threading.Event, threading.Event]]:
    """A server without tables, which sends no shard before it is allowed to."""
    asked, go = threading.Event(), threading.Event()

    def program(_: dict[str, str]) -> bytes:
        asked.set()
        assert go.wait(120)
        return body

    with web_server() as site:
        site.programs["/x.tar"] = program
        try:
            yield site, asked, go
        finally:
            go.set()


def test_a_silent_server_holds_up_no_other_dataset(tmp_path: Path) -> None:
    """While a thread waits for a server, local datasets are read in every way, by children too."""
    local = write_samples([Number(i) for i in range(50)], tmp_path / "x.tar", fsync=False)
    path = local.shard_list[0]
    with silent_server(Path(path).read_bytes()) as (site, asked, go):
        remote = Dataset[Number](f"{site.url}/x.tar")
        counts: list[int] = []
        waiting = threading.Thread(target=lambda: counts.append(remote.count()))
        waiting.start()
        assert asked.wait(60)

        def read() -> bool:
            return (
                len(Dataset[Number](path)) == 50
                and Dataset[Number](path)[5].number == 5
                and Dataset[Number](path).by_key("000000007").number == 7
                and len(list(Dataset[Number](path))) == 50
                and len(list(Dataset[Number](path).shuffled(seed=1))) == 50
                and len(list(Dataset[Number](path).split(0, 2).batches(7))) == 4
            )

        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(read).result(timeout=60)
        child = os.fork()
        if child == 0:
            os._exit(0 if read() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert waiting.is_alive()
        go.set()
        waiting.join()
        assert counts == [50]


_FORKS = """
import os, sys, threading
import atdata
from atdata import Dataset

@atdata.packable
class Number:
    number: int

where, url = sys.argv[1:]
stop = threading.Event()

def read(place):
    made = Dataset[Number](place)
    made.count()
    return made[5].number == 5 and len(made[:9]) == 9 and len(list(made.shuffled(8, seed=1))) > 1

def work(place):
    while not stop.is_set():
        assert read(place)

threads = [threading.Thread(target=work, args=(p,), daemon=True) for p in (where, where, url, url)]
for thread in threads:
    thread.start()
shared = Dataset[Number](where)
for number in range(20):
    child = os.fork()
    if child == 0:
        good = read(where) and shared[number].number == number and (number % 5 or read(url))
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
for thread in threads:
    thread.join()
"""


def test_children_forked_under_load_never_hang(tmp_path: Path) -> None:
    """Children forked while threads read, locally and over http, read and end."""
    local = write_samples([Number(i) for i in range(60)], tmp_path / "x.tar", fsync=False)
    with web_server() as site:
        for name in ("x.tar", "x.tar.idx"):
            site.files[f"/{name}"] = (tmp_path / name).read_bytes()
        command = [sys.executable, "-c", _FORKS, local.shard_list[0], f"{site.url}/x.tar"]
        subprocess.run(command, check=True, timeout=120)


_FINALIZERS = """
import faulthandler, gc, sys
faulthandler.dump_traceback_later(30, exit=True)
from atdata.system.forks import once

class Value:
    @once
    def number(self):
        return 1

class Garbage:
    def __init__(self):
        self.cycle, self.value = self, Value()
    def __del__(self):
        assert self.value.number == 1
        finalized.append(1)

finalized = []
for objects in range(1, 40):
    gc.set_threshold(objects)
    for _ in range(200):
        Garbage()
        assert Value().number == 1
assert finalized
"""


def test_finalizers_may_ask_for_values() -> None:
    """Garbage that is collected at any point of a computation reads such attributes, too."""
    done = subprocess.run([sys.executable, "-c", _FINALIZERS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
