"""What the interpreter does while a file of the corpus is read, watched at its audit events."""

from __future__ import annotations

import os
import site
import sys
from pathlib import Path
from types import FrameType
from typing import Any

_PROGRAMS = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn")
_CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod")
_OTHERS = ("pickle.find_class", "ctypes.dlopen", "webbrowser.open", "socket.bind", "shutil.")
_SENDS = ("socket.sendto", "socket.sendmsg", "socket.gethostbyname", "ftplib.", "smtplib.")
_OWN = Path(__file__).resolve().parents[2]
_DATACLASSES = "/dataclasses.py"


class Watch:
    """Notes whatever a stranger's bytes must not bring about.

    Args:
        readable: Files and folders, beside the installed packages, that may be read.
        writable: The folder of temporary files.
        own_port: The port of this machine that public addresses lead to.
    """

    def __init__(self, readable: list[Path], writable: Path, own_port: int) -> None:
        self.seen: list[str] = []
        self.on = False
        self._port = own_port
        self._writable = str(writable)
        code = [sys.prefix, sys.base_prefix, str(_OWN / "src"), *site.getsitepackages()]
        self._readable = tuple({os.path.realpath(p) for p in (*code, *map(str, readable))})

    def start(self) -> None:
        """From now on. An audit hook cannot be taken away, so the process has to end."""
        sys.addaudithook(self._hook)
        self.on = True

    def note(self, what: str) -> None:
        """Remember a violation."""
        self.seen.append(what[:300])

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            self._opened(args[0], args[1], args[2])
        elif event == "socket.connect":
            if args[1] != ("127.0.0.1", self._port):
                self.note(f"connects to {args[1]}")
        elif event in ("exec", "compile"):
            self._runs(event, args)
        elif event == "import" and "canary" in str(args[0]):
            self.note(f"imports {args[0]}")
        elif event.startswith((*_PROGRAMS, *_CHANGES, *_OTHERS, *_SENDS)):
            self.note(f"{event} {args!r:.200}")
        elif event in ("os.listdir", "os.scandir", "glob.glob"):
            self._lists(args[0])

    def _lists(self, path: Any) -> None:
        # Where a module or a plug-in is looked for, the folders of sys.path are listed.
        if not self._may_read(path) and not _within("importlib"):
            self.note(f"lists {path}")

    def _opened(self, path: Any, mode: Any, flags: int) -> None:
        if isinstance(path, int):
            return
        place = os.path.realpath(os.fsdecode(path))
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else 0
        if place.startswith(self._writable):
            return
        if writes or not self._may_read(place):
            self.note(f"opens {place} {mode}")

    def _may_read(self, path: Any) -> bool:
        place = os.path.realpath(os.fsdecode(path or "."))
        return any(place == p or place.startswith(p + os.sep) for p in self._readable)

    def _runs(self, event: str, args: tuple[Any, ...]) -> None:
        name = args[0].co_filename if event == "exec" else str(args[1])
        if event == "compile" and name == "<unknown>":
            return  # ast.literal_eval: parsed, never run
        if name.startswith("<frozen") or (Path(name).is_absolute() and self._may_read(name)):
            return
        # The standard library makes the methods of a dataclass of text, from checked names.
        if not _within(_DATACLASSES):
            self.note(f"{event} {name}")


def _within(file: str) -> bool:
    """Whether one of the calls that led here is in a file whose name holds this."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if file in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False
