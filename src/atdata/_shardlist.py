"""Lists of shards: ShardInfo for each, what their URLs say, and many URLs as one in braces."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from atdata._limits import limits
from atdata._registry import slash_missing
from atdata._secrets import redacted, redacted_repr
from atdata.errors import UrlError

MAX_EXPANSION: Final = 1_000_000
"""Most URLs that one brace expression may expand to."""
MAX_CHARACTERS: Final = 1_000_000_000
"""Most characters in all of them."""
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_RANGE = re.compile(r"([0-9]{1,18})\.\.([0-9]{1,18})")
_NUMBERED: Final = re.compile(r"(.*?)(?:-\d+)?(\.tar)", re.DOTALL)
"""The name of a shard, with the number that it has in a dataset of several."""
_MAX_ENTRIES: Final = 10_000
"""Entries of a folder that are looked at for an error."""
_SPECIAL = re.compile(r"[{},\\]")
_PATTERN = re.compile(r"[{}\\*?\[]")

Layout: TypeAlias = Literal["msgpack", "members"]
"""How a sample lies in the tar: one msgpack member; or several members of any form, next to each
other, recorded as one range: the offset is 512 bytes after its start; the size counts from it."""


@redacted_repr
@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard, and what is known of it."""

    url: str
    samples: int | None = None
    """Number of samples."""
    bytes: int | None = None
    """Size of the tar, padding included."""
    sha256: str | None = None
    """Lower-case hex."""
    mime: str | None = field(default=None, compare=False, repr=False)
    """MIME type of a blob on its server, which references to it must repeat."""
    split: str | None = None
    """Its split, such as ``train``; None if it is not known."""
    layout: Layout | None = field(default=None, compare=False)
    """How its samples lie in the tar, if that is not one msgpack member each, or it is known."""

    def at(self, url: str) -> ShardInfo:
        """The same bytes under another URL."""
        return replace(self, url=url, mime=self.mime if url == self.url else None)

    def to_dict(self) -> dict[str, Any]:
        """What is known, as JSON types."""
        known = {
            "bytes": self.bytes,
            "samples": self.samples,
            "sha256": self.sha256,
            "split": self.split,
            "layout": self.layout if self.layout != "msgpack" else None,
        }
        return {"url": self.url, **{k: v for k, v in known.items() if v is not None}}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ShardInfo:
        """The opposite of `to_dict`; unknown keys are ignored."""
        known = {name: data.get(name) for name in ("samples", "bytes", "sha256", "split")}
        return cls(data["url"], **known, layout=layout_named(data.get("layout")))


def layout_named(name: object) -> Layout | None:
    """The layout that an entry or a record names. Of one that this version does not know, None:
    the shard is looked at when it is read.
    """
    return "members" if name == "members" else None


class ShardUrls(list[str]):
    """The URLs of written shards, one each, with what is known of them in ``shards``.

    Braces and stars in them are not patterns.
    """

    def __init__(self, shards: Iterable[ShardInfo]) -> None:
        self.shards: tuple[ShardInfo, ...] = tuple(shards)
        super().__init__(exactly(shard.url) for shard in self.shards)

    def __repr__(self) -> str:
        return redacted(super().__repr__())


class LocatedUrl(str):
    """A URL with what its entry records of it; in all other ways a plain str.

    So if a program passes ``entry.data_urls[0]`` on as a plain URL, it is still read from the right
    server and checked against what is recorded, and an untrusted URL is still distinguished from
    one that the user typed.
    """

    endpoint: str | None
    """Server of ``s3://`` URLs. None: the one that the environment names."""
    region: str | None
    stranger: bool
    """Whether the URL came from the network, and must pass the policy for such URLs."""
    shards: tuple[ShardInfo, ...]
    """What is known of the shards that it stands for; may be empty."""
    exact: bool
    """Whether it names one shard: braces, stars and brackets in it are not patterns."""

    def __new__(
        cls,
        url: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        stranger: bool = False,
        shards: tuple[ShardInfo, ...] = (),
        exact: bool = False,
    ) -> LocatedUrl:
        made = super().__new__(cls, url)
        made.endpoint, made.region, made.stranger = endpoint, region, stranger
        made.shards, made.exact = shards, exact
        return made

    def at(self, url: str) -> LocatedUrl:
        """The URL of another shard in the same place, of which nothing else is known."""
        return _located(url, self.endpoint, self.region, self.stranger, (), exact=True)

    def __repr__(self) -> str:
        return redacted(super().__repr__())

    def __reduce__(self) -> tuple[object, ...]:
        place = (self.endpoint, self.region, self.stranger)
        return _located, (str(self), *place, self.shards, self.exact)


def _located(
    url: str,
    endpoint: str | None,
    region: str | None,
    stranger: bool,
    shards: tuple[ShardInfo, ...],
    exact: bool = False,
) -> LocatedUrl:
    return LocatedUrl(
        url, endpoint=endpoint, region=region, stranger=stranger, shards=shards, exact=exact
    )


def exactly(url: str) -> str:
    """The URL of one shard, marked so that no reader takes it for a pattern."""
    if isinstance(url, LocatedUrl) or not _PATTERN.search(url):
        return url
    return LocatedUrl(url, exact=True)


def shards_of(urls: Iterable[str]) -> tuple[ShardInfo, ...]:
    """What is known of shards: everything for `ShardUrls`, only the URL for plain strings."""
    if isinstance(urls, ShardUrls):
        return urls.shards
    return tuple(ShardInfo(url) for url in urls)


def scheme_of(url: str) -> str:
    """The scheme of a shard's URL, in lower case; ``file`` for a path."""
    match = _SCHEME.match(url)
    return match[1].lower() if match else "file"


def has_scheme(text: str) -> bool:
    """Whether a text is a URL, and not a path."""
    return _SCHEME.match(text) is not None


def head_of(shard: str) -> str | None:
    """The path of a numbered shard up to its number; None: it has no number."""
    head, _, ending = shard.rpartition("-")
    numbered = head and len(ending) >= 10 and ending.endswith(".tar") and ending[:-4].isdecimal()
    return head if numbered else None


def expand_braces(
    url: str, *, most: int = MAX_EXPANSION, characters: int = MAX_CHARACTERS
) -> list[str]:
    """Expand ``{000..006}`` and ``{a,b}`` in a URL, in order; they may be nested.

    A backslash escapes a brace, a comma or a backslash.

    Args:
        url: A URL with or without braces.
        most: Most URLs that it may expand to.
        characters: Most characters in all of them.

    Raises:
        UrlError: Braces that do not match, or more than ``most`` URLs or ``characters``.
    """
    if not _SPECIAL.search(url):
        return [url]
    parts, end = _sequence(url, 0, (most, characters), depth=0)
    if end != len(url):
        raise UrlError(f"{url!r}: a '}}' without its '{{'. Write \\}} for a brace that is meant.")
    return parts


def _sequence(text: str, at: int, bounds: tuple[int, int], *, depth: int) -> tuple[list[str], int]:
    if depth > limits.brace_nesting:
        raise UrlError(f"{text[:80]!r}…: braces nested more than {limits.brace_nesting} deep.")
    heads, literal = [""], []
    while at < len(text) and not (depth and text[at] in ",}") and text[at] != "}":
        if text[at] == "\\" and at + 1 < len(text) and _SPECIAL.match(text[at + 1]):
            literal.append(text[at + 1])
            at += 2
        elif text[at] == "{":
            tails, at = _group(text, at, bounds, depth=depth + 1)
            prefix = "".join(literal)
            literal = []
            _check_product(text, heads, prefix, tails, bounds)
            heads = [head + prefix + tail for head in heads for tail in tails]
        else:
            literal.append(text[at])
            at += 1
    rest = "".join(literal)
    _check_product(text, heads, rest, [""], bounds)
    return [head + rest for head in heads], at


def _check_product(
    text: str, heads: list[str], between: str, tails: list[str], bounds: tuple[int, int]
) -> None:
    """Refuse too many or too long URLs before they are made."""
    count = len(heads) * len(tails)
    _check_count(text, count, bounds[0])
    most = bounds[1]
    if count * (len(between) + max(map(len, heads)) + max(map(len, tails))) > most:
        raise UrlError(f"{text[:80]!r}… stands for URLs of more than {most:,} characters in all.")


def _group(text: str, at: int, bounds: tuple[int, int], *, depth: int) -> tuple[list[str], int]:
    close = text.find("}", at)
    if close > 0 and (match := _RANGE.fullmatch(text, at + 1, close)):
        first, last = match.groups()
        _check_count(text, abs(int(last) - int(first)) + 1, bounds[0])
        return _numbers(first, last), close + 1
    options: list[str] = []
    start = at
    while True:
        more, at = _sequence(text, at + 1, bounds, depth=depth)
        options += more
        _check_count(text, len(options), bounds[0])
        if at >= len(text):
            raise UrlError(f"{text!r}: the '{{' at character {start} is never closed.")
        if text[at] == "}":
            return options, at + 1


def _check_count(text: str, count: int, most: int) -> None:
    if count > most:
        raise UrlError(f"{text[:80]!r}… stands for more than {most:,} URLs.")


def _numbers(first: str, last: str) -> list[str]:
    a, b = int(first), int(last)
    # As in a shell: {0..10} begins with 0, {00..10} with 00.
    padded = any(len(text) > 1 and text.startswith("0") for text in (first, last))
    width = max(len(first), len(last)) if padded else 0
    step = 1 if b >= a else -1
    return [f"{n:0{width}d}" for n in range(a, b + step, step)]


def fold_urls(urls: Sequence[str]) -> str:
    """Fold many URLs into one: consecutive numbers as ``{000000..000006}``, others as ``{a,b}``.

    ``expand_braces(fold_urls(urls)) == list(urls)`` for every non-empty list.
    """
    if len(urls) == 1:
        return _escape(urls[0], "{}")
    prefix, suffix = _common_ends(urls)
    prefix, suffix = prefix.rstrip("0123456789"), suffix.lstrip("0123456789")
    inner = _as_range([url[len(prefix) : len(url) - len(suffix)] for url in urls])
    if inner is None:
        # Alternatives are easiest to read whole, from the last slash to the extension.
        prefix, suffix = prefix[: prefix.rfind("/") + 1], suffix[suffix.find(".") :]
        middles = (url[len(prefix) : len(url) - len(suffix)] for url in urls)
        inner = ",".join(_escape(middle, "{},") for middle in middles)
    return f"{_escape(prefix, '{}')}{{{inner}}}{_escape(suffix, '{}')}"


def _common_ends(urls: Sequence[str]) -> tuple[str, str]:
    prefix = _common_prefix(urls)
    room = min(len(url) for url in urls) - len(prefix)
    suffix = _common_prefix([url[::-1] for url in urls])[:room][::-1]
    return prefix, suffix if "." in suffix else ""


def _common_prefix(texts: Sequence[str]) -> str:
    low, high = min(texts), max(texts)
    for i, char in enumerate(low):
        if char != high[i]:
            return low[:i]
    return low


def _as_range(middles: Sequence[str]) -> str | None:
    if not all(m.isascii() and m.isdigit() for m in middles):
        return None
    first, last = middles[0], middles[-1]
    if len(first) > 18 or len(last) > 18:
        return None
    candidate = f"{first}..{last}"
    if abs(int(last) - int(first)) + 1 != len(middles) or len(middles) > MAX_EXPANSION:
        return None
    expected = _numbers(first, last)
    return candidate if all(a == b for a, b in zip(expected, middles, strict=True)) else None


def _escape(text: str, special: str) -> str:
    text = re.sub(r"\\(?=[{},\\]|$)", r"\\\\", text)
    return "".join("\\" + c if c in special else c for c in text)


def located(
    shards: Sequence[ShardInfo], endpoint: str | None, region: str | None, *, stranger: bool
) -> list[str]:
    """One URL that stands for all shards of an entry, in brace notation; none where it has none."""
    if not shards:
        return []
    folded = fold_urls([shard.url for shard in shards])
    return [_located(folded, endpoint, region, stranger, tuple(shards))]


def total(numbers: Iterable[int | None]) -> int | None:
    """The sum of what is known of each shard; None where it is not known of every one."""
    listed = list(numbers)
    known = [number for number in listed if number is not None]
    return sum(known) if len(known) == len(listed) else None


def preview(urls: Iterable[str], most: int = 3) -> str:
    """The first few URLs, for an error message."""
    items = list(islice(urls, most + 1))
    return ", ".join(items[:most]) + (", …" if len(items) > most else "")


def instead_of(path: Path) -> str:
    """A sentence for an error about a missing shard: how URLs begin, or which numbered shards of
    its name exist. "" if neither helps.
    """
    named = _NUMBERED.fullmatch(path.name)
    if (hint := slash_missing(path)) or named is None:
        return hint
    shard = re.compile(rf"{re.escape(named[1])}-\d+{re.escape(named[2])}")
    try:
        with os.scandir(path.parent) as entries:
            names = (entry.name for entry in islice(entries, _MAX_ENTRIES))
            found = sorted(name for name in names if shard.fullmatch(name))
    except OSError:
        return ""
    if not found:
        return ""
    pattern = f"{named[1]}-*{named[2]}"
    last = f" to {found[-1]!r}" if len(found) > 1 else ""
    exist = f" Its folder has {found[0]!r}{last} ({len(found):,})"
    if shard.fullmatch(path.name):
        return f"{exist}: {pattern!r} names all of them."
    return (
        f"{exist}: write_samples with maxcount numbers its shards, and {pattern!r} names all of "
        "them."
    )
