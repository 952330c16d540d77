"""File systems shared with other machines, where memory cannot be shared."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_MOUNTS: Final = Path("/proc/self/mountinfo")
ACROSS: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
)
"""Network file systems, and those between a virtual machine and its host."""
_FUSE: Final = "fuse."
"""Prefix of file systems that a program provides, such as sshfs."""


def network_file_system(path: Path) -> str | None:
    """The type of the file system of a path, if other machines may use it too.

    None if it is local, or if the system does not say: it is not Linux.
    """
    try:
        mounts = _MOUNTS.read_text(errors="surrogateescape")
    except OSError:
        return None
    kind = kind_of(Path(os.path.realpath(path)), mounts)
    return kind if kind in ACROSS or kind.startswith(_FUSE) else None


def kind_of(path: Path, mounts: str) -> str:
    """The type of the file system of an absolute path without links, from Linux's list of mounts.

    https://docs.kernel.org/filesystems/proc.html#proc-pid-mountinfo-information-about-mounts
    """
    best, kind = 0, ""
    for line in mounts.splitlines():
        place, _, what = line.partition(" - ")
        fields = place.split(" ")
        if len(fields) < 5:
            continue
        folder = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        # Of two mounts at one place, the later hides the earlier.
        if path.is_relative_to(folder) and len(folder.parts) >= best:
            best, kind = len(folder.parts), what.partition(" ")[0]
    return kind
