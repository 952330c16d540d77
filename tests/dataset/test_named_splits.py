"""Which split a shard is of: recorded, or said by a name that a person chose."""

from __future__ import annotations

import hashlib
import random
import uuid
from base64 import b32encode, urlsafe_b64encode
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata._digest import blob_cid
from atdata._shardlist import ShardInfo
from atdata.dataset.named_splits import SPLITS, splits_of


def named(*urls: str) -> list[str | None]:
    return splits_of([ShardInfo(url) for url in urls])


@pytest.mark.parametrize(
    ("urls", "splits"),
    [
        (["mnist-train-000000.tar", "mnist-val-000000.tar"], ["train", "validation"]),
        (["/data/train/a.tar", "/data/test/a.tar"], ["train", "test"]),
        (["s3://bucket/coco2017val.tar", "s3://bucket/coco2017train.tar"], ["validation", "train"]),
        (["Train_0.tar", "TEST_1.tar", "dev1.tar"], ["train", "test", "validation"]),
        (["https://test.example.com/a.tar", "https://dev.example.org/b.tar"], [None, None]),
        (["/dev/project/latest.tar", "/dev/project/retrained.tar"], [None, None]),
        (["/data/validation/a.tar"], ["validation"]),
        (["a.tar?split=test", "b.tar"], [None, None]),
        (["https://a.example/profile/x.test"], [None]),
        (["https://a.example/test/page", "https://a.example/val/page"], [None, None]),
        (["https://x.test", "http://dev.x.test:80"], [None, None]),
        (
            ["https://a.example/test/1.tar?key=a/b", "https://a.example/val/2.TAR"],
            ["test", "validation"],
        ),
        (["https://a.example/profile/x.test", "/dev/project/latest.tar"], [None, None]),
    ],
)
def test_names_that_people_choose(urls: list[str], splits: list[str | None]) -> None:
    """A word for a split counts in a file's name, and in a folder that tells shards apart."""
    assert named(*urls) == splits


def base32(data: bytes) -> str:
    return b32encode(data).decode().rstrip("=").lower()


def record_key(data: bytes) -> str:
    letters = "234567abcdefghijklmnopqrstuvwxyz"
    number = int.from_bytes(data[:8]) >> 1
    return "".join(letters[number >> shift & 31] for shift in range(60, -1, -5))


IDENTIFIERS: dict[str, Callable[[bytes], str]] = {
    "cid": lambda data: blob_cid(data.hex()),
    "blob": lambda data: f"at://did:web:test.example.com/blob/{blob_cid(data.hex())}",
    "hex": lambda data: data.hex(),
    "base32": base32,
    "base64": lambda data: urlsafe_b64encode(data).decode().rstrip("="),
    "uuid": lambda data: str(uuid.UUID(bytes=data[:16])),
    "record key": record_key,
}


@pytest.mark.parametrize("kind", IDENTIFIERS)
def test_identifiers_say_nothing(kind: str) -> None:
    """What is made of bytes, time or chance names no split, in thousands of them, whatever letters
    it has; a folder that a person named still does."""
    make, chance = IDENTIFIERS[kind], random.Random(kind)
    names = [make(hashlib.sha256(chance.randbytes(8)).digest()) for _ in range(5_000)]
    lucky = [name for name in names if any(word in name.lower() for word in SPLITS)]
    assert lucky or kind in ("hex", "uuid")
    assert set(named(*(f"{name}.tar" for name in names))) == {None}
    if kind != "blob":
        folders = [f"/data/{split}/{name}.tar" for name in names[:9] for split in ("test", "val")]
        assert named(*folders) == ["test", "validation"] * 9


@given(st.lists(st.sampled_from([None, "train", "odd one"]), min_size=1, max_size=5))
def test_what_is_recorded_counts(splits: list[str | None]) -> None:
    """Where any split is recorded, no name says another."""
    shards = [ShardInfo(f"test-{n}.tar", split=split) for n, split in enumerate(splits)]
    assert splits_of(shards) == (splits if any(splits) else ["test"] * len(splits))
