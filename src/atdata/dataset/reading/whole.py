"""The whole of a shard as one file: where links in it are followed, or a server has no ranges."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Final

from atdata._protocols import DataSource
from atdata.shards.tar.window import MappedFile
from atdata.sources.capabilities import local_path
from atdata.system.partial_files import room_for
from atdata.system.scratch import Scratch

_COPY: Final = 1 << 20


@contextmanager
def temporary_copy(shard: str, open_shard: Callable[[str], IO[bytes]]) -> Iterator[Path]:
    """A copy of a shard, which loses its name when the block ends; what has it open keeps it.

    Raises:
        SourceError: The shard cannot be read, or there is no room for it.
    """
    with room_for(shard), Scratch(Path(tempfile.gettempdir()), "atdata-copy-") as folder:
        path = folder.path / "shard.tar"
        with closing(open_shard(shard)) as stream, path.open("wb") as file:
            shutil.copyfileobj(stream, file, _COPY)
        yield path


def whole_shard(
    source: DataSource, shard: str, open_shard: Callable[[str], IO[bytes]] | None = None
) -> MappedFile:
    """A shard mapped into memory, copied to this machine first where it is not there.

    Args:
        source: Where it is.
        shard: Its identifier.
        open_shard: How a copy of it is read; None: by the source.

    Raises:
        SourceError: As for `temporary_copy`.
    """
    path = local_path(source, shard)
    if path is not None:
        return MappedFile(path)
    with temporary_copy(shard, open_shard or source.open_shard) as copy:
        return MappedFile(copy)
