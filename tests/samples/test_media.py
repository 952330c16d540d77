"""Image and Audio: values that hold encoded bytes, and fields of samples."""

from __future__ import annotations

import copy
import io
import pickle
import struct
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as PillowImage

import atdata
from atdata import Audio, Image
from atdata.errors import DecodeError, EncodeError, OptionError, UnknownKindError
from atdata.samples.kinds import Encoded, Field, ListOf, Maybe, Unknown
from atdata.schema.alt_record import from_alt_record, to_alt_record
from atdata.schema.build import build_type
from atdata.schema.evolve import compare
from atdata.schema.model import Schema
from atdata.schema.record import from_record, to_record
from atdata.schema.stubs import stub


@atdata.packable
class Seen:
    picture: Image
    sound: Audio | None = None
    more: list[Image] | None = None
    named: dict[str, Image | None] | None = None


def picture(height: int = 3, width: int = 5, **options: Any) -> Image:
    pixels = np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)
    return Image(pixels, **options)


def tone(rate: int = 8000, seconds: float = 1.0, hertz: float = 440.0) -> np.ndarray[Any, Any]:
    times = np.arange(round(rate * seconds)) / rate
    return np.sin(2 * np.pi * hertz * times).astype(np.float32)


def packed(sample: Any) -> bytes:
    return bytes(sample.packed)


def saved(made: PillowImage.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    made.save(out, format, **options)
    return out.getvalue()


pixel_arrays = st.one_of(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)),
    st.integers(1, 4).flatmap(
        lambda channels: hnp.arrays(
            np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(channels))
        )
    ),
    hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)),
)


@given(pixel_arrays, st.sampled_from([None, "png", "tiff"]))
def test_pixels_come_back_as_they_were_given(pixels: Any, format: str | None) -> None:
    """An array that becomes a picture is decoded to the same pixels, bit for bit."""
    made = Image(pixels, format=format)
    expected = pixels[..., None] if pixels.ndim == 2 else pixels
    decoded = made.decode()
    assert decoded.dtype == pixels.dtype
    np.testing.assert_array_equal(decoded, expected)
    assert made.size == (pixels.shape[1], pixels.shape[0])


def test_headers_say_what_pillow_says() -> None:
    """Size and mode are those that Pillow finds, for every format and mode that it writes."""
    grey = PillowImage.fromarray(np.arange(56, dtype=np.uint8).reshape(7, 8))
    seen = set()
    for format in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"):
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"):
            try:
                data = saved(grey.convert(mode), format)
            except (OSError, ValueError):
                continue
            found = PillowImage.open(io.BytesIO(data))
            assert Image(data).format == format.lower()
            assert (Image(data).size, Image(data).mode) == (found.size, found.mode)
            seen.add((format, found.mode))
    assert {("JPEG", "CMYK"), ("PNG", "P"), ("PNG", "I;16"), ("PNG", "1"), ("PNG", "LA")} <= seen
    assert len(seen) > 25


@pytest.mark.parametrize("turned", range(1, 9))
def test_pictures_are_upright(turned: int) -> None:
    """A picture that a camera took on its side is decoded upright; its size is as stored."""
    exif = PillowImage.Exif()
    exif[0x0112] = turned
    made = Image(picture(8, 16).to_pil(), format="jpeg", exif=exif, quality=95)
    plain = Image(picture(8, 16).to_pil(), format="jpeg", quality=95).decode()
    turns = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}[turned]
    expected = np.rot90(plain[:, ::-1] if turned in (2, 4, 5, 7) else plain, turns)
    np.testing.assert_array_equal(made.decode(), expected)
    assert made.size == (16, 8)


def test_decode_gives_the_channels_that_are_asked_for() -> None:
    """A mode converts as Pillow does; 16 bits become the upper 8."""
    made = Image(np.full((2, 2, 4), [10, 20, 30, 128], np.uint8))
    assert made.decode().tolist()[0][0] == [10, 20, 30, 128]
    assert made.decode("RGB").tolist()[0][0] == [10, 20, 30]
    assert made.decode("L").shape == (2, 2, 1)
    deep = Image(np.full((2, 2), 0x1234, np.uint16))
    assert deep.mode == "I;16"
    assert deep.decode("RGB").tolist()[0][0] == [0x12] * 3


def test_a_picture_stays_as_it_is(tmp_path: Path) -> None:
    """A picture is its bytes: from a file, pickled, copied, hashed; nothing changes it."""
    made = picture()
    (tmp_path / "a.png").write_bytes(made.bytes)
    for other in (
        Image(tmp_path / "a.png"),
        Image(str(tmp_path / "a.png")),
        Image(made.bytes),
        Image(bytearray(made.bytes)),
        Image(memoryview(made.bytes)),
        pickle.loads(pickle.dumps(made)),
        copy.deepcopy(made),
    ):
        assert other == made
        assert hash(other) == hash(made)
    assert made != Audio(made.bytes)
    assert made != made.bytes
    assert repr(made) == f"<Image png, {len(made.bytes)} bytes>"
    with pytest.raises(AttributeError, match="cannot be changed"):
        made.bytes = b""


def test_what_cannot_be_encoded_is_an_error() -> None:
    """Other arrays, other modes and other formats are refused, each with what to do."""
    with pytest.raises(EncodeError, match=r"found float32 \(2, 2, 3\)"):
        Image(np.zeros((2, 2, 3), np.float32))
    with pytest.raises(EncodeError, match=r"found uint8 \(0, 2, 3\)"):
        Image(np.zeros((0, 2, 3), np.uint8))
    with pytest.raises(EncodeError, match="PNG cannot hold it"):
        Image(PillowImage.new("CMYK", (2, 2)))
    with pytest.raises(EncodeError, match="expected one of jpeg"):
        Image(np.zeros((2, 2), np.uint8), format="psd")
    with pytest.raises(EncodeError, match="encoded already, as png"):
        Image(picture().bytes, format="jpeg")
    with pytest.raises(EncodeError, match="expected encoded bytes"):
        Image(3)
    with pytest.raises(EncodeError, match="its rate is needed"):
        Audio(tone())
    with pytest.raises(EncodeError, match=r"float64 or float32 or int16 or int32; found uint8"):
        Audio(np.zeros(4, np.uint8), rate=8000)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "gif", "tiff", "bmp", "avif"])
def test_damaged_pictures_are_errors(format: str) -> None:
    """A picture that is cut short anywhere is decoded or is an error of ours."""
    made = picture(40, 30, format=format)
    said = []
    for end in {*range(0, 40), *range(40, len(made.bytes), 97)}:
        for use in (Image.decode, Image.size.fget, Image.mode.fget):  # type: ignore[attr-defined]
            try:
                use(Image(made.bytes[:end]))
            except DecodeError as error:
                said.append(str(error))
    assert not [text for text in said if " object at 0x" in text]
    with pytest.raises(DecodeError, match="no picture of a known format"):
        Image(b"no picture").decode()
    with pytest.raises(DecodeError, match="no picture of a known format: no bytes"):
        Image(b"").decode()
    with pytest.raises(DecodeError, match="no picture of a known format"):
        Image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n").decode()


@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_sound_that_is_cut_short_is_an_error(format: str, share: float) -> None:
    """libsndfile returns what is there of some formats, in silence; a part of it can be read."""
    samples = tone(48_000, 2)
    whole = Audio(
        (samples * 2**15 * 0.9).astype(np.int16) if format == "flac" else samples,
        rate=48_000,
        format=format,
    )
    assert len(whole.decode()[0]) >= 96_000
    cut = Audio(whole.bytes[: int(len(whole.bytes) * share)])
    with pytest.raises(DecodeError):
        cut.decode()
    if format == "wav":
        assert len(cut.decode(stop=0.25)[0]) == 12_000


@pytest.mark.parametrize("size", [0, 2**31 - 1, 2**32 - 1])
def test_a_wav_from_a_pipe_is_whole(size: int) -> None:
    """Its writer did not know how long it would be."""
    data = bytearray(Audio(tone(100), rate=8000).bytes)
    at = data.index(b"data") + 4
    data[at : at + 4] = size.to_bytes(4, "little")
    if size:
        assert len(Audio(bytes(data)).decode()[0]) == 100


@given(st.binary(max_size=80), st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"]))
def test_any_bytes_are_a_picture_or_an_error(data: bytes, start: bytes) -> None:
    """No bytes make a header fail in another way than with our error."""
    for made in (Image(start + data), Image(data)):
        try:
            width, height = made.size
        except DecodeError:
            continue
        assert width > 0
        assert height > 0


def test_bombs_are_refused_by_their_headers() -> None:
    """A few bytes that claim billions of pixels take no memory."""
    png = bytearray(picture().bytes)
    png[16:24] = struct.pack(">II", 100_000, 100_000)
    with pytest.raises(DecodeError, match=r"100,000 × 100,000 pixels: limits.image_pixels is"):
        Image(png).decode()
    jpeg = bytearray(picture(format="jpeg").bytes)
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 60_000, 60_000)
    with pytest.raises(DecodeError, match="60,000 × 60,000"):
        Image(jpeg).decode()
    with atdata.limits.set(image_pixels=14), pytest.raises(DecodeError, match="5 × 3 pixels"):
        picture(format="webp").decode()
    many = picture(format="jpeg", progressive=True)
    with atdata.limits.set(image_scans=3), pytest.raises(DecodeError, match="scans"):
        many.decode()
    with atdata.limits.set(audio_samples=7_999), pytest.raises(DecodeError, match="audio_samples"):
        Audio(tone(), rate=8000).decode()


def test_sound_is_decoded_in_parts() -> None:
    """Samples come back bit for bit, whole or a range of seconds, and channels are averaged."""
    both = np.stack([tone(), tone(hertz=100)], axis=1)
    sound = Audio(both, rate=8000)
    assert (sound.format, sound.rate, sound.duration, sound.channels) == ("wav", 8000, 1.0, 2)
    samples, rate = sound.decode()
    assert rate == 8000
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, both)
    np.testing.assert_array_equal(sound.decode(start=0.25, stop=0.5)[0], both[2000:4000])
    assert sound.decode(start=5)[0].shape == (0, 2)
    one, _ = sound.decode(mono=True)
    np.testing.assert_allclose(one, both.mean(axis=1, keepdims=True), atol=1e-6)
    with pytest.raises(OptionError, match=r"stop=0\.1"):
        sound.decode(start=0.5, stop=0.1)
    with pytest.raises(OptionError, match="rate=0"):
        sound.decode(rate=0)


@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "mp3"])
def test_formats_of_sound(format: str) -> None:
    """Each format is found by its bytes, and lossless ones give the samples that were written."""
    samples = (tone() * 30_000).astype(np.int16) if format == "flac" else tone()
    sound = Audio(samples, rate=8000, format=format)
    assert sound.format == format
    assert sound.rate == 8000
    decoded, _ = sound.decode()
    if format in ("wav", "flac"):
        scale = 1 if format == "wav" else 1 / 32768
        np.testing.assert_array_equal(decoded[:, 0], samples.astype(np.float32) * scale)
    for end in range(0, len(sound.bytes), 211):
        try:
            Audio(sound.bytes[:end]).decode()
        except DecodeError:
            pass


@given(
    st.sampled_from([4000, 8000, 11025, 16000, 22050, 44100, 48000]),
    st.sampled_from([8000, 11025, 16000, 44100, 48001]),
)
def test_a_tone_keeps_its_pitch(rate: int, wanted: int) -> None:
    """A tone below both Nyquist frequencies, resampled, is that tone at the other rate."""
    samples, got = Audio(tone(rate, 0.5), rate=rate).decode(rate=wanted)
    assert got == wanted
    expected = tone(wanted, len(samples) / wanted)
    inner = slice(len(samples) // 4, -len(samples) // 4)
    assert abs(samples[inner, 0] - expected[inner]).max() < 2e-3


@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "mp3"])
def test_errors_of_sound_do_not_name_objects(format: str) -> None:
    """What is wrong with sound is said without the object that libsndfile was given."""
    samples = (tone() * 30_000).astype(np.int16) if format == "flac" else tone()
    whole = Audio(samples, rate=8000, format=format).bytes
    with pytest.raises(DecodeError) as caught:
        Audio(whole[:30]).decode()
    assert " object at 0x" not in str(caught.value)


def test_high_tones_do_not_fold_back() -> None:
    """A tone above the new Nyquist frequency is gone, and not heard as another one."""
    samples, _ = Audio(tone(16_000, 1.0, 6000), rate=16_000).decode(rate=8000)
    assert abs(samples[500:-500]).max() < 1e-3


def test_the_stored_bytes_are_the_encoded_bytes() -> None:
    """On the wire a picture is a msgpack bin of exactly its bytes."""
    made = Seen(picture(), Audio(tone(), rate=8000), [picture()], {"a": None, "b": picture()})
    fields = msgpack.unpackb(packed(made))
    assert made.sound is not None
    assert fields["picture"] == made.picture.bytes
    assert fields["sound"] == made.sound.bytes
    assert fields["more"] == [picture().bytes]
    assert fields["named"] == {"a": None, "b": picture().bytes}
    assert Seen.from_bytes(packed(made)) == made  # type: ignore[attr-defined]


def test_samples_with_pictures_in_a_dataset(tmp_path: Path) -> None:
    """Written, read one by one, in batches and without a type, pictures are the same bytes."""
    made = [
        Seen(picture(2 + i), Audio(tone(seconds=0.01), rate=8000) if i % 2 else None)
        for i in range(7)
    ]
    dataset = atdata.write_samples(made, tmp_path / "seen.tar")
    assert list(dataset.ordered()) == made
    batch = next(iter(dataset.ordered(4)))
    assert batch.picture == [sample.picture for sample in made[:4]]
    assert batch.sound == [sample.sound for sample in made[:4]]
    with pytest.raises(atdata.errors.RaggedFieldError, match=r"batch\.values"):
        batch.column("picture")
    untyped = list(atdata.Dataset(tmp_path / "seen.tar").ordered())
    assert untyped[0].picture == made[0].picture.bytes
    columns: dict[str, Any] = {
        "picture": [s.picture.bytes for s in made],
        "sound": [s.sound for s in made],
    }
    of_columns = atdata.write_columns(columns, tmp_path / "columns.tar", sample_type=Seen)
    assert list(of_columns.ordered()) == made


def test_a_sample_without_a_type_holds_pictures() -> None:
    """It stores their bytes, and reads back equal."""
    sample = atdata.DictSample(picture=picture(), label=3)
    assert atdata.DictSample.from_bytes(sample.packed) == sample


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a.jpg", "To store the content of a file, write Image(path)"),
        (Path("a.jpg"), "To store the content of the file, write Image(path)"),
        (np.zeros((2, 2, 3), np.uint8), r"To encode an array, write Image\(array\)"),
        (PillowImage.new("L", (1, 1)), r"To encode a picture, write Image\(picture\)"),
        (Audio(b"x"), "expected Image, found Audio"),
        (None, "expected Image, found None"),
    ],
)
def test_a_field_takes_no_path(value: Any, message: str) -> None:
    """A field takes a picture or its bytes; anything else says how to make one of it."""
    with pytest.raises(EncodeError, match=message.replace("(path)", r"\(path\)")):
        packed(Seen(value))


FIELDS = (
    Field("picture", Encoded("image")),
    Field("sound", Encoded("audio"), optional=True),
    Field("more", ListOf(Encoded("image"))),
)
SCHEMA = Schema("lab.Seen", "1.0.0", FIELDS)


def test_both_families_of_records_hold_pictures() -> None:
    """A schema with pictures reads back the same from its record of either family."""
    nullable = Schema("lab.Seen", "1.0.0", (*FIELDS, Field("x", ListOf(Maybe(Encoded("audio"))))))
    assert from_record(to_record(nullable, str), lambda ref: SCHEMA) == nullable
    record = to_alt_record(SCHEMA)
    assert from_alt_record(record) == SCHEMA
    # Every reference of the JSON schema leads somewhere in it.
    for name in ("image", "audio"):
        assert record["schema"]["$defs"][f"atdata-{name}"]["type"] == "string"
    assert "$defs" not in to_alt_record(Schema("lab.Row", "1.0.0", ()))["schema"]


def test_a_type_is_made_of_the_schema() -> None:
    """The type has the fields, its stub names them, and an unknown kind of media is refused."""
    made: Any = build_type(SCHEMA)
    assert atdata.schema_of(made) == SCHEMA
    sample = made(picture(), None, more=[picture()])
    assert made.from_bytes(sample.packed) == sample
    text = stub(SCHEMA)
    assert "from atdata import Audio, Image, packable" in text
    assert "sound: Audio | None = None" in text
    record = to_record(SCHEMA, str)
    record["fields"][0]["fieldType"]["$type"] = "ac.foundation.dataset.schemaType#video"
    later = from_record(record, lambda ref: SCHEMA)
    assert isinstance(later.fields[0].kind, Unknown)
    with pytest.raises(UnknownKindError):
        build_type(later)


def test_bytes_and_pictures_read_each_other() -> None:
    """Data written as bytes are readable as pictures, and pictures as bytes, not as sound."""

    @atdata.packable
    class Raw:
        picture: bytes

    @atdata.packable
    class Shown:
        picture: Image

    assert compare(atdata.schema_of(Raw), atdata.schema_of(Shown)).compatible
    assert compare(atdata.schema_of(Shown), atdata.schema_of(Raw)).compatible
    shown: Any = Shown(picture())
    assert Raw.from_bytes(shown.packed).picture == picture().bytes  # type: ignore[attr-defined]
    raw: Any = Raw(picture().bytes)
    assert Shown.from_bytes(raw.packed) == shown  # type: ignore[attr-defined]
    old = Schema("lab.A", "1.0.0", (Field("x", Encoded("image")),))
    new = Schema("lab.A", "1.0.0", (Field("x", Encoded("audio")),))
    assert not compare(old, new).compatible
