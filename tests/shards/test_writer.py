"""Writing shards: the same bytes for the same samples, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata.errors import NoDataUrlsError, OptionError, ShardError
from atdata.shards.writer import PackedSample, write_keyed
from tests.shards.parts import Digit, FolderSink, digits, packed, read_all, shard_of


def names(sink: FolderSink) -> list[str]:
    """Names of the shards that the sink took."""
    return [path.name for path in sink.placed]


def test_shards_are_deterministic(tmp_path: Path) -> None:
    """The same samples give the same bytes, with no trace of clock, user or machine."""
    first = shard_of(digits(20), tmp_path / "a").read_bytes()
    assert first == shard_of(digits(20), tmp_path / "b").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        for info in tar:
            assert (info.mtime, info.uid, info.gid, info.uname, info.gname) == (0, 0, 0, "", "")
            assert info.mode == 0o644
            assert info.isreg()
    assert first.endswith(bytes(1024))


def test_what_is_known_of_a_shard_is_true(tmp_path: Path) -> None:
    """Size, hash and count that come back are those of the file."""
    sink = FolderSink(tmp_path)
    urls = write_keyed(packed(digits(7)), sink, stem="data", maxcount=3)
    assert [Path(url).name for url in urls] == [f"data-00000{i}.tar" for i in range(3)]
    for info in urls.shards:
        data = Path(info.url).read_bytes()
        assert (info.bytes, info.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert info.samples == len(read_all(data))


def test_shards_keep_their_borders_unless_told(tmp_path: Path) -> None:
    """Without limits, a new shard begins where the samples' own shard changes."""
    samples = [PackedSample(p.key, p.payload, i // 4) for i, p in enumerate(packed(digits(10)))]
    sink = FolderSink(tmp_path)
    assert [s.samples for s in write_keyed(samples, sink, stem="x").shards] == [4, 4, 2]
    assert [s.samples for s in write_keyed(samples, sink, stem="y", maxcount=5).shards] == [5, 5]


@settings(max_examples=25, deadline=None)
@given(maxsize=st.integers(2048, 20_000), count=st.integers(1, 25))
def test_maxsize_holds(tmp_path_factory: pytest.TempPathFactory, maxsize: int, count: int) -> None:
    """No tar is larger than maxsize, padding included, and no sample is lost."""
    folder = tmp_path_factory.mktemp("sized")
    urls = write_keyed(packed(digits(count)), FolderSink(folder), stem="x", maxsize=maxsize)
    assert all((shard.bytes or 0) <= maxsize for shard in urls.shards)
    assert [s for url in urls for _, s in read_all(Path(url))] == digits(count)


def test_a_sample_over_maxsize_is_refused(tmp_path: Path) -> None:
    """A sample is never split: a limit it cannot keep is an error, with nothing left."""
    sink = FolderSink(tmp_path)
    with pytest.raises(OptionError, match="'000000' alone is a tar of 2,048 bytes"):
        write_keyed(packed(digits(3)), sink, stem="x", maxsize=1500)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error(error: type[BaseException], tmp_path: Path) -> None:
    """When the samples fail midway, shards already placed and unfinished ones are gone."""

    def failing() -> Iterator[PackedSample]:
        yield from packed(digits(7))
        raise error("stop")

    with pytest.raises(error):
        write_keyed(failing(), FolderSink(tmp_path), stem="x", maxcount=3)
    assert not list(tmp_path.rglob("*.*"))


def test_nothing_to_write_is_an_error(tmp_path: Path) -> None:
    """No samples make no shard, and say so."""
    with pytest.raises(NoDataUrlsError):
        write_keyed([], FolderSink(tmp_path), stem="x")


@pytest.mark.parametrize("key", ["", "a/", "a.b", "x/a.b", "a\0", "\ud800", "k" * 5000])
def test_keys_that_would_not_read_back_are_refused(key: str, tmp_path: Path) -> None:
    """A key that a reader would see otherwise, or not at all, is an error."""
    with pytest.raises(ShardError):
        write_keyed([PackedSample(key, b"\x80")], FolderSink(tmp_path), stem="x")
    assert not list(tmp_path.rglob("*.*"))


def test_one_key_twice_is_refused(tmp_path: Path) -> None:
    """A shard in which a key appears twice is not written; two shards may share a key."""
    one = packed(digits(1))[0]
    with pytest.raises(ShardError, match="two samples"):
        write_keyed([one, one], FolderSink(tmp_path), stem="x")
    write_keyed([one, one], FolderSink(tmp_path), stem="x", maxcount=1)


@settings(max_examples=40, deadline=None)
@given(
    keys=st.lists(
        st.text(st.characters(exclude_characters="./\0", exclude_categories=["Cs"]), min_size=1)
        | st.lists(st.sampled_from(["a" * 60, "bé", "c.d", "x" * 99]), min_size=2, max_size=9).map(
            lambda parts: "/".join([*parts, "key"])
        ),
        unique=True,
        min_size=1,
        max_size=5,
    )
)
def test_any_key_reads_back(tmp_path_factory: pytest.TempPathFactory, keys: list[str]) -> None:
    """Keys of any length and script read back, with our reader and with Python's tarfile."""
    samples = [PackedSample(key, p.payload) for key, p in zip(keys, packed(digits(5)))]  # noqa: B905
    sink = FolderSink(tmp_path_factory.mktemp("keys"))
    [url] = write_keyed(samples, sink, stem="x", maxcount=100)
    assert [key for key, _ in read_all(Path(url))] == keys
    with tarfile.open(url) as tar:
        assert tar.getnames() == [key + ".msgpack" for key in keys]
        assert [tar.extractfile(m).read() for m in tar] == [s.payload for s in samples]  # type: ignore[union-attr]


def test_webdataset_reads_ours(tmp_path: Path) -> None:
    """A WebDataset reader that knows nothing of us sees one msgpack member a sample."""
    path = shard_of(digits(5), tmp_path)
    found = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [sample["__key__"] for sample in found] == [f"{i:06d}" for i in range(5)]
    assert [Digit.from_bytes(sample["msgpack"]) for sample in found] == digits(5)


def test_we_read_webdatasets(tmp_path: Path) -> None:
    """Shards that webdataset's writer made of as_wds samples read back."""
    with webdataset.TarWriter(str(tmp_path / "x.tar")) as writer:
        for i, digit in enumerate(digits(5)):
            writer.write({**digit.as_wds, "__key__": f"{i:06d}"})
    assert [sample for _, sample in read_all(tmp_path / "x.tar")] == digits(5)
