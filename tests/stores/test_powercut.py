"""What a call has returned from is there after a power cut: contents, names, and folders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import atdata
from tests.stores.parts import Photo
from tests.stores.powercut import after_a_power_cut, can_mount, image, lost_after

WRITERS = {
    "numbered shards": "photos(place / 'a' / 'b')",
    "one shard": "atdata.write_samples(SAMPLES, place / 'a' / 'photos' / 'x.tar')",
    "columns": "atdata.write_columns({'pixels': PIXELS, 'label': LABELS}, "
    "place / 'a' / 'photos', sample_type=Photo, maxcount=20)",
    "a store": "DiskDataStore(place / 'a' / 'b').write_shards(photos(elsewhere), prefix='c/d/e')",
    "copies in a store": "copied(DiskDataStore(place / 'a' / 'b'), photos(elsewhere))",
}
SETUP = """
import sys, numpy as np
from pathlib import Path
import atdata
from atdata.stores.disk import DiskDataStore
from tests.stores.parts import Photo, photos
LABELS = np.arange(60)
PIXELS = np.repeat(LABELS.astype(np.uint8), 256).reshape(60, 16, 16)
SAMPLES = [Photo(pixels, int(label)) for pixels, label in zip(PIXELS, LABELS)]
place, elsewhere = map(Path, sys.argv[1:])
def copied(store, ds):
    shards = ds.known_shards()
    store.copy_shards(shards, lambda url: open(url, 'rb'), prefix='c/d/e')
"""


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS.keys())
def test_everything_is_synced_and_named_for_good(writer: str, tmp_path: Path) -> None:
    """After the call there is no name and no content that the disk need not have."""
    place = tmp_path / "place"
    place.mkdir()
    assert lost_after(SETUP + writer, place, str(place), str(tmp_path / "elsewhere")) == []
    (folder,) = {path.parent for path in place.rglob("*.tar")}
    assert [sample.label for sample in atdata.Dataset[Photo](folder)] == list(range(60))


def test_what_a_reader_keeps_is_synced_too(tmp_path: Path) -> None:
    """Tables in the user's cache and copies of remote shards do not come back empty."""
    program = """
import http.server, os, threading
from functools import partial
elsewhere = Path(elsewhere)
ds = photos(elsewhere)
for table in elsewhere.rglob('*.idx'):
    table.unlink()
handler = partial(http.server.SimpleHTTPRequestHandler, directory=elsewhere / 'photos')
handler.func.log_message = lambda *_: None
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
urls = [f'http://127.0.0.1:{server.server_port}/photos-{n:06d}.tar' for n in range(3)]
shards = [shard.at(url) for shard, url in zip(ds.known_shards(), urls)]
os.environ['ATDATA_CACHE_DIR'] = str(place / 'cache')
read = atdata.Dataset.of(Photo, urls, shards=shards).cached()
assert len(list(read)) == 60 and read[59].label == 59
"""
    place = tmp_path / "place"
    place.mkdir()
    assert lost_after(SETUP + program, place, str(place), str(tmp_path / "elsewhere")) == []
    kept = {path.suffix for path in place.rglob("*") if path.is_file()}
    assert kept == {".shard", ".idx"}


if can_mount():

    def test_the_disk_has_it_when_the_power_goes(tmp_path: Path) -> None:
        """An ext4 image, copied the moment that each call has returned, has every sample."""
        with image(tmp_path) as (file, disk):
            for number, writer in enumerate(WRITERS.values()):
                place = disk / str(number)
                arguments = [str(place), str(tmp_path / f"elsewhere-{number}")]
                subprocess.run([sys.executable, "-c", SETUP + writer, *arguments], check=True)
                with after_a_power_cut(file) as copy:
                    (folder,) = {path.parent for path in (copy / str(number)).rglob("*.tar")}
                    labels = [sample.label for sample in atdata.Dataset[Photo](folder)]
                assert labels == list(range(60))
