"""Dataset.join: what a dict of one dataset's samples by key gives for each of another's."""

from __future__ import annotations

import io
import pickle
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any

import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata import Member
from atdata.errors import (
    IntegrityError,
    JoinError,
    LengthError,
    LensNotFoundError,
    MissingSamplesWarning,
    OptionError,
    SampleNotFoundError,
    SampleTypeError,
)
from atdata.shards.reader import scan_table
from tests.dataset.test_lying_tables import lie


@atdata.packable
class Picture:
    pixels: Annotated[NDArray[np.uint8], Member("npy")]
    number: Annotated[int, Member("cls")]


@atdata.packable
class Caption:
    caption: Annotated[str, Member("txt")]


@atdata.packable
class Pair:
    pixels: Annotated[NDArray[np.uint8], Member("npy")]
    number: Annotated[int, Member("cls")]
    caption: Annotated[str, Member("txt")]


@atdata.packable
class MaybePair:
    number: Annotated[int, Member("cls")]
    caption: Annotated[str | None, Member("txt")]


def write(
    folder: Path, keys: Sequence[str], kind: str, cuts: Sequence[int], *, packed: bool = False
) -> str:
    """Shards of pictures or captions under some keys, cut at some places; their pattern."""
    folder.mkdir(parents=True, exist_ok=True)
    ends = sorted({cut for cut in cuts if cut < len(keys)} | {len(keys)})
    start = 0
    for shard, end in enumerate(ends):
        with webdataset.TarWriter(str(folder / f"{kind}-{shard:06d}.tar")) as sink:
            for key in keys[start:end]:
                n = int(key[1:])
                if kind == "picture":
                    data = io.BytesIO()
                    np.save(data, np.full(2, n % 256, np.uint8))
                    sink.write({"__key__": key, "npy": data.getvalue(), "cls": str(n).encode()})
                else:
                    sink.write({"__key__": key, "txt": f"text of {n}"})
        start = end
    pattern = str(folder / f"{kind}-*.tar")
    if packed:
        sample_type: Any = Picture if kind == "picture" else Caption
        made = atdata.convert_dataset(
            atdata.Dataset[sample_type](pattern),
            folder / "packed" / f"{kind}-%06d.tar",
            fsync=False,
        )
        return str(Path(made.shard_list[0]).parent / f"{kind}-*.tar")
    return pattern


def shown(sample: Any) -> tuple[int, str | None]:
    return sample.number, sample.caption


class Streams:
    """A source of whole files alone, as a plain server without tables is."""

    def __init__(self, pattern: str) -> None:
        self._paths = sorted(map(str, Path(pattern).parent.glob(Path(pattern).name)))

    @property
    def shard_list(self) -> list[str]:
        return self._paths

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        for path in self._paths:
            yield path, self.open_shard(path)

    def open_shard(self, shard_id: str) -> IO[bytes]:
        return Path(shard_id).open("rb")


KEYS = st.lists(st.integers(0, 60).map(lambda n: f"k{n}"), min_size=1, max_size=30, unique=True)
CUTS = st.lists(st.integers(1, 29), max_size=4)


@st.composite
def two_datasets(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Keys of both: the same in order, the same in another order, more, or others."""
    left = draw(KEYS)
    match draw(st.sampled_from(["same", "permuted", "more", "late", "others"])):
        case "same":
            return left, left
        case "permuted":
            return left, draw(st.permutations(left))
        case "more":
            more = draw(KEYS)
            return left, draw(st.permutations(sorted({*left, *more})))
        case "late":
            at = draw(st.integers(0, len(left)))
            return left, [*left[:at], *draw(st.permutations(left[at:]))]
        case _:
            return left, draw(KEYS)


@settings(max_examples=40, deadline=None)
@given(
    two_datasets(),
    CUTS,
    CUTS,
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from(["files", "streams", "filtered"]),
    st.sampled_from(["raise", "skip", "none"]),
    st.sampled_from([None, 1, 4, 7]),
    st.integers(0, 30),
)
def test_any_two_datasets_are_joined_as_by_a_dict(
    keys: tuple[list[str], list[str]],
    left_cuts: list[int],
    right_cuts: list[int],
    packed: tuple[bool, bool],
    way: str,
    on_missing: str,
    size: int | None,
    stop: int,
) -> None:
    """In order, by position, shuffled, on ranks, and after a state; whatever is missing."""
    folder = Path(tempfile.mkdtemp())
    try:
        left = write(folder / "l", keys[0], "picture", left_cuts, packed=packed[0])
        right = write(folder / "r", keys[1], "caption", right_cuts, packed=packed[1])
        captions: dict[str, str] = {key: f"text of {key[1:]}" for key in keys[1]}
        pictures: Any = atdata.Dataset[Picture](Streams(left) if way == "streams" else left)
        others: Any = atdata.Dataset[Caption](Streams(right) if way == "streams" else right)
        if way == "filtered":
            pictures = pictures.filter(lambda sample: sample.number % 3 != 0)
            keys = [key for key in keys[0] if int(key[1:]) % 3], keys[1]
            others = others.filter(lambda sample: not sample.caption.endswith("7"))
            captions = {key: text for key, text in captions.items() if not text.endswith("7")}
        missing = [key for key in keys[0] if key not in captions]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if on_missing == "raise":
                whole = pictures.join(others, Pair)
                if missing:
                    with pytest.raises(JoinError, match="has no sample for"):
                        list(whole)
                    return
                check(whole, [(int(k[1:]), captions[k]) for k in keys[0]], way, size, stop)
            elif on_missing == "skip":
                some = pictures.join(others, Pair, on_missing="skip")
                expected = [(int(k[1:]), captions[k]) for k in keys[0] if k in captions]
                check(some, expected, "filtered", size, stop)
            else:
                every = pictures.join(others, MaybePair, on_missing="none")
                check(every, [(int(k[1:]), captions.get(k)) for k in keys[0]], way, size, stop)
    finally:
        shutil.rmtree(folder)


def check(
    joined: atdata.Dataset[Any],
    expected: Sequence[tuple[int, str | None]],
    way: str,
    size: int | None,
    stop: int,
) -> None:
    """Every way of reading gives what is expected."""

    def flat(items: Any) -> list[tuple[int, str | None]]:
        if size is None:
            return [shown(sample) for sample in items]
        return [
            one
            for batch in items
            for one in zip(np.asarray(batch.number).tolist(), batch.caption, strict=True)
        ]

    expected = list(expected)
    assert flat(joined.ordered(size)) == expected
    mixed = flat(joined.shuffled(size, seed=3))
    assert sorted(mixed) == sorted(expected)
    reading = joined.shuffled(size, seed=3)
    before = list(islice(reading, stop))
    state = reading.state_dict()
    resumed = joined.shuffled(size, seed=3)
    resumed.load_state_dict(state)
    after = flat(resumed)
    if way != "filtered":
        assert flat(before) + after == mixed
    else:
        assert sorted(flat(before) + after) == sorted(expected)
    ranks = [flat(joined.split(rank, 3).shuffled(size, seed=5)) for rank in range(3)]
    assert sorted(one for rank in ranks for one in rank) == sorted(expected)
    again = pickle.loads(pickle.dumps(joined)) if way == "files" else joined
    assert [shown(sample) for sample in again] == expected
    if way != "filtered":
        assert joined.count() == len(expected)
        assert [shown(joined[n]) for n in range(len(expected))] == expected
        backwards = joined[::-1]
        assert list(zip(backwards.number, backwards.caption, strict=True)) == expected[::-1]
        assert shown(joined.by_key(f"k{expected[-1][0]}")) == expected[-1]
        assert [shown(s) for s in joined.choose([0, -1])] == [expected[0], expected[-1]]


def both(folder: Path, count: int = 20) -> tuple[atdata.Dataset[Picture], str]:
    keys = [f"k{n}" for n in range(count)]
    left = write(folder / "l", keys, "picture", [7, 14])
    return atdata.Dataset[Picture](left), write(folder / "r", keys, "caption", [7, 14])


def test_shards_are_joined_as_they_are_named(tmp_path: Path) -> None:
    """By their pattern; columns stay columns, and verbs follow."""
    pictures, captions = both(tmp_path)
    pairs = pictures.join(captions, as_type=Pair)
    assert pairs.sample_type is Pair
    assert isinstance(pairs[3], Pair)
    batch = pairs[2:6]
    assert batch.pixels.shape == (4, 2)
    assert batch.caption == [f"text of {n}" for n in range(2, 6)]
    columns = next(iter(pairs.batches(5)))
    assert columns["number"].tolist() == [0, 1, 2, 3, 4]
    kept = pairs.filter(lambda pair: pair.number % 2 == 0).map(lambda pair: pair.caption)
    assert list(kept) == [f"text of {n}" for n in range(0, 20, 2)]
    with pytest.raises(SampleNotFoundError):
        pairs.by_key("k99")
    assert "joined with" in repr(pairs)


def test_types_follow_from_what_is_joined(tmp_path: Path) -> None:
    """A type of both; DictSample where one has none; with a prefix where names meet."""
    pictures, captions = both(tmp_path)
    typed: Any = pictures.join(atdata.Dataset[Caption](captions))
    assert (typed.sample_type.__name__, typed[4].caption) == ("PictureWithCaption", "text of 4")
    assert pickle.loads(pickle.dumps(typed))[4].number == 4
    untyped: Any = pictures.join(captions)
    assert dict(untyped[1])["txt"] == "text of 1"
    bare: Any = atdata.Dataset(str(tmp_path / "l" / "*.tar")).join(
        atdata.Dataset[Caption](captions), Pair
    )
    assert shown(bare[5]) == (5, "text of 5")
    with pytest.raises(SampleTypeError, match="neither has a type"):
        atdata.Dataset(str(tmp_path / "l" / "*.tar")).join(captions, Pair)
    with pytest.raises(OptionError, match="both have 'pixels', 'number'"):
        pictures.join(pictures)
    twice: Any = pictures.join(pictures, prefix="other_")
    assert (twice[2].number, twice[2].other_number) == (2, 2)
    with pytest.raises(JoinError, match="a field 'txt'"):
        list(atdata.Dataset(captions).join(captions))
    renamed: Any = atdata.Dataset(captions).join(captions, prefix="b_")
    assert renamed[0]["b_txt"] == renamed[0]["txt"] == "text of 0"
    with pytest.raises(LensNotFoundError):
        pictures.join(atdata.Dataset[Caption](captions), Labelled)


@atdata.packable
class Labelled:
    label: int


def test_three_are_joined_one_after_the_other(tmp_path: Path) -> None:
    """A joined dataset is joined again, and converted with its keys."""
    pictures, captions = both(tmp_path)
    pairs = pictures.join(captions, as_type=Pair)
    thrice: Any = pairs.join(atdata.Dataset[Caption](captions), prefix="again_")
    assert [s.again_caption for s in thrice] == [f"text of {n}" for n in range(20)]
    assert thrice.by_key("k7").again_caption == "text of 7"
    for samples in (None, 6):
        made = atdata.convert_dataset(
            pairs, tmp_path / f"{samples}", workers=2, samples_per_shard=samples, fsync=False
        )
        assert [shown(s) for s in made] == [shown(s) for s in pairs]
        assert made.by_key("k13").caption == "text of 13"


def test_what_is_missing_is_counted(tmp_path: Path) -> None:
    """An error names keys and what to do; a warning counts."""
    pictures, _ = both(tmp_path)
    captions = write(tmp_path / "some", [f"k{n}" for n in range(19, 4, -1)], "caption", [])
    with pytest.raises(JoinError, match=r"has no sample for 5 of 7 samples .*: 'k0', 'k1', 'k2' …"):
        list(pictures.join(captions, Pair))
    with pytest.raises(JoinError, match="'k4'"):
        pictures.join(captions, Pair)[4]
    with pytest.warns(MissingSamplesWarning, match=r"5 of 7 samples .* were left out"):
        assert len(list(pictures.join(captions, Pair, on_missing="skip"))) == 15
    with pytest.raises(LengthError):
        len(pictures.join(captions, Pair, on_missing="skip"))
    with pytest.warns(MissingSamplesWarning, match="joined with None"):
        found = pictures.join(captions, MaybePair, on_missing="none")[0].caption
    assert found is None
    with pytest.raises(OptionError, match="on_missing='drop'"):
        pictures.join(captions, Pair, on_missing="drop")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="rank's part"):
        pictures.split(0, 2).join(captions, Pair)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_key_that_comes_twice_is_an_error(side: str, streamed: bool, tmp_path: Path) -> None:
    """In either dataset, whichever way it is read; unless both correspond, shard by shard."""
    once, twice = ["k1", "k2", "k3", "k4"], ["k3", "k2", "k1", "k3"]
    left = write(tmp_path / "l", twice if side == "left" else once, "picture", [2])
    right = write(tmp_path / "r", once if side == "left" else twice, "caption", [2])
    opened: Any = Streams if streamed else str
    joined = atdata.Dataset[Picture](opened(left)).join(
        atdata.Dataset[Caption](opened(right)), MaybePair, on_missing="none"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingSamplesWarning)
        with pytest.raises(JoinError, match=r"Two samples of .* one key|have the key 'k3'"):
            list(joined)
        with pytest.raises(JoinError, match=r"Two samples of .* have the key 'k3'"):
            list(joined.shuffled(seed=1))


def test_keys_of_each_shard_alone_are_enough_where_shards_correspond(tmp_path: Path) -> None:
    """As in datasets that count from 0 in every shard."""
    keys = ["k0", "k1", "k2", "k0", "k1", "k2"]
    left = write(tmp_path / "l", keys, "picture", [3])
    right = write(tmp_path / "r", keys, "caption", [3])
    joined = atdata.Dataset[Picture](left).join(right, Pair)
    assert [shown(pair) for pair in joined] == [(n % 3, f"text of {n % 3}") for n in range(6)]
    assert shown(joined[4]) == (1, "text of 1")


def test_an_index_is_made_only_where_datasets_do_not_correspond(tmp_path: Path) -> None:
    """In lockstep no table is read, and each shard of both once."""
    _, captions = both(tmp_path)
    opened: list[str] = []

    class Counted(Streams):
        def open_shard(self, shard_id: str) -> IO[bytes]:
            opened.append(Path(shard_id).name)
            return super().open_shard(shard_id)

    left: Any = atdata.Dataset[Picture](Counted(str(tmp_path / "l" / "*.tar")))
    joined = left.join(atdata.Dataset[Caption](Counted(captions)), Pair)
    assert len(list(joined.ordered(6))) == 4
    assert sorted(opened) == sorted(
        f"{kind}-{shard:06d}.tar" for kind in ("picture", "caption") for shard in range(3)
    )


@pytest.mark.parametrize("way", ["ordered", "shuffled", "streamed"])
@pytest.mark.parametrize("keys_said", [range(12), [*range(6), *range(11, 5, -1)], [9] * 12])
def test_a_table_that_lies_joins_nothing_wrong(
    keys_said: Sequence[int], way: str, tmp_path: Path
) -> None:
    """The key of a sample is the one in its shard, whatever an .idx file next to it says."""
    keys = [f"k{n:03d}" for n in range(12)]
    left = write(tmp_path / "l", keys, "picture", [])
    right = write(tmp_path / "r", keys[::-1], "caption", [], packed=True)
    shard = Path(right.replace("*", "000000"))
    true = scan_table(shard, shard="x", shard_bytes=shard.stat().st_size)
    said = [
        keys[n] if len(set(keys_said)) > 1 else f"{keys[n]}{i}" for i, n in enumerate(keys_said)
    ]
    Path(f"{shard}.idx").write_bytes(lie(true, [*range(12)], said, {}))
    opened: Any = Streams(left) if way == "streamed" else left
    joined = atdata.Dataset[Picture](opened).join(
        atdata.Dataset[Caption](right), MaybePair, on_missing="none"
    )
    try:
        found = list(joined.shuffled(seed=1) if way == "shuffled" else joined)
    except (IntegrityError, JoinError):
        return
    assert sorted(map(shown, found)) == [(n, f"text of {n}") for n in range(12)]


def test_the_error_says_why_a_part_of_shards_gets_no_type(tmp_path: Path) -> None:
    """as_type types whole shards; some samples of them need a type of their own."""

    @atdata.packable
    class One:
        a: int

    @atdata.packable
    class Both:
        a: int
        b: int

    ones = atdata.write_samples([One(1)], tmp_path / "one.tar", fsync=False)
    path = tmp_path / "other.tar"
    others = atdata.write_samples([atdata.DictSample({"b": 2})], path, fsync=False)
    with pytest.raises(SampleTypeError, match="one without a type is not whole shards"):
        ones.join(others.take(1), as_type=Both)
