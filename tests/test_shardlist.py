"""Many URLs said as one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata._shardlist import ShardInfo, ShardUrls, expand_braces, fold_urls, shards_of
from atdata.errors import UrlError

url_texts = st.text("ab019{},\\./", max_size=8)


@given(st.lists(url_texts, min_size=1, max_size=6))
def test_folding_loses_nothing(urls: list[str]) -> None:
    """Whatever the URLs, braces and commas in them included, unfolding gives them back."""
    assert expand_braces(fold_urls(urls)) == urls


@given(st.integers(0, 2000), st.integers(2, 50), st.integers(1, 6))
def test_numbered_shards_fold_into_a_range(first: int, count: int, width: int) -> None:
    """Numbered shards fold into WebDataset's own range notation and come back in order."""
    urls = [f"s3://b/x-{i:0{width}d}.tar" for i in range(first, first + count)]
    folded = fold_urls(urls)
    assert ".." in folded
    assert expand_braces(folded) == urls


@pytest.mark.parametrize(
    ("urls", "folded"),
    [
        (["a-000000.tar", "a-000001.tar", "a-000002.tar"], "a-{000000..000002}.tar"),
        (["s/8.tar", "s/9.tar", "s/10.tar"], "s/{8..10}.tar"),
        (["at://d/blob/abc", "at://d/blob/abd"], "at://d/blob/{abc,abd}"),
        (["https://a/x.tar", "s3://b/y.tar"], "{https://a/x,s3://b/y}.tar"),
        (["one.tar"], "one.tar"),
    ],
)
def test_folded_forms(urls: list[str], folded: str) -> None:
    """The folded URL is the one that a person would write."""
    assert fold_urls(urls) == folded


@pytest.mark.parametrize("url", ["a{b", "a}b", "{a,{b}", "{0..99999999}", "{" * 40 + "}" * 40])
def test_bad_braces_are_refused(url: str) -> None:
    """Braces that do not match, or stand for too many URLs, are an error and not a guess."""
    with pytest.raises(UrlError):
        expand_braces(url)


def test_products_are_capped() -> None:
    """A short expression cannot stand for a number of URLs that fills the memory."""
    with pytest.raises(UrlError, match="more than"):
        expand_braces("{0..9}" * 9)


def test_shards_keep_what_is_known() -> None:
    """A list of written shards is a list of URLs that remembers sizes and hashes."""
    urls = ShardUrls([ShardInfo("a.tar", 3, 1024, "ab"), ShardInfo("b.tar")])
    assert urls == ["a.tar", "b.tar"]
    assert shards_of(urls)[0].samples == 3
    assert shards_of(["x"]) == (ShardInfo("x"),)
    assert ShardInfo.from_dict(urls.shards[0].to_dict()) == urls.shards[0]


@pytest.mark.parametrize(
    ("url", "first", "last"),
    [
        ("{0..10}", "0", "10"),
        ("{00..10}", "00", "10"),
        ("{8..010}", "008", "010"),
        ("{0..9}", "0", "9"),
    ],
)
def test_numbers_are_padded_as_in_a_shell(url: str, first: str, last: str) -> None:
    """A lone zero is a number; a zero before other digits asks for as many of them."""
    found = expand_braces(url)
    assert (found[0], found[-1]) == (first, last)


@pytest.mark.parametrize("url", ["a{0..99}", "a{0..9}{0..9}", "{a,b,{0..99}}", "{1..999999999999}"])
def test_bounds_hold_before_anything_is_made(url: str) -> None:
    """More URLs, or more characters, than asked for are refused."""
    with pytest.raises(UrlError, match="stands for more than 99 URLs"):
        expand_braces(url, most=99)
    with pytest.raises(UrlError, match="stands for"):
        expand_braces("x" * 100 + url, characters=5_000)
