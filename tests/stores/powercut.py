"""What a power cut leaves: of an ext4 image as the disk has it, or of the calls that were made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import chain
from pathlib import Path

IMAGE_BYTES = 24 << 20


@cache
def can_mount() -> bool:
    """Whether images of file systems can be mounted here."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("mkfs.ext4", "mount", "umount"))):
        return False
    try:
        with tempfile.TemporaryDirectory() as folder, image(Path(folder)):
            return True
    except subprocess.CalledProcessError:
        return False


@contextmanager
def mounted(file: Path, at: Path) -> Iterator[Path]:
    """Mount an image; nothing reaches it on its own within an hour."""
    at.mkdir(exist_ok=True)
    _run("mount", "-o", "loop,commit=3600", str(file), str(at))
    try:
        yield at
    finally:
        _run("umount", str(at))


@contextmanager
def image(folder: Path) -> Iterator[tuple[Path, Path]]:
    """A new ext4 image, mounted: the image and where."""
    file = folder / "disk.img"
    with file.open("wb") as made:
        made.truncate(IMAGE_BYTES)
    _run("mkfs.ext4", "-q", "-F", str(file))
    with mounted(file, folder / "disk") as at:
        yield file, at


@contextmanager
def after_a_power_cut(file: Path) -> Iterator[Path]:
    """The image as its disk is this moment, mounted elsewhere."""
    copy = file.with_name("copy.img")
    shutil.copyfile(file, copy)
    with mounted(copy, file.with_name("copy")) as at:
        yield at
    copy.unlink()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


PRELUDE = """
import json, os, sys
_calls, _real = open(sys.argv.pop(), "w"), os.fsync
_note = lambda *call: print(json.dumps(call), file=_calls, flush=True)
def _fsync(file):
    number = file if isinstance(file, int) else file.fileno()
    path = os.readlink(f"/proc/self/fd/{number}")
    _real(number)
    _note("fsync", path)
os.fsync = _fsync
def _hook(event, args):
    if event == "open" and isinstance(args[0], (str, os.PathLike)) and args[2] & 3:
        _note("write", os.path.abspath(args[0]))
    elif event in ("os.rename", "os.link"):
        _note(event[3:], os.path.abspath(args[0]), os.path.abspath(args[1]))
    elif event == "os.mkdir" and not os.path.lexists(args[0]):
        _note("mkdir", os.path.abspath(args[0]))
sys.addaudithook(_hook)
"""
"""Has a program note which names it gives, which files it writes, and what it syncs."""


def lost_after(program: str, root: Path, *arguments: str) -> list[str]:
    """What of the files and folders below ``root`` a power cut may take after a program ended.

    Which is: names given in a folder that was not synced afterwards, and files that were not
    synced after they were opened to be written.
    """
    with tempfile.NamedTemporaryFile("r") as calls:
        command = [sys.executable, "-c", PRELUDE + program, *arguments, calls.name]
        subprocess.run(command, check=True)
        names, contents = _unsure([json.loads(line) for line in calls])
    there = [Path(folder, name) for folder, *inside in os.walk(root) for name in chain(*inside)]
    return sorted(str(path.relative_to(root)) for path in there if str(path) in names | contents)


def _unsure(calls: list[list[str]]) -> tuple[set[str], set[str]]:
    """Names that were not synced, and files whose content was not."""
    names: set[str] = set()
    contents: set[str] = set()
    for call, *paths in calls:
        if call == "fsync":
            contents.discard(paths[0])
            names -= {name for name in names if str(Path(name).parent) == paths[0]}
        elif call == "write":
            contents.add(paths[0])
            names.add(paths[0])
        else:
            names.add(paths[-1])
            contents.discard(paths[-1])
            if paths[0] in contents and call != "mkdir":
                contents.add(paths[-1])
    return names, contents
