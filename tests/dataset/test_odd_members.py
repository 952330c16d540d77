"""Members of WebDataset samples that are links, apart from each other, or there twice."""

from __future__ import annotations

import io
import tarfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.dataset.reading.verify import verify_shards
from atdata.errors import DecodeError, SkippedSamplesWarning, UnreadMembersWarning
from tests.dataset.test_members import tar_at
from tests.sources.web import web_server


@contextmanager
def placed(path: Path, served: bool) -> Iterator[str]:
    """Where a shard is: its path, or its address on a server."""
    if not served:
        yield str(path)
        return
    with web_server() as site:
        site.files["/x.tar"] = path.read_bytes()
        yield f"{site.url}/x.tar"


@atdata.packable
class Picture:
    txt: str
    jpg: bytes = b"none"


def in_every_order(
    source: Any, on_error: Any, sample_type: Any = Picture, *, warns: bool = True
) -> Iterator[list[Any]]:
    """What a dataset holds: in order, in batches, shuffled, shuffled in a buffer, and by rank."""
    opened = partial(atdata.Dataset[sample_type], source, on_error=on_error)
    for read in (
        lambda: opened(),
        lambda: (sample for batch in opened().ordered(7) for sample in batch),
        lambda: opened().shuffled(seed=2),
        lambda: opened().shuffled(seed=2, window=50),
        lambda: (sample for rank in range(2) for sample in opened().split(rank, 2).ordered()),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield list(read())
        if warns:
            assert any(issubclass(w.category, SkippedSamplesWarning) for w in caught)


@pytest.mark.parametrize("served", [False, True], ids=["file", "server"])
@pytest.mark.parametrize("samples", [4, 400])
def test_samples_that_are_apart_or_double_are_errors_or_skipped(
    samples: int, served: bool, tmp_path: Path
) -> None:
    """Members apart, and one twice: an error that says which sample, or all of it is skipped."""
    whole = [(f"{n:04d}.{end}", b"%d" % n) for n in range(samples) for end in ("jpg", "txt")]
    twice = [*whole[:2], ("0000.TXT", b"u"), *whole[2:]]
    apart = [*whole, ("0001.seg", b"s")]
    for files, key, message in (
        (twice, "0000", "the member 'txt' twice"),
        (apart, "0001", "do not stand next to each other"),
    ):
        path = tar_at(tmp_path / "x.tar", files)
        with placed(path, served) as place:
            dataset = atdata.Dataset[Picture](place)
            for read in (list, lambda ds: list(ds.shuffled()), lambda ds, key=key: ds.by_key(key)):
                found = rf"x\.tar, byte \d+, sample '{key}'.*{message}"
                with pytest.raises(DecodeError, match=found):
                    read(dataset)
            assert dataset[samples - 1].txt == str(samples - 1)
            [verdict] = verify_shards(dataset.source, dataset.known_shards())
            assert (verdict.status == "failed") == (files is apart), verdict.reason
            expected = [str(n) for n in range(samples) if f"{n:04d}" != key]
            for got in in_every_order(dataset.source, "skip"):
                if served and files is apart:
                    # Of a stream, the first part was given before the other was found.
                    got = [sample for sample in got if sample.txt != "1"]
                assert sorted(sample.txt for sample in got) == sorted(expected)


def linked_tar(path: Path, links: list[tuple[str, bytes, str]], samples: int = 3) -> Path:
    """A shard of pictures with texts, and with links: after the sample of a name, or at the end."""
    with tarfile.open(path, "w") as tar:
        for n in range(samples):
            for name in (f"d/{n:03d}.jpg", f"d/{n:03d}.txt"):
                info = tarfile.TarInfo(name)
                info.size = 5
                tar.addfile(info, io.BytesIO(b"%s%02d" % (name[-3:].encode(), n)))
        for name, flag, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = flag, target
            tar.addfile(info)
            if flag == tarfile.LNKTYPE or not name.endswith(".jpg"):
                continue
            info = tarfile.TarInfo(name[:-4] + ".txt")
            info.size = 1
            tar.addfile(info, io.BytesIO(b"s"))
    return path


@pytest.mark.parametrize("served", [False, True], ids=["file", "server"])
@pytest.mark.parametrize("samples", [3, 300])
def test_links_are_followed_as_unpacking_would(samples: int, served: bool, tmp_path: Path) -> None:
    """A member that is a link has the bytes of its file, in every order and on a server."""
    links = [
        ("d/900.jpg", tarfile.LNKTYPE, "d/001.jpg"),
        ("d/900.txt", tarfile.LNKTYPE, "d/002.txt"),
        ("e/901.jpg", tarfile.SYMTYPE, "../d/000.jpg"),
        ("latest.data", tarfile.SYMTYPE, "d"),
    ]
    path = linked_tar(tmp_path / "x.tar", links, samples)
    unpacked = tmp_path / "unpacked"
    with tarfile.open(path) as tar:
        tar.extractall(unpacked, filter="fully_trusted")
    keys = [f"d/{n:03d}" for n in range(samples)] + ["d/900", "e/901"]
    texts = [(unpacked / f"{key}.txt").read_text() for key in keys]
    pictures = [(unpacked / f"{key}.jpg").read_bytes() for key in keys]
    expected = [Picture(*both) for both in zip(texts, pictures, strict=True)]
    with placed(path, served) as place:
        dataset = atdata.Dataset[Picture](place)
        for got in in_every_order(dataset.source, "raise", warns=False):
            assert sorted(got, key=str) == sorted(expected, key=str)
        with pytest.warns(UnreadMembersWarning, match="1 member .* 1 link"):
            assert list(atdata.Dataset[Picture](place)) == expected
        assert dataset.count() == samples + 2
        assert dataset.by_key("d/900") == dataset[samples] == expected[samples]
        again = atdata.write_samples(dataset, tmp_path / "again.tar", layout="members")
    assert list(again) == expected
    with tarfile.open(tmp_path / "again.tar") as tar:
        assert {member.type for member in tar} == {tarfile.REGTYPE}


@pytest.mark.parametrize(
    ("flag", "target", "message"),
    [
        (tarfile.SYMTYPE, "../../etc/passwd", "outside of the shard"),
        (tarfile.SYMTYPE, "/etc/passwd", "outside of the shard"),
        (tarfile.SYMTYPE, "900.jpg", "in a circle"),
        (tarfile.SYMTYPE, "none.jpg", "nothing in the shard"),
        (tarfile.LNKTYPE, "d/none.jpg", "no file before it"),
    ],
)
def test_links_that_lead_nowhere_are_errors(
    flag: bytes, target: str, message: str, tmp_path: Path
) -> None:
    """A link out of the shard, in a circle or to nothing is an error of its sample, or skipped."""
    path = linked_tar(tmp_path / "x.tar", [("d/900.jpg", flag, target)])

    @atdata.packable
    class Pixels:
        jpg: bytes
        txt: str = ""

    dataset = atdata.Dataset[Pixels](path)
    assert len(dataset) == 4
    for read in (list, lambda ds: list(ds.shuffled()), lambda ds: ds[3]):
        with pytest.raises(DecodeError, match=rf"byte \d+, sample 'd/900'.*{message}"):
            read(dataset)
    for got in in_every_order(dataset.source, "skip", Pixels):
        assert sorted(sample.txt for sample in got) == ["txt00", "txt01", "txt02"]
