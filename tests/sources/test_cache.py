"""The cache keeps copies: whole, checked, bounded, shared, and never an original."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atdata import URLSource
from atdata._shardlist import ShardInfo
from atdata.errors import IntegrityError, OptionError
from atdata.sources.cache import CachedSource
from tests.services.proxy import FaultProxy
from tests.sources.web import WebServer, web_server


@pytest.fixture
def site() -> Iterator[WebServer]:
    with web_server() as server:
        for number in range(4):
            server.files[f"/{number}.tar"] = bytes([number]) * 100_000
        yield server


def cached(site: WebServer, folder: Path, **options: object) -> CachedSource:
    source = URLSource([f"{site.url}/{number}.tar" for number in range(4)])
    return CachedSource(source, folder / "cache", **options)  # type: ignore[arg-type]


def copies(folder: Path) -> int:
    return len(list((folder / "cache").glob("*.shard")))


def read_all(source: CachedSource) -> list[bytes]:
    return [stream.read() for _, stream in source.shards()]


def test_what_was_read_once_is_read_from_disk(site: WebServer, tmp_path: Path) -> None:
    """The second time no request is sent, and the bytes are the same, by stream and by range."""
    first = read_all(cached(site, tmp_path))
    assert first == list(site.files.values())
    asked = len(site.asked)
    again = cached(site, tmp_path, hashed=True)
    assert read_all(again) == first
    part = again.ranges(again.shard_list[2])
    assert part is not None
    buffer = bytearray(5)
    part.read_into(memoryview(buffer), 99_995)
    assert bytes(buffer) == b"\2" * 5
    assert len(site.asked) == asked


def test_half_a_shard_is_no_copy(site: WebServer, tmp_path: Path) -> None:
    """A shard that was not read to its end leaves nothing in the folder."""
    source = cached(site, tmp_path)
    with source.open_shard(source.shard_list[0]) as stream:
        stream.read(10)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_folder_is_bounded(site: WebServer, tmp_path: Path) -> None:
    """What has no room is read from its server; copies that were made are not undone by it."""
    source = cached(site, tmp_path, max_bytes=250_000)
    for _ in range(2):
        assert read_all(source) == list(site.files.values())
        assert copies(tmp_path) == 2
    assert [path for path, _ in site.asked] == [f"/{n}.tar" for n in (0, 1, 2, 3, 2, 3)]
    assert source.ranges(source.shard_list[3]).max_gap_bytes > 10_000  # type: ignore[union-attr] # the server's
    small = cached(site, tmp_path / "small", max_bytes=1000)
    assert read_all(small) == list(site.files.values())
    assert copies(tmp_path / "small") == 0


def test_other_datasets_make_room(site: WebServer, tmp_path: Path) -> None:
    """Of the copies that other datasets have in the folder, the least recently used go first."""
    shards = cached(site, tmp_path).shard_list
    one, other = (
        CachedSource(URLSource(part), tmp_path / "cache", 250_000)
        for part in (shards[:2], shards[2:])
    )
    read_all(one)
    for path in (tmp_path / "cache").iterdir():
        os.utime(path, (1, 1))
    one.open_shard(shards[0]).read()
    other.open_shard(shards[2]).read()
    site.asked.clear()
    one.open_shard(shards[0]).read()
    assert site.asked == []
    assert one.open_shard(shards[1]).read() == site.files["/1.tar"]
    assert len(site.asked) == 1


def test_a_slow_reader_is_not_waited_for(site: WebServer, tmp_path: Path) -> None:
    """Who is in the middle of a shard keeps nobody from it: not even itself, by position."""
    source = cached(site, tmp_path)
    shard = source.shard_list[1]
    with source.open_shard(shard) as stream:
        assert stream.read(1) == b"\1"
        part = source.ranges(shard)
        buffer = bytearray(5)
        assert part is not None
        part.read_into(memoryview(buffer), 50)
        assert bytes(buffer) == stream.read(5)
        assert stream.read() == site.files["/1.tar"][6:]
    assert copies(tmp_path) == 1


def test_other_bytes_than_recorded_are_never_kept(site: WebServer, tmp_path: Path) -> None:
    """A shard with another hash raises at its end, with both hashes, and leaves no copy."""
    shard = f"{site.url}/0.tar"
    right = hashlib.sha256(b"other").hexdigest()
    source = cached(site, tmp_path, known={shard: ShardInfo(shard, sha256=right)})
    found = hashlib.sha256(site.files["/0.tar"]).hexdigest()
    for read in (lambda: source.open_shard(shard).read(), lambda: source.ranges(shard)):
        with pytest.raises(IntegrityError, match=f"{right}.*{found}"):
            read()
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_copy_is_made_anew(site: WebServer, tmp_path: Path) -> None:
    """A copy of another size is found out at once, one of other bytes by its hash."""
    source = cached(site, tmp_path, hashed=True)
    source.open_shard(source.shard_list[1]).read()
    (copy,) = (tmp_path / "cache").iterdir()
    for damage in (b"short", b"x" * 100_000):
        copy.write_bytes(damage)
        again = cached(site, tmp_path, hashed=True)
        assert again.open_shard(again.shard_list[1]).read() == site.files["/1.tar"]
        assert copy.read_bytes() == site.files["/1.tar"]


def test_files_of_this_machine_are_read_in_place(tmp_path: Path) -> None:
    """A local shard is neither copied nor ever removed."""
    original = tmp_path / "original.tar"
    original.write_bytes(b"data")
    source = CachedSource(URLSource(original), tmp_path / "cache", max_bytes=1)
    assert [stream.read() for _, stream in source.shards()] == [b"data"]
    assert source.local_path(source.shard_list[0]) == original
    assert list((tmp_path / "cache").iterdir()) == []
    assert original.exists()


def test_a_folder_that_cannot_be_written_is_refused(site: WebServer, tmp_path: Path) -> None:
    """A file in place of the folder, and a bound that is none, are errors before all reading."""
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(OptionError, match=r"cache cannot be written \(File exists\)"):
        cached(site, tmp_path)
    with pytest.raises(OptionError, match=r"cannot be written \(Not a directory\)"):
        cached(site, tmp_path / "cache")
    for wrong in (0, 1.5, True):
        with pytest.raises(OptionError, match="max_bytes"):
            cached(site, tmp_path / "other", max_bytes=wrong)


FULL = """
import sys
from pathlib import Path
from atdata import URLSource
from atdata.sources.cache import CachedSource
source = CachedSource(URLSource(sys.argv[1]), Path(sys.argv[2]))
for _ in range(2):
    assert len(source.open_shard(sys.argv[1]).read()) == 100_000
    assert source.ranges(sys.argv[1]).max_gap_bytes > 10_000  # the server's
    assert list(Path(sys.argv[2]).iterdir()) == []
"""


def test_a_full_disk_is_no_reason_to_stop(site: WebServer, tmp_path: Path) -> None:
    """If the disk fills during a copy, reading continues, and no partial copy is left."""
    cache = tmp_path / "cache"
    cache.mkdir()
    mount = ["unshare", "--user", "--mount", "--map-root-user", "sh", "-ec"]
    mount += ['mount -t tmpfs -o size=64k,mode=700 small "$0" && exec "$@"', str(cache)]
    if subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let its users mount a small disk")
    program = [sys.executable, "-c", FULL, f"{site.url}/0.tar", str(cache)]
    subprocess.run([*mount, *program], check=True)


def test_a_limit_of_the_size_of_files_is_no_reason_to_stop(site: WebServer, tmp_path: Path) -> None:
    """If files may not grow as large as a shard, reading continues too."""
    limit = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
"""
    command = [sys.executable, "-c", limit + FULL, f"{site.url}/0.tar", str(tmp_path / "cache")]
    subprocess.run(command, check=True)


MANY = """
import sys
from contextlib import suppress
from pathlib import Path
from atdata import URLSource
from atdata.sources.cache import CachedSource
folder = Path(sys.argv[1])
source = CachedSource(URLSource(sys.argv[2:]), folder, max_bytes=250_000)
for _ in range(5):
    for shard in source.shard_list:
        number = int(shard[-5])
        assert source.open_shard(shard).read() == bytes([number]) * 100_000
        part = memoryview(bytearray(7))
        source.ranges(shard).read_into(part, 50)
        assert bytes(part) == bytes([number]) * 7
        assert len(list(folder.glob("*.shard"))) <= 2
"""


def test_many_processes_share_a_folder(site: WebServer, tmp_path: Path) -> None:
    """Processes that fill, use and clear one small folder at once all read the right bytes."""
    urls = [f"{site.url}/{n}.tar" for n in range(4)]
    command = [sys.executable, "-c", MANY, str(tmp_path / "cache")]
    running = [
        subprocess.Popen([*command, *part])
        for part in (urls, urls[::-1], urls[:1], urls[1:2], urls[2:])
    ]
    assert [process.wait() for process in running] == [0] * 5
    assert 1 <= copies(tmp_path) <= 2
    assert not list((tmp_path / "cache").glob("*.part"))


FORKED = """
import os, sys, threading
from pathlib import Path
from atdata import URLSource
from atdata.sources.cache import CachedSource
source = CachedSource(URLSource(sys.argv[1]), Path(sys.argv[2]))

def read():
    part = memoryview(bytearray(5))
    source.ranges(sys.argv[1]).read_into(part, 50)
    assert bytes(part) == bytes(5)

copying = threading.Thread(target=read)
copying.start()
sys.stdin.readline()  # the copy has begun
child = os.fork()
if not child:
    print("forked", flush=True)
    read()
    print("read", flush=True)
    os._exit(0)
copying.join()
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("killed", [False, True])
def test_a_child_forked_while_a_shard_is_copied(
    site: WebServer, tmp_path: Path, proxy_to: Callable[[str], FaultProxy], killed: bool
) -> None:
    """A forked child waits for its parent's copy, or makes its own when the parent is killed."""
    proxy = proxy_to(site.url)
    held = proxy.pause(times=1)
    command = [sys.executable, "-c", FORKED, f"{proxy.url}/0.tar", str(tmp_path / "cache")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        held.wait()
        parent.stdin.write("\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == "forked\n"
        if killed:
            parent.kill()
        else:
            held.release()
        assert parent.stdout.readline() == "read\n"
        assert parent.wait() == (-signal.SIGKILL if killed else 0)
        held.release()
    assert copies(tmp_path) == 1
    assert not list((tmp_path / "cache").glob("*.part"))
    assert len(proxy.requests) == (2 if killed else 1)


def test_what_a_killed_process_left_is_removed(site: WebServer, tmp_path: Path) -> None:
    """After a crash nothing has to be cleaned by hand: its lock is gone, its rest is removed."""
    program = """
import os, signal, sys
from pathlib import Path
from atdata import URLSource
from atdata.sources.cache import CachedSource
stream = CachedSource(URLSource(sys.argv[1]), Path(sys.argv[2])).open_shard(sys.argv[1])
stream.read(10)
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", program, f"{site.url}/0.tar", str(tmp_path / "cache")]
    subprocess.run(command)
    assert len(list((tmp_path / "cache").glob("*.part"))) == 1
    source = cached(site, tmp_path)
    assert source.ranges(source.shard_list[1]) is not None
    assert not list((tmp_path / "cache").glob("*.part"))
    assert read_all(source) == list(site.files.values())


def test_links_in_a_shared_folder_lead_nowhere(site: WebServer, tmp_path: Path) -> None:
    """What another user put into a folder that all may write to is not written, nor read."""
    url = f"{site.url}/0.tar"
    mine = tmp_path / "mine.txt"
    mine.write_bytes(b"my own words")
    shared = tmp_path / "cache"
    source = cached(site, tmp_path)
    assert source.open_shard(url).read() == site.files["/0.tar"]
    (copy,) = shared.iterdir()
    key = copy.name.partition("-")[0]
    copy.unlink()
    for folder in (shared, shared / f"user-{os.geteuid()}"):
        shared.chmod(0o1777 if folder is not shared else 0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
        for place in (f"{key}.part", f"{key}-read.part", copy.name):
            for plant in (Path.symlink_to, Path.hardlink_to):
                (folder / place).unlink(missing_ok=True)
                plant(folder / place, mine)
                again = cached(site, tmp_path)
                assert again.open_shard(url).read() == site.files["/0.tar"]
                found = again.ranges(url)
                assert found is not None
                data = bytearray(600)
                found.read_into(memoryview(data), 100)
                assert data == site.files["/0.tar"][100:700]
                assert mine.read_bytes() == b"my own words"
            for left in folder.glob("*.*"):
                left.unlink()


def test_a_folder_of_somebody_else_is_refused(site: WebServer, tmp_path: Path) -> None:
    """In a folder that all may write to, a link in the place of one's own folder is an error."""
    shared = tmp_path / "cache"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / f"user-{os.geteuid()}").symlink_to(tmp_path)
    with pytest.raises(OptionError, match="others may write to it"):
        cached(site, tmp_path)
