"""Conformance of a data store.

For a store of your own, subclass `StoreSuite` in a test module and override ``store``::

    class TestMyStore(StoreSuite):
        @pytest.fixture
        def store(self, my_service):
            return MyStore(my_service.address)

Tests of a capability (see `atdata.capabilities`) that the store lacks are skipped.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata._protocols import AbstractDataStore
from atdata._shardlist import ShardInfo, shards_of
from atdata.capabilities import (
    SupportsCheck,
    SupportsCopy,
    SupportsFiles,
    SupportsMaxShardBytes,
    SupportsPlannedCopies,
    SupportsPresentCopies,
)
from atdata.dataset.dataset import Dataset
from atdata.dataset.write import write_samples
from atdata.errors import IntegrityError, NoDataUrlsError, StoreError
from atdata.samples.packable import packable
from atdata.sources.url import URLSource

__all__ = ["StoreSuite"]


@packable
@dataclass
class _Picture:
    pixels: NDArray[np.uint8]
    label: int


def _pictures(count: int, *, start: int = 0) -> list[_Picture]:
    return [
        _Picture(pixels=np.full((8, 8), n % 256, np.uint8), label=n)
        for n in range(start, start + count)
    ]


class StoreSuite:
    """What every store does, and what one with a capability does."""

    named_by_content: bool = False
    """Whether URLs depend on the bytes alone, so that prefixes have no meaning."""

    @pytest.fixture
    def store(self) -> AbstractDataStore:
        """A store for this test alone, with nothing below ``suite/``."""
        pytest.fail("Override the fixture 'store'.", pytrace=False)

    def open_url(self, store: AbstractDataStore, url: str) -> IO[bytes]:
        """Open one of the store's URLs. Override this if atdata does not read its scheme."""
        readable = store.read_url(url)
        return URLSource(readable).open_shard(URLSource(readable).shard_list[0])

    def read(self, store: AbstractDataStore, url: str) -> bytes:
        """The bytes at one of the store's URLs."""
        with self.open_url(store, url) as stream:
            return stream.read()

    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Dataset[_Picture]:
        """100 samples in 7 shards."""
        return write_samples(_pictures(100), tmp_path / "pictures", maxcount=15)

    def test_it_is_a_store(self, store: AbstractDataStore) -> None:
        """It has the three members of the protocol."""
        assert isinstance(store, AbstractDataStore)
        assert isinstance(store.supports_streaming(), bool)

    def test_every_sample_of_every_shard_arrives(
        self, store: AbstractDataStore, dataset: Dataset[_Picture]
    ) -> None:
        """The URLs read back as the dataset, sample for sample, in order."""
        urls = store.write_shards(dataset, prefix="suite/a")
        assert len(urls) == 7
        assert self.labels(store, urls) == list(range(100))

    def test_it_says_what_it_wrote(
        self, store: AbstractDataStore, dataset: Dataset[_Picture]
    ) -> None:
        """Size, hash and samples that it returns with a shard are those of its bytes."""
        for shard in shards_of(store.write_shards(dataset, prefix="suite/a", maxcount=40)):
            body = self.read(store, shard.url)
            assert shard.bytes in (None, len(body))
            assert shard.sha256 in (None, hashlib.sha256(body).hexdigest())
            assert shard.samples in (None, 40, 20)

    def test_shards_have_at_most_so_many_samples(
        self, store: AbstractDataStore, dataset: Dataset[_Picture]
    ) -> None:
        """maxcount divides the samples again."""
        urls = store.write_shards(dataset, prefix="suite/a", maxcount=40)
        assert len(urls) == 3
        assert self.labels(store, urls) == list(range(100))

    def test_shards_have_at_most_so_many_bytes(
        self, store: AbstractDataStore, dataset: Dataset[_Picture]
    ) -> None:
        """maxsize is never exceeded."""
        urls = store.write_shards(dataset, prefix="suite/a", maxsize=20_480)
        assert len(urls) > 1
        assert all(len(self.read(store, url)) <= 20_480 for url in urls)
        assert self.labels(store, urls) == list(range(100))

    def test_shards_keep_their_split(self, store: AbstractDataStore, tmp_path: Path) -> None:
        """A shard has samples of one split, however they are divided, and names it."""
        for number, split in enumerate(("test", "train")):
            pictures = _pictures(10, start=10 * number)
            write_samples(pictures, tmp_path / split / "pictures.tar", maxcount=4)
        dataset = Dataset[_Picture](str(tmp_path / "{test,train}" / "*.tar"))
        for maxcount in (None, 7):
            urls = store.write_shards(dataset, prefix=f"suite/{maxcount}", maxcount=maxcount)
            half = len(urls) // 2
            splits = [shard.split for shard in shards_of(urls)]
            assert splits == ["test"] * half + ["train"] * half
            assert self.labels(store, urls[:half]) == list(range(10))
            assert self.labels(store, urls[half:]) == list(range(10, 20))

    def test_shards_with_the_same_keys_are_joined(
        self, store: AbstractDataStore, tmp_path: Path
    ) -> None:
        """Keys are unique within a shard; joining shards that share keys loses no sample."""
        parts = [
            write_samples(_pictures(5, start=5 * n), tmp_path / f"{n}.tar").shard_list[0]
            for n in range(3)
        ]
        urls = store.write_shards(Dataset[_Picture](parts), prefix="suite/a", maxcount=100)
        assert len(urls) == 1
        assert self.labels(store, urls) == list(range(15))

    def test_writing_again_gives_the_same_urls(
        self, store: AbstractDataStore, dataset: Dataset[_Picture]
    ) -> None:
        """The same samples under the same prefix are the same shards."""
        urls = list(store.write_shards(dataset, prefix="suite/a"))
        assert list(store.write_shards(dataset, prefix="suite/a")) == urls
        assert self.labels(store, urls) == list(range(100))

    def test_nothing_is_overwritten(
        self, store: AbstractDataStore, dataset: Dataset[_Picture], tmp_path: Path
    ) -> None:
        """Other samples under the same prefix do not replace those already written."""
        urls = store.write_shards(dataset, prefix="suite/a")
        other = write_samples(_pictures(9, start=1000), tmp_path / "other.tar")
        if self.named_by_content:
            store.write_shards(other, prefix="suite/a")
        else:
            with pytest.raises(StoreError):
                store.write_shards(other, prefix="suite/a")
        assert self.labels(store, urls) == list(range(100))

    def test_an_empty_dataset_is_refused(
        self, store: AbstractDataStore, dataset: Dataset[_Picture]
    ) -> None:
        """A dataset without samples is a ValueError."""
        with pytest.raises(NoDataUrlsError):
            store.write_shards(dataset.filter(lambda sample: False), prefix="suite/a")

    def test_a_second_run_completes_a_broken_one(
        self, store: AbstractDataStore, dataset: Dataset[_Picture]
    ) -> None:
        """If a sample cannot be read, the caller gets the error, and can write again."""

        def broken(sample: _Picture) -> _Picture:
            if sample.label == 60:
                raise ArithmeticError("sample 60")
            return sample

        with pytest.raises(ArithmeticError, match="sample 60"):
            store.write_shards(dataset.map(broken), prefix="suite/a")
        assert self.labels(store, store.write_shards(dataset, prefix="suite/a")) == list(range(100))

    @pytest.mark.parametrize("error", [ArithmeticError, KeyboardInterrupt, SystemExit])
    @pytest.mark.parametrize("at", [20, 99])
    def test_a_writer_that_fails_takes_nothing_from_another(
        self,
        store: AbstractDataStore,
        dataset: Dataset[_Picture],
        error: type[BaseException],
        at: int,
    ) -> None:
        """Shards that another writer of the same samples returned stay, however this one ends."""
        written: list[Sequence[str]] = []

        def overtaken(sample: _Picture) -> _Picture:
            if sample.label == at:
                written.append(store.write_shards(dataset, prefix="suite/a"))
                raise error
            return sample

        with pytest.raises(error):
            store.write_shards(dataset.map(overtaken), prefix="suite/a")
        assert self.labels(store, written[0]) == list(range(100))

    @pytest.mark.parametrize("wrong", ["data.tar", ["data.tar"], None])
    def test_what_is_no_dataset_is_refused(self, store: AbstractDataStore, wrong: Any) -> None:
        """A path or a list in place of a dataset is a ValueError or a TypeError."""
        with pytest.raises((ValueError, TypeError)):
            store.write_shards(wrong, prefix="suite/a")

    @pytest.mark.parametrize("prefix", ["../out", "a/../../out", "/absolute", "a/./b", "a\nb"])
    def test_a_prefix_does_not_lead_out(
        self, store: AbstractDataStore, dataset: Dataset[_Picture], prefix: str
    ) -> None:
        """A prefix that leads elsewhere is a ValueError; content names ignore prefixes."""
        if self.named_by_content:
            urls = store.write_shards(dataset, prefix=prefix)
            assert not [url for url in urls if prefix in url]
            assert self.labels(store, urls) == list(range(100))
            return
        with pytest.raises(ValueError):
            store.write_shards(dataset, prefix=prefix)

    @pytest.mark.parametrize("prefix", ["p{1..3}/*", "a[1]{b,c}?", r"back\slash/{", "a b%20#c~ü"])
    def test_every_prefix_gives_urls_that_are_read(
        self, store: AbstractDataStore, dataset: Dataset[_Picture], prefix: str
    ) -> None:
        """Shards below a prefix that looks like a pattern are read by their URLs: all together,
        one by one, by what `read_url` returns, and by the shards of a dataset of them."""
        urls = store.write_shards(dataset, prefix=f"suite/{prefix}", maxcount=60)
        readable = [store.read_url(url) for url in urls]
        for given in (urls, list(urls), readable, Dataset[_Picture](urls).shard_list):
            read = Dataset[_Picture](given)
            assert [sample.label for sample in read] == list(range(100))
        (last,) = Dataset[_Picture](urls[1]).shard_list
        assert last == URLSource(urls[1]).shard_list[0]
        assert [sample.label for sample in Dataset[_Picture](last)] == list(range(60, 100))

    def test_copies_are_exact(self, store: AbstractDataStore, tmp_path: Path) -> None:
        """Copies have the same bytes, in the same order, whatever was known of the shards."""
        shards, bodies = self.bodies()
        shards = [replace(shard, split=split) for shard, split in zip(shards, "abca", strict=True)]
        unknown = [ShardInfo(shard.url) for shard in shards]
        for known in (shards, unknown):
            copies = shards_of(self.copy(store, known, bodies))
            assert [self.read(store, copy.url) for copy in copies] == list(bodies.values())
            assert [copy.sha256 for copy in copies] == [shard.sha256 for shard in shards]
            assert [copy.bytes for copy in copies] == [shard.bytes for shard in shards]
            # Who reads them may count the samples of shards of which nothing was known.
            for copy, shard in zip(copies, known, strict=True):
                assert shard.samples in (None, copy.samples)
            assert [copy.split for copy in copies] == [shard.split for shard in known]

    def test_an_existing_copy_is_not_made_again(self, store: AbstractDataStore) -> None:
        """A second run reads no shard that the first copied, and returns the same URLs."""
        shards, bodies = self.bodies()
        first = self.copy(store, shards, bodies)
        read: list[str] = []
        again = self.copy(store, shards, bodies, read)
        assert list(again) == list(first)
        assert read == []

    def test_an_interrupted_copy_resumes(self, store: AbstractDataStore) -> None:
        """After a failure in the middle, a second run copies only the rest."""
        shards, bodies = self.bodies()
        gone = dict(bodies)
        del gone[shards[2].url]
        begun: list[str] = []
        with pytest.raises(KeyError):
            self.copy(store, shards, gone, begun)
        read: list[str] = []
        copies = shards_of(self.copy(store, shards, bodies, read))
        # Copies in progress are finished, and their shards are not read again.
        finished = {*begun} - {shards[2].url}
        assert {*read} == {*bodies} - finished
        assert len(read) == len({*read})
        assert [self.read(store, copy.url) for copy in copies] == list(bodies.values())

    def test_other_bytes_than_recorded_are_not_copied(self, store: AbstractDataStore) -> None:
        """A shard that has another hash or size than recorded is an IntegrityError."""
        shards, bodies = self.bodies()
        changed = {**bodies, shards[1].url: bodies[shards[1].url][:-1] + b"x"}
        shorter = {**bodies, shards[1].url: bodies[shards[1].url][:-1]}
        for wrong in (changed, shorter):
            with pytest.raises(IntegrityError, match=shards[1].url):
                self.copy(store, shards, wrong)

    def test_copying_nothing_is_refused(self, store: AbstractDataStore) -> None:
        """No shards are a ValueError."""
        with pytest.raises(NoDataUrlsError):
            self.copy(store, [], {})

    def test_copies_go_where_they_were_planned(self, store: AbstractDataStore) -> None:
        """The planned URLs of copies are those that they get, in order."""
        if not isinstance(store, SupportsPlannedCopies):
            pytest.skip("The store lacks SupportsPlannedCopies.")
        shards, bodies = self.bodies()
        planned = store.planned(shards, prefix="suite/copies")
        assert [str(shard.url) for shard in planned] == list(self.copy(store, shards, bodies))
        assert [shard.sha256 for shard in planned] == [shard.sha256 for shard in shards]

    def test_present_copies_are_those_that_were_made(self, store: AbstractDataStore) -> None:
        """Before copying none is present; afterwards all are, named by the shards' own URLs."""
        if not isinstance(store, SupportsPresentCopies):
            pytest.skip("The store lacks SupportsPresentCopies.")
        shards, bodies = self.bodies()
        assert list(store.present(shards, prefix="suite/copies")) == []
        self.copy(store, shards[:2], bodies)
        assert list(store.present(shards, prefix="suite/copies")) == list(bodies)[:2]

    def test_a_store_that_works_passes_its_check(self, store: AbstractDataStore) -> None:
        """check() of a store that takes shards returns."""
        if not isinstance(store, SupportsCheck):
            pytest.skip("The store lacks SupportsCheck.")
        store.check()

    def test_a_shard_above_the_limit_is_refused(self, store: AbstractDataStore) -> None:
        """A shard larger than max_shard_bytes() is a StoreError before it is read."""
        if not isinstance(store, SupportsMaxShardBytes):
            pytest.skip("The store lacks SupportsMaxShardBytes.")
        large = ShardInfo("from/large.tar", 1, store.max_shard_bytes() + 1, "0" * 64)
        read: list[str] = []
        with pytest.raises(StoreError):
            self.copy(store, [large], {}, read)
        assert read == []

    def test_files_next_to_shards(self, store: AbstractDataStore) -> None:
        """A file gets the URL that was announced, keeps its bytes, and can be written again."""
        if not isinstance(store, SupportsFiles):
            pytest.skip("The store lacks SupportsFiles.")
        url = store.file_url("about.json", prefix="suite/a")
        for _ in range(2):
            assert store.write_file("about.json", b"{}", prefix="suite/a") == url
        with pytest.raises(StoreError):
            store.write_file("about.json", b"[]", prefix="suite/a")
        assert self.read(store, url) == b"{}"

    def labels(self, store: AbstractDataStore, urls: Sequence[str]) -> list[int]:
        """The labels of the samples, of all shards in order."""
        labels: list[int] = []
        for url in urls:
            source = _OneShard(url, lambda wanted: self.open_url(store, wanted))
            labels += [sample.label for sample in Dataset[_Picture](source)]
        return labels

    def bodies(self) -> tuple[list[ShardInfo], dict[str, bytes]]:
        """Four shards to copy: what is known of them, and their bytes by URL."""
        bodies = {f"from/{n}.tar": bytes([n]) * (512 * 1000 * n + 512) for n in range(4)}
        shards = [
            ShardInfo(url, number + 1, len(body), hashlib.sha256(body).hexdigest())
            for number, (url, body) in enumerate(bodies.items())
        ]
        return shards, bodies

    def copy(
        self,
        store: Any,
        shards: Sequence[ShardInfo],
        bodies: dict[str, bytes],
        read: list[str] | None = None,
    ) -> Any:
        """Copy with the store; the URLs of shards that it reads are added to ``read``."""
        if not isinstance(store, SupportsCopy):
            pytest.skip("The store lacks SupportsCopy.")

        def open_shard(url: str) -> IO[bytes]:
            if read is not None:
                read.append(url)
            return io.BytesIO(bodies[url])

        return store.copy_shards(shards, open_shard, prefix="suite/copies")


class _OneShard:
    def __init__(self, shard: str, open_shard: Callable[[str], IO[bytes]]) -> None:
        self.shard_list = [shard]
        self._open = open_shard

    def open_shard(self, shard_id: str) -> IO[bytes]:
        return self._open(shard_id)

    def shards(self) -> Any:
        return ((shard, self.open_shard(shard)) for shard in self.shard_list)
