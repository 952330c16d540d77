"""Shards by URL: braces, globs, folders, and what goes wrong."""

from __future__ import annotations

import os
import pickle
import pwd
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atdata
from atdata import Dataset
from atdata._protocols import DataSource
from atdata._shardlist import LocatedUrl, fold_urls
from atdata.errors import (
    AtdataError,
    NoDataUrlsError,
    ShardNotFoundError,
    SourceError,
    UnreadFilesWarning,
    UnsafeUrlError,
    UrlError,
)
from atdata.net.policy import STRANGER
from atdata.sources.url import URLSource
from tests.sources.web import WebServer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three shards and a file that is none."""
    for number in range(3):
        (tmp_path / f"a-{number:06d}.tar").write_bytes(b"shard %d" % number)
    (tmp_path / "notes.txt").write_bytes(b"notes")
    return tmp_path


@pytest.mark.parametrize(
    "name", ["a-{000000..000002}.tar", "*.tar", "a-??????.tar", "", "**/*.tar", "{a-*,none*}.tar"]
)
def test_every_way_to_name_shards(folder: Path, name: str) -> None:
    """Braces, globs and a folder all stand for the same shards, in order."""
    source = URLSource(str(folder / name))
    assert [Path(s).name for s in source.shard_list] == [f"a-00000{n}.tar" for n in range(3)]
    assert [stream.read() for _, stream in source.shards()] == [b"shard 0", b"shard 1", b"shard 2"]
    assert isinstance(source, DataSource)


def test_file_urls(folder: Path) -> None:
    """A file:// URL, with characters escaped, is a file of this machine."""
    (folder / "with space#1.tar").write_bytes(b"x")
    source = URLSource(f"file://{folder}/with%20space%231.tar")
    (shard,) = source.shard_list
    assert shard.startswith("file:///")
    assert source.open_shard(shard).read() == b"x"
    assert source.local_path(shard) == folder / "with space#1.tar"


def test_several_are_read_in_the_order_given(folder: Path) -> None:
    """A list keeps its order."""
    names = [folder / "a-000002.tar", folder / "a-000000.tar"]
    assert URLSource(names).shard_list == [str(name) for name in names]


def test_names_do_not_depend_on_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path becomes absolute, so that a worker or an index elsewhere finds it."""
    monkeypatch.chdir(folder)
    source = URLSource("a-000000.tar")
    assert source.shard_list == [str(folder / "a-000000.tar")]


@pytest.mark.parametrize("name", ["a[1].tar", "a{0..3}.tar", "a{.tar", "a*.tar"])
def test_a_file_of_just_this_name_comes_first(tmp_path: Path, name: str) -> None:
    """Characters with a meaning have none where a file is called so, folded or not."""
    path = tmp_path / name
    path.write_bytes(b"x")
    assert URLSource(path).shard_list == [str(path)]
    assert URLSource(fold_urls([str(path)])).shard_list == [str(path)]


def test_a_missing_file_says_so(folder: Path) -> None:
    """A plain name is not looked for before it is opened; then the error names it."""
    missing = str(folder / "none.tar")
    source = URLSource(missing)
    assert source.shard_list == [missing]
    with pytest.raises(ShardNotFoundError, match=r"none\.tar: there is no such file"):
        source.open_shard(missing)
    with pytest.raises(FileNotFoundError):
        next(source.shards())


def test_a_shard_of_another_source_is_not_opened(folder: Path) -> None:
    """An identifier that is not in the list is a KeyError that shows what is."""
    source = URLSource(folder)
    with pytest.raises(KeyError, match=r"has 3: .*a-000000\.tar"):
        source.open_shard(str(folder / "notes.txt"))


@pytest.mark.parametrize("name", ["none*.tar", "empty"])
def test_nothing_found_is_an_error(folder: Path, name: str) -> None:
    """A glob or a folder without shards says that nothing matched."""
    (folder / "empty").mkdir()
    with pytest.raises(NoDataUrlsError, match=name.replace("*", r"\*")):
        _ = URLSource(folder / name).shard_list


def test_one_of_several_that_matches_nothing_is_an_error(folder: Path) -> None:
    """If one glob of several matches nothing, the dataset is not silently smaller."""
    with pytest.raises(NoDataUrlsError, match=r"none\*"):
        _ = URLSource([folder / "a-*.tar", folder / "none*.tar"]).shard_list


def test_a_folder_that_took_a_shards_place_is_an_error(folder: Path) -> None:
    """A shard that has become a folder by the time it is opened is an error that says so."""
    source = URLSource(folder / "a-000000.tar")
    (shard,) = source.shard_list
    (folder / "a-000000.tar").unlink()
    (folder / "a-000000.tar").mkdir()
    with pytest.raises(SourceError, match="is a folder"):
        source.open_shard(shard)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ([], NoDataUrlsError),
        ("", UrlError),
        (["  "], UrlError),
        ("pipe:cat x.tar", UrlError),
        ("PIPE:cat x.tar", UrlError),
        ([3], UrlError),
        (None, UrlError),
        (3, UrlError),
    ],
)
def test_what_names_no_shard_fails_at_once(given: object, error: type[Exception]) -> None:
    """Nothing, an empty name, a command or a number is refused before anything is opened."""
    with pytest.raises(error):
        URLSource(given)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["gopher://h/x.tar", "ssh://h/x.tar"])
def test_an_unknown_scheme_shows_the_known_ones(url: str) -> None:
    """An unknown scheme is an error that lists the known ones."""
    with pytest.raises(UrlError, match="https"):
        _ = URLSource(url).shard_list


@pytest.mark.parametrize("url", ["file:///etc/hosts", "/etc/hosts", "http://127.0.0.1/x", "*.tar"])
def test_strangers_do_not_name_local_files(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """URLs from the network never open a file of this machine."""
    monkeypatch.delenv("ATDATA_ALLOW_PRIVATE", raising=False)
    source = URLSource(url, policy=STRANGER)
    with pytest.raises(UnsafeUrlError):
        _ = source.shard_list


def test_what_a_url_remembers_goes_to_its_shards() -> None:
    """The shards of an entry's URL keep its endpoint and its mark as untrusted."""
    url = LocatedUrl("s3://b/a-{0..1}.tar", endpoint="https://s3.example", stranger=True)
    for source in (URLSource(url), URLSource(URLSource(url).shard_list)):
        shards = source.shard_list
        assert shards == ["s3://b/a-0.tar", "s3://b/a-1.tar"]
        assert all(isinstance(shard, LocatedUrl) and shard.stranger for shard in shards)
        assert {getattr(shard, "endpoint", None) for shard in shards} == {"https://s3.example"}


def test_alternatives_of_several_schemes(folder: Path, web: WebServer) -> None:
    """Folded URLs that have not even the scheme in common are all read."""
    web.files["/b.tar"] = b"web"
    urls = [str(folder / "a-000000.tar"), f"{web.url}/b.tar"]
    source = URLSource(fold_urls(urls))
    assert [stream.read() for _, stream in source.shards()] == [b"shard 0", b"web"]


def test_a_copy_in_another_process_reads_the_same(folder: Path) -> None:
    """Pickled, as to a spawned worker, a source equals itself."""
    source = URLSource(folder)
    copy = pickle.loads(pickle.dumps(source))
    assert copy == source
    assert copy.shard_list == source.shard_list


def test_web_shards_with_braces(web: WebServer) -> None:
    """Braces work in http URLs, and the query stays out of the repr."""
    web.files = {f"/a-{n}.tar": b"%d" % n for n in range(3)}
    source = URLSource(f"{web.url}/a-{{0..2}}.tar?token=s3cret")
    assert [stream.read() for _, stream in source.shards()] == [b"0", b"1", b"2"]
    assert source.local_path(source.shard_list[0]) is None
    assert "s3cret" not in repr(source)


@pytest.mark.parametrize(
    "url",
    ["a\0.tar", "https://example.com/a\n.tar", "s3://bucket/a\x1b.tar", "https://h/\udc80.tar"],
)
def test_characters_that_no_url_has(url: str) -> None:
    """A NUL in any name, a control character or half of a character in a URL is a UrlError that
    says which, before anything is opened."""
    for several in (url, ["b.tar", url]):
        with pytest.raises(UrlError, match=r"the character U\+"):
            URLSource(several)


def test_names_of_files_may_be_no_text(tmp_path: Path) -> None:
    """A file on this machine is read whatever its name, line breaks and other bytes included."""
    for name in ("two\nlines.tar", "latin \udce9.tar"):
        (tmp_path / name).write_bytes(b"shard")
        source = URLSource(tmp_path / name)
        assert [stream.read() for _, stream in source.shards()] == [b"shard"]


@pytest.mark.parametrize(
    "thing", [1, None, b"a.tar", {"image": [1]}, np.zeros(3), [1, 2], object()], ids=type
)
def test_what_names_no_shards(thing: Any) -> None:
    """Data in place of their path are an error that says how data become shards."""
    with pytest.raises(UrlError, match=r"found \w+.*write_samples.*write_columns"):
        Dataset(thing)


ODD = ["[raw] v1", "set{A}", "q?x", "100%", "a#b", "two words", "a*b", "{x,y}", "~", "back\\slash"]


@pytest.mark.parametrize("name", ODD)
def test_a_folder_that_exists_is_no_pattern(name: str, tmp_path: Path) -> None:
    """Whatever characters the names of folders have, patterns after them find what is in them."""
    folder = tmp_path / name
    folder.mkdir()
    names = [f"x-{number:06d}.tar" for number in range(3)]
    for shard in names:
        (folder / shard).write_bytes(b"x")
    for tail in ("", "/*.tar", "/x-??????.tar", "/x-{000000..000002}.tar", "/{x-*,none*}.tar"):
        for given in (f"{folder}{tail}", Path(f"{folder}{tail}")):
            assert URLSource(given).shard_list == [str(folder / shard) for shard in names]
    odd = folder / f"{name}.tar"
    odd.write_bytes(b"odd")
    assert URLSource(str(odd)).open_shard(str(odd)).read() == b"odd"


def test_home_folders_are_those_of_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ~ leads home, ~user to that user's home; a name that begins with ~ is a name."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    for place in ("home/a.tar", "~mine.tar"):
        (tmp_path / place).write_bytes(b"x")
    for given in ("~/a.tar", "~/*.tar", "~/{a,}.tar", Path("~/a.tar")):
        assert str(tmp_path / "home" / "a.tar") in URLSource(given).shard_list
    assert URLSource("~mine.tar").shard_list == [str(tmp_path / "~mine.tar")]
    root = pwd.getpwuid(os.getuid())
    assert URLSource(f"~{root.pw_name}/x.tar").shard_list == [f"{root.pw_dir}/x.tar"]


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        (
            ["train/a.tar", "test/b.tar"],
            r"one level down, in test/, train/: .*\*\.tar' for all",
        ),
        (["a.tar.gz", "b.tgz"], r"holds 2 compressed tars, such as a\.tar\.gz: decompress"),
        (["1.jpg", "2.JPG", "k.json"], r"other files \(2 \.jpg, 1 \.json\): make samples"),
        (["a.TAR"], "whose ending has to be .tar"),
        ([], r"matches no tar file\.$"),
    ],
)
def test_a_folder_without_shards_says_what_it_holds(
    files: list[str], hint: str, tmp_path: Path
) -> None:
    """The wrong folder is an error that says what is in it, and what to do."""
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"x")
    with pytest.raises(NoDataUrlsError, match=hint):
        _ = URLSource(tmp_path).shard_list


def test_compressed_shards_next_to_plain_ones_are_reported(folder: Path) -> None:
    """A folder that is partly compressed is not read in part without a warning."""
    (folder / "a-000003.tar.gz").write_bytes(b"x")
    with pytest.warns(UnreadFilesWarning, match=r"1 compressed tar was not read, such as a-000003"):
        assert len(URLSource(folder).shard_list) == 3


@pytest.mark.parametrize("scheme", ["s3", "http", "https", "at", "gs", "hf", "HTTPS"])
@pytest.mark.parametrize("rest", ["/bucket/a.tar", "/bucket/*.tar", "bucket/{0..1}.tar"])
def test_a_url_that_lacks_a_slash_is_said_to(scheme: str, rest: str) -> None:
    """A path that is almost a URL names a missing file; the error says how URLs begin."""
    with pytest.raises(AtdataError, match=f"A URL begins with {scheme}://"):
        list(atdata.Dataset(f"{scheme}:{rest}"))
    with pytest.raises(AtdataError, match=f"A URL begins with {scheme}://"):
        atdata.load_dataset(f"{scheme}:{rest}", split="train")


def test_an_open_file_is_named_by_its_path(tmp_path: Path) -> None:
    """What was opened is not read line by line for URLs."""
    path = tmp_path / "a.tar"
    path.write_bytes(b"x\n")
    with (
        path.open("rb") as file,
        pytest.raises(UrlError, match=r"an open file.*its path: '.*a\.tar'"),
    ):
        atdata.Dataset(file)  # type: ignore[arg-type]
