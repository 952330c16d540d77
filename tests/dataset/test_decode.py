"""Pictures of a batch, decoded into one array: the pixels, and what cannot be decoded."""

from __future__ import annotations

import gc
import io
import itertools
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import simplejpeg
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageOps

import atdata
from atdata import Decode, Image
from atdata.dataset.decode import resize
from atdata.dataset.decode.crops import Box
from atdata.errors import (
    DecodeError,
    MissingExtraError,
    OptionError,
    RaggedFieldError,
    SkippedSamplesWarning,
)

Pixels = np.ndarray[Any, Any]


@atdata.packable
class Seen:
    image: Image
    label: int = 0


def drawn(height: int, width: int, seed: int = 0) -> PillowImage.Image:
    """A picture with shapes of all sizes, as a photograph has."""
    rng = np.random.default_rng([seed, height, width])
    coarse = rng.integers(0, 256, (max(2, height // 9), max(2, width // 9), 3), np.uint8)
    large = PillowImage.fromarray(coarse).resize((width, height), PillowImage.Resampling.BICUBIC)
    noise = rng.normal(0, 6, (height, width, 3))
    return PillowImage.fromarray(np.clip(np.asarray(large) + noise, 0, 255).astype(np.uint8))


def saved(made: PillowImage.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    made.save(out, format, **options)
    return out.getvalue()


def turned(orientation: int) -> PillowImage.Exif:
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    return exif


def palette_with_alpha() -> bytes:
    made = drawn(40, 30).convert("P")
    return saved(made, "PNG", transparency=bytes(range(256)))


def animated(format: str) -> bytes:
    frames = [drawn(40, 50, seed) for seed in range(3)]
    return saved(frames[0], format, save_all=True, append_images=frames[1:])


def corpus() -> Iterator[tuple[str, bytes]]:
    """Files of all the sorts that data sets have been found to hold."""
    picture = drawn(90, 130)
    yield "plain", saved(picture, "JPEG", quality=90)
    yield "4:4:4", saved(picture, "JPEG", quality=90, subsampling=0)
    yield "4:2:2", saved(picture, "JPEG", quality=90, subsampling=1)
    yield "progressive", saved(picture, "JPEG", progressive=True)
    yield "grey", saved(picture.convert("L"), "JPEG")
    yield "cmyk", saved(picture.convert("CMYK"), "JPEG")
    yield "rgb in a jpeg", saved(picture, "JPEG", keep_rgb=True)
    for orientation in range(1, 9):
        exif = turned(orientation)
        yield f"exif {orientation}", saved(picture, "JPEG", quality=95, exif=exif)
        yield f"png, exif {orientation}", saved(picture, "PNG", exif=exif)
    deep = (np.asarray(picture.convert("L")).astype(np.uint16) << 8) + 7
    yield "16 bit", saved(PillowImage.fromarray(deep), "PNG")
    yield "1 bit", saved(picture.convert("1"), "PNG")
    yield "grey and alpha", saved(picture.convert("LA"), "PNG")
    yield "alpha", saved(picture.convert("RGBA"), "PNG")
    yield "palette", saved(picture.convert("P"), "PNG")
    yield "palette with alpha", palette_with_alpha()
    yield "gif", animated("GIF")
    yield "webp", animated("WEBP")
    yield "bmp", saved(picture, "BMP")
    yield "tiff", saved(picture, "TIFF")
    yield "1 x 1", saved(drawn(1, 1), "JPEG")
    yield "1 x 1, png", saved(drawn(1, 1), "PNG")
    yield "20,000 x 1", saved(drawn(1, 20_000), "JPEG")
    yield "1 x 20,000", saved(drawn(20_000, 1), "PNG")
    yield "large", saved(drawn(700, 900), "JPEG")
    yield "rubbish after the end", saved(picture, "JPEG") + b"rubbish"
    yield "fill bytes", saved(picture, "JPEG").replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1)


CORPUS = dict(corpus())


def upright(data: bytes, mode: Literal["RGB", "L"], factor: int = 1) -> PillowImage.Image:
    """A picture as Pillow alone decodes it, perhaps scaled down as it decodes."""
    made: PillowImage.Image = PillowImage.open(io.BytesIO(data))
    if factor > 1:
        made.draft(None, (made.width // factor, made.height // factor))
    made.load()
    made = ImageOps.exif_transpose(made)
    if made.mode == "I;16":
        made = PillowImage.fromarray((np.asarray(made) >> 8).astype(np.uint8))
    if made.mode == "P":
        made = made.convert("RGBA")
    return made.convert(mode)


def model(data: bytes, how: Decode) -> Pixels:
    """What is to come out, by Pillow alone; not for random parts."""
    whole = PillowImage.open(io.BytesIO(data))
    width, height = ImageOps.exif_transpose(whole).size
    box: tuple[float, float, float, float] = (0, 0, width, height)
    size, factor = how.pixels, 1
    if size is not None:
        if how.crop == "center":
            scale = min(width / size[1], height / size[0])
            across, down = size[1] * scale, size[0] * scale
            left, top = max(0, (width - across) / 2), max(0, (height - down) / 2)
            box = (left, top, left + across, top + down)
        if whole.format == "JPEG":
            across, down = box[2] - box[0], box[3] - box[1]
            fits = [f for f in (8, 4, 2) if across >= f * size[1] and down >= f * size[0]]
            factor = fits[0] if fits else 1
    made = upright(data, how.mode, factor)
    if size is not None:
        x, y = made.width / width, made.height / height
        box = (box[0] * x, box[1] * y, min(box[2] * x, made.width), min(box[3] * y, made.height))
        made = made.resize(size[::-1], PillowImage.Resampling.BILINEAR, box)
    found = np.asarray(made)
    return found if found.ndim == 3 else found[..., None]


def decoded(data: bytes, how: Decode) -> Pixels:
    """One picture as a dataset in memory of one sample decodes it."""
    return next(iter(batches([data], how)))["image"][0]  # type: ignore[no-any-return]


def batches(pictures: list[bytes], how: Decode, folder: Path | None = None) -> Any:
    made = [Seen(Image(data), n) for n, data in enumerate(pictures)]
    where = folder or Path(__file__).parent / ".never"
    if folder is None:
        return in_memory(made, how)
    return atdata.write_samples(made, where / "seen.tar").batches(64, decode={"image": how})


def in_memory(samples: list[Any], how: Decode) -> Iterator[dict[str, Any]]:
    from atdata.dataset.decode.columns import Decoding
    from atdata.samples.batch import SampleBatch

    keys = [str(n) for n in range(len(samples))]
    batch = SampleBatch(Seen, keys, samples=samples)
    yield {"image": Decoding({"image": how}).begin(batch, lambda row: None).result().image}


def close(found: Pixels, expected: Pixels, most: int) -> None:
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected.astype(int)).max(initial=0) <= most


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("size", [None, 24, (50, 20)])
def test_odd_files_have_the_pixels_that_pillow_finds(name: str, size: Any) -> None:
    """Every sort of file gives Pillow's pixels: the same, or within 1 of them once resized."""
    for crop in ("center", None):
        how = Decode(size=size, crop=crop)
        # A picture on its side is resized before it is turned: what is rounded first differs.
        close(decoded(CORPUS[name], how), model(CORPUS[name], how), 2 if size else 0)


@pytest.mark.parametrize("name", ["plain", "4:4:4", "4:2:2", "progressive", "grey"])
def test_jpegs_have_the_pixels_of_libjpeg_turbo(name: str) -> None:
    """A JPEG of its own size is what libjpeg-turbo decodes, bit for bit."""
    expected = simplejpeg.decode_jpeg(CORPUS[name])
    np.testing.assert_array_equal(decoded(CORPUS[name], Decode()), expected)


@settings(deadline=None)
@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    wanted=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    crop=st.sampled_from(["center", None]),
    format=st.sampled_from(["JPEG", "PNG"]),
    orientation=st.integers(1, 8),
    mode=st.sampled_from(["RGB", "L"]),
)
# Rounding puts the top of this part a little above the picture.
@example(size=(29, 13), wanted=(7, 3), crop="center", format="PNG", orientation=1, mode="RGB")
def test_any_size_is_what_pillow_makes_of_it(
    size: tuple[int, int],
    wanted: tuple[int, int],
    crop: Any,
    format: str,
    orientation: int,
    mode: Any,
) -> None:
    """For every size, part and orientation the result is Pillow's, within 2 of 255."""
    picture = drawn(*size) if mode == "RGB" else drawn(*size).convert("L")
    data = saved(picture, format, exif=turned(orientation))
    how = Decode(size=wanted, crop=crop, mode=mode)
    close(decoded(data, how), model(data, how), 2)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40), st.data())
def test_both_resizers_agree(
    height: int, width: int, rows: int, columns: int, data: st.DataObject
) -> None:
    """Without the faster one, results differ by 1 at most."""
    source = np.asarray(drawn(height, width))
    left = data.draw(st.floats(0, width - 1))
    top = data.draw(st.floats(0, height - 1))
    right = data.draw(st.floats(left + 0.5, width))
    bottom = data.draw(st.floats(top + 0.5, height))
    box = Box(left, top, right, bottom)
    fast = resize.resized(source, box, (rows, columns))
    close(fast, resize._by_pillow(source, box, (rows, columns)), 1)


def test_layout_dtype_mean_and_std() -> None:
    """Values are those of 0 to 255, divided by 255, less the mean, divided by the deviation."""
    data = CORPUS["plain"]
    plain = decoded(data, Decode(size=20))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    for dtype, tolerance in (("float32", 1e-5), ("float16", 1e-2), ("float64", 1e-12)):
        found = decoded(data, Decode(size=20, dtype=dtype, mean=mean, std=std))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, (plain / 255 - mean) / std, atol=tolerance)
        turned = decoded(data, Decode(size=20, dtype=dtype, mean=mean, std=std, layout="CHW"))
        np.testing.assert_array_equal(turned, found.transpose(2, 0, 1))
    assert decoded(data, Decode(size=20, dtype=np.float32)).max() <= 1
    chw = decoded(data, Decode(size=20, layout="CHW"))
    np.testing.assert_array_equal(chw.transpose(1, 2, 0), plain)
    grey = decoded(data, Decode(size=20, mode="L", mean=0.5))
    assert grey.shape == (20, 20, 1)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> atdata.Dataset[Seen]:
    """90 pictures of various sizes in three shards."""
    folder = tmp_path_factory.mktemp("many")
    sizes = itertools.cycle([(40, 60), (33, 33), (64, 20), (90, 130)])
    pictures = (
        Seen(Image(saved(drawn(*next(sizes), seed=n), "PNG" if n % 5 == 0 else "JPEG")), n)
        for n in range(90)
    )
    return atdata.write_samples(pictures, folder / "many.tar", maxcount=30)


RANDOM = Decode(size=(16, 20), crop="random")


def by_label(parts: Iterator[Any]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for batch in parts:
        for label, image in zip(batch.label, batch.image, strict=True):
            found[int(label)] = image.tobytes()
    return found


def test_random_parts_depend_on_the_sample_alone(many: atdata.Dataset[Seen]) -> None:
    """The same for any batch size, order of decoding, ranks, and after resuming."""
    ways: dict[str, Any] = {"seed": 3, "decode": {"image": RANDOM}}
    whole = by_label(many.shuffled(64, **ways))
    assert len(whole) == 90
    assert by_label(many.shuffled(7, **ways)) == whole
    alone = {"image": Decode(size=(16, 20), crop="random", threads=1)}
    assert by_label(many.shuffled(16, seed=3, decode=alone)) == whole
    ranks: dict[int, bytes] = {}
    for rank in range(3):
        ranks |= by_label(many.split(rank, 3).shuffled(8, **ways))
    assert ranks == whole
    reading = many.shuffled(16, **ways)
    first = by_label(itertools.islice(reading, 2))
    resumed = many.shuffled(16, decode={"image": RANDOM})
    resumed.load_state_dict(reading.state_dict())
    assert first | by_label(resumed) == whole
    kept = by_label(many.filter(is_even).shuffled(9, **ways))
    assert kept == {label: whole[label] for label in range(0, 90, 2)}


def is_even(sample: Seen) -> bool:
    return sample.label % 2 == 0


def test_random_parts_differ_between_epochs_and_seeds(many: atdata.Dataset[Seen]) -> None:
    """Another epoch, another seed of the order or of Decode gives other parts."""
    other = {"image": Decode(size=(16, 20), crop="random", seed=1)}
    found = [
        by_label(many.shuffled(30, seed=3, decode={"image": RANDOM})),
        by_label(many.shuffled(30, seed=3, epoch=1, decode={"image": RANDOM})),
        by_label(many.shuffled(30, seed=4, decode={"image": RANDOM})),
        by_label(many.shuffled(30, seed=3, decode=other)),
        by_label(many.ordered(30, decode={"image": RANDOM})),
    ]
    for one, two in itertools.combinations(found, 2):
        same = [label for label in one if one[label] == two[label]]
        assert len(same) < 5


def test_random_parts_are_within_their_bounds() -> None:
    """Each part has the area and the shape that were asked for, and half of them are mirrored."""
    # Red grows to the right, green downwards: the pixels say where they are from.
    grid = np.zeros((200, 256, 3), np.uint8)
    grid[..., 0], grid[..., 1] = np.arange(256), np.arange(200)[:, None]
    data = saved(PillowImage.fromarray(grid), "PNG")
    how = Decode(size=64, crop="random", area=(0.2, 0.5), ratio=(0.5, 2.0))
    found = next(in_memory([Seen(Image(data))] * 200, how))["image"].astype(int)
    across, down = (
        found[:, 32, 63, 0] - found[:, 32, 0, 0],
        found[:, 63, 32, 1] - found[:, 0, 32, 1],
    )
    mirrored = across < 0
    assert 60 < mirrored.sum() < 140
    width, height = np.abs(across) * 64 / 63, down * 64 / 63
    share = width * height / (200 * 256)
    assert share.min() > 0.18
    assert share.max() < 0.53
    assert share.max() - share.min() > 0.2
    assert (width / height).min() > 0.47
    assert (width / height).max() < 2.2
    still = Decode(size=64, crop="random", flip=False)
    unmirrored = next(in_memory([Seen(Image(data))] * 50, still))["image"].astype(int)
    assert (unmirrored[:, 32, 63, 0] > unmirrored[:, 32, 0, 0]).all()


def test_batches_of_every_way_hold_the_same_pixels(many: atdata.Dataset[Seen]) -> None:
    """batches(), ordered() and samples of a batch agree; other fields stay as they are."""
    how = {"image": Decode(size=16)}
    columns = list(many.batches(20, decode=how))
    plain = list(many.ordered(20, decode=how))
    assert [len(batch) for batch in plain] == [20] * 4 + [10]
    for column, batch in zip(columns, plain, strict=True):
        assert column["image"].shape == (len(batch), 16, 16, 3)
        np.testing.assert_array_equal(column["image"], batch.image)
        np.testing.assert_array_equal(column["label"], batch.label)
        np.testing.assert_array_equal(batch[3].image, batch.image[3])
    untyped = next(iter(atdata.Dataset(many.shard_list).batches(20, decode=how)))
    np.testing.assert_array_equal(untyped["image"], columns[0]["image"])
    mixed = atdata.mix([many, many], seed=0)
    assert next(iter(mixed.shuffled(8, decode=how))).image.shape == (8, 16, 16, 3)


def test_pictures_of_their_own_size(many: atdata.Dataset[Seen]) -> None:
    """Without a size they are arrays that differ, to be padded or listed."""
    how = {"image": Decode()}
    with pytest.raises(RaggedFieldError, match="cannot be stacked"):
        next(iter(many.batches(8, decode=how)))
    listed = next(iter(many.batches(8, decode=how, ragged={"image": "list"})))
    assert [image.shape for image in listed["image"][:3]] == [(40, 60, 3), (33, 33, 3), (64, 20, 3)]
    padded = next(iter(many.batches(8, decode=how, ragged={"image": "pad"})))
    assert padded["image"].shape == (8, 90, 130, 3)
    assert padded["image.lengths"][0].tolist() == [40, 60, 3]


@atdata.packable
class Perhaps:
    image: Image | None
    raw: bytes


def test_pictures_that_may_be_missing_and_pictures_in_bytes(tmp_path: Path) -> None:
    """None stays None, or is filled in; a field of bytes is decoded like one of pictures."""
    data = CORPUS["plain"]
    made = [Perhaps(Image(data) if n % 2 else None, data) for n in range(6)]
    dataset = atdata.write_samples(made, tmp_path / "perhaps.tar")
    how = {"image": Decode(size=8), "raw": Decode(size=8)}
    batch = next(iter(dataset.batches(6, decode=how)))
    assert [image is None for image in batch["image"]] == [True, False] * 3
    np.testing.assert_array_equal(batch["image"][1], batch["raw"][1])
    fill = {"image": np.zeros((8, 8, 3), np.uint8)}
    filled = next(iter(dataset.batches(6, decode=how, fill=fill)))
    assert filled["image"].shape == (6, 8, 8, 3)
    assert filled["image.mask"].tolist() == [False, True] * 3


def test_shards_of_members_are_decoded_in_place(tmp_path: Path) -> None:
    """WebDataset's layout, typed or not: the same pixels, without rewriting a byte."""
    with tarfile.open(tmp_path / "w.tar", "w") as tar:
        for number in range(5):
            for ending, data in (("jpg", CORPUS["plain"]), ("cls", b"%d" % number)):
                member = tarfile.TarInfo(f"{number:05d}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    dataset = atdata.Dataset(tmp_path / "w.tar")
    batch = next(iter(dataset.batches(5, decode={"jpg": Decode(size=8)})))
    assert batch["jpg"].shape == (5, 8, 8, 3)
    np.testing.assert_array_equal(batch["jpg"][0], decoded(CORPUS["plain"], Decode(size=8)))


@pytest.mark.parametrize("way", ["ordered", "shuffled", "batches", "filtered", "viewed"])
def test_a_broken_picture_is_named(tmp_path: Path, way: str) -> None:
    """The error names shard, offset, key and field; at the offset is the sample."""
    whole = CORPUS["plain"]
    pictures = [Image(whole[: len(whole) // 2] if n == 23 else whole) for n in range(40)]
    dataset = atdata.write_samples(
        [Seen(image, n) for n, image in enumerate(pictures)], tmp_path / "s.tar", maxcount=20
    )
    decode = {"image": Decode(size=8)}
    read: Any = {
        "ordered": lambda: dataset.ordered(16, decode=decode),
        "shuffled": lambda: dataset.shuffled(16, seed=0, decode=decode),
        "batches": lambda: dataset.batches(16, decode=decode),
        "filtered": lambda: dataset.filter(is_not_first).batches(16, decode=decode),
        "viewed": lambda: dataset.as_type(Image0).batches(16, decode=decode),
    }[way]
    with pytest.raises(DecodeError, match=r"\$\.image: a jpeg that cannot be decoded") as caught:
        list(read())
    error = caught.value
    assert error.key == "000000023"
    assert error.shard is not None
    assert error.shard.endswith("s-000001.tar")
    assert error.offset is not None
    stored = Path(error.shard).read_bytes()[error.offset :]
    sample: Any = Seen(pictures[23], 23)
    assert stored.startswith(sample.packed)


@atdata.packable
class Image0:
    image: Image


def is_not_first(sample: Seen) -> bool:
    return sample.label != 0


def test_batches_before_a_broken_picture_are_given(tmp_path: Path) -> None:
    """Batches are decoded ahead, and the error comes where the broken one would, each time."""
    pictures = [b"no picture" if n == 5 else CORPUS["plain"] for n in range(8)]
    made = [Seen(Image(data), n) for n, data in enumerate(pictures)]
    dataset = atdata.write_samples(made, tmp_path / "seen.tar")
    reading = dataset.ordered(2, decode={"image": Decode(size=8)})
    assert [list(next(reading).label) for _ in range(2)] == [[0, 1], [2, 3]]
    for _ in range(2):
        with pytest.raises(DecodeError, match=r"000000005.*no picture of a known format"):
            next(reading)
    # Its state is that of the batches that were given.
    rest = dataset.filter(is_whole).ordered(2, decode={"image": Decode(size=8)})
    rest.load_state_dict(reading.state_dict())
    assert [label for batch in rest for label in batch.label] == [4, 6, 7]


def is_whole(sample: Seen) -> bool:
    return sample.image.format is not None


def test_broken_pictures_are_skipped_and_counted(tmp_path: Path) -> None:
    """With on_error="skip" the rest of each batch is given, and a warning says what is missing."""
    whole = CORPUS["plain"]
    pictures = [whole[:99] if n in (3, 5, 6, 7) else whole for n in range(12)]
    made = [Seen(Image(data), n) for n, data in enumerate(pictures)]
    path = tmp_path / "seen.tar"
    atdata.write_samples(made, path)
    dataset = atdata.Dataset[Seen](path, on_error="skip")
    how = {"image": Decode(size=8)}
    with pytest.warns(SkippedSamplesWarning) as warned:
        batches = list(dataset.batches(2, decode=how))
    assert [b["label"].tolist() for b in batches] == [[0, 1], [2], [4], [8, 9], [10, 11]]
    assert [len(b["image"]) for b in batches] == [2, 1, 1, 2, 2]
    assert "1 sample was left out of a batch of 2" in str(warned[0].message)
    assert "seen.tar, byte" in str(warned[0].message)
    assert "sample '000000003': $.image: a damaged JPEG" in str(warned[0].message)
    with pytest.warns(SkippedSamplesWarning, match="4 samples were left out of a batch of 12"):
        [batch] = dataset.shuffled(12, seed=0, decode=how)
    assert sorted(batch.label) == [0, 1, 2, 4, 8, 9, 10, 11]
    assert batch.image.shape == (8, 8, 8, 3)
    assert len(batch.keys) == 8


def test_a_reading_that_is_left_early_decodes_no_more(many: atdata.Dataset[Seen]) -> None:
    """Closed in the middle, or never asked for its second batch, nothing hangs or is lost."""
    for way in (many.batches, many.ordered):
        reading: Any = way(30, decode={"image": Decode(size=16)})
        first = next(reading)
        reading.close()
        assert len(first["image"] if isinstance(first, dict) else first) == 30
        assert list(reading) == []


@pytest.mark.parametrize("threads", [1, 2])
def test_the_array_of_a_batch_is_reused_once_it_is_dropped(
    many: atdata.Dataset[Seen], threads: int
) -> None:
    """Without garbage collection, any number of batches take the memory of three."""
    how = {"image": Decode(size=120, dtype="float32", threads=threads)}
    gc.disable()
    try:
        for _ in range(4):
            places = [batch["image"].ctypes.data for batch in many.batches(9, decode=how)]
            assert len(places) == 10
            assert len(set(places)) <= 3
    finally:
        gc.enable()


def test_bombs_are_refused(tmp_path: Path) -> None:
    """A picture that claims more pixels than the limit is an error, before memory is taken."""
    bomb = bytearray(saved(drawn(4, 4), "PNG"))
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    with pytest.raises(DecodeError, match=r"000000000.*60,000 × 60,000 pixels"):
        next(batches([bytes(bomb)], Decode(size=8), tmp_path))
    with atdata.limits.set(image_pixels=100), pytest.raises(DecodeError, match="90 pixels"):
        decoded(CORPUS["plain"], Decode(size=8))
    many = CORPUS["progressive"]
    with atdata.limits.set(image_scans=2), pytest.raises(DecodeError, match="scans"):
        decoded(many, Decode(size=8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, r"size=0\): expected pixels"),
        ({"size": (3, 4, 5)}, "expected pixels"),
        ({"size": True}, "expected pixels"),
        ({"crop": "middle"}, "expected one of 'center', 'random', None"),
        ({"crop": "random"}, "which a random part needs"),
        ({"layout": "NCHW"}, "expected one of 'HWC', 'CHW'"),
        ({"dtype": "int32"}, "expected one of uint8, float16, float32, float64"),
        ({"dtype": "uint8", "mean": 0.5}, "expected one of float16, float32, float64 with mean"),
        ({"mean": (0.5, 0.5)}, "expected a number, or 3 of them"),
        ({"std": 0}, "expected other numbers than 0"),
        ({"std": float("nan")}, "expected a number"),
        ({"mode": "CMYK"}, "expected one of 'RGB', 'L'"),
        ({"area": (0.5, 0.1)}, "0 < from <= to <= 1"),
        ({"ratio": (0, 1)}, "0 < from <= to"),
        ({"threads": 0}, "expected a whole number from 1 on"),
        ({"seed": -1}, "expected a whole number from 0 on"),
        ({"flip": "often"}, "expected one of None, False, True"),
    ],
)
def test_wrong_options_are_errors(options: dict[str, Any], message: str) -> None:
    """Each says what it has to be, when it is given."""
    with pytest.raises(OptionError, match=message):
        Decode(**options)


def test_only_pictures_are_decoded(many: atdata.Dataset[Seen]) -> None:
    """A field of something else, or that does not exist, is an error before anything is read."""
    with pytest.raises(OptionError, match=r"'label' has no pictures: it is int.*: image"):
        many.batches(8, decode={"label": Decode(size=8)})
    with pytest.raises(OptionError, match="there is no such field"):
        many.shuffled(8, decode={"picture": Decode(size=8)})
    with pytest.raises(OptionError, match="expected a dict with a Decode"):
        many.ordered(8, decode={"image": 224})  # type: ignore[dict-item]
    with pytest.raises(OptionError, match="Pass a batch_size"):
        many.ordered(decode={"image": Decode(size=8)})  # type: ignore[call-overload]
    untyped = atdata.Dataset(many.shard_list)
    with pytest.raises(OptionError, match=r"there is no field 'jpg'.*image, label"):
        next(iter(untyped.batches(8, decode={"jpg": Decode(size=8)})))
    with pytest.raises(RaggedFieldError, match="label: expected pictures to decode, found int"):
        next(iter(untyped.batches(8, decode={"label": Decode(size=8)})))


def test_a_missing_extra_says_how_to_install_it(
    many: atdata.Dataset[Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without simplejpeg the error has the line that installs the extra."""
    monkeypatch.setitem(__import__("sys").modules, "simplejpeg", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'atdata\[image\]'"):
        next(iter(many.batches(8, decode={"image": Decode(size=8)})))
