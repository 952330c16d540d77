"""Whatever strangers send: no code runs, nothing is read or asked for, and the error is ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.make import CORPUS, files, items

ROOT = Path(__file__).resolve().parents[2]
KINDS = sorted({item.path.partition("/")[0] for item in items()})
MEGABYTES = 256


def test_the_corpus_is_what_its_generator_makes() -> None:
    """The files are those that their programs make, and every one says what it tries."""
    kept = {
        path.relative_to(CORPUS).as_posix(): path.read_bytes()
        for path in CORPUS.rglob("*")
        if path.is_file()
    }
    assert kept == files()
    assert len(items()) >= 60
    assert all(item.tries for item in items())


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_comes_of_it(kind: str, tmp_path: Path) -> None:
    """Each file is refused, or is harmless, with an error of ours, within 256 MB of memory.

    Watched at the interpreter's own events and at the socket: no program, no text that is run,
    no module, file or folder of the user's, no address that is not public, no secret that is
    sent, nothing that is unpickled.
    """
    command = [sys.executable, "-m", "tests.hostile.run", str(tmp_path), f"{kind}/"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = {line["path"]: line for line in map(json.loads, done.stdout.splitlines())}
    expected = [item for item in items() if item.path.startswith(f"{kind}/")]
    assert found.keys() == {item.path for item in expected}
    for item in expected:
        line = found[item.path]
        assert not line["fault"], f"{item.path} {item.tries}: {line['fault']}"
        assert line["violations"] == [], f"{item.path} {item.tries}"
        assert line["megabytes"] < MEGABYTES, item.path
        refused = [end for end in line["ends"] if end != "read"]
        assert refused or item.harmless, f"{item.path} was read, though it {item.tries}"


@pytest.mark.parametrize(
    ("act", "noted"),
    [
        ("open('canary.txt').read()", "opens"),
        ("open('new.txt', 'w')", "opens"),
        ("__import__('os').system('true')", "os.system"),
        ("__import__('subprocess').run(['true'])", "subprocess.Popen"),
        ("exec('1 + 1')", "exec"),
        ("eval('1 + 1')", "exec"),
        ("__import__('canary_module')", "imports canary_module"),
        ("__import__('os').listdir('.')", "lists"),
        ("__import__('pickle').loads(b'cos\\nsystem\\n.')", "pickle.find_class"),
        ("__import__('socket').create_connection(('127.0.0.1', 1), 1)", "connects to"),
        ("__import__('pathlib').Path('canary.txt').unlink()", "os.remove"),
    ],
)
def test_the_watch_sees_what_it_is_for(act: str, noted: str, tmp_path: Path) -> None:
    """Each thing that must not happen is noticed when it does."""
    (tmp_path / "canary.txt").touch()
    (tmp_path / "canary_module.py").touch()
    (tmp_path / "work").mkdir()
    program = tmp_path / "program.py"
    program.write_text(
        f"import sys, pathlib, subprocess, pickle, socket\n"
        f"sys.path.append({str(ROOT)!r})\n"
        "from tests.hostile.watch import Watch\n"
        "watch = Watch([pathlib.Path('program.py')], pathlib.Path('work').resolve(), 9)\n"
        f"def act():\n    {act}\n"
        "watch.start()\n"
        "try:\n    act()\n"
        "except OSError:\n    print('an error')\n"
        "watch.on = False\n"
        "print(watch.seen)\n"
    )
    command = [sys.executable, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert noted in done.stdout
