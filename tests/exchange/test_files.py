"""CSV, JSON lines, arrays of NumPy, and folders of pictures."""

from __future__ import annotations

import gzip
import json
import math
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata.errors import (
    EncodeError,
    OptionError,
    SchemaError,
    ShardNotFoundError,
    SourceError,
    StoreError,
)
from atdata.testing.strategies import json_values
from tests.exchange.equality import same

PICTURE = atdata.Image(np.zeros((2, 2, 3), np.uint8)).bytes


@atdata.packable
class Row:
    number: int
    score: float | None
    name: str | None
    day: date
    at: datetime
    ok: bool


def rows() -> list[Row]:
    at = datetime(2024, 5, 1, 12, 30, 0, 250, tzinfo=UTC)
    return [
        Row(1, None, "", date(2024, 1, 2), at, True),
        Row(-(2**63), math.nan, 'a "quoted",\nname', date(1, 1, 1), at, False),
        Row(2**53 + 1, 0.1, None, date(9999, 12, 31), at.replace(tzinfo=None), True),
        Row(0, -0.0, "NA", date(2024, 1, 2), at, False),
    ]


def test_csv_comes_back_as_it_was(tmp_path: Path) -> None:
    """None, the empty str, NaN, quotes, line ends, and times with and without an offset."""
    path = atdata.write_samples(rows(), tmp_path / "a.tar").to_csv(tmp_path / "a.csv")
    assert all(map(same, atdata.from_csv(path, Row), rows()))


def test_types_of_csv_come_from_all_lines(tmp_path: Path) -> None:
    """Not from the first block; leading zeros and long numbers are kept as they are written."""
    lines = ["id,zip,x,day,word,big,late"]
    lines += [f"{i},{i:05d},{i}.5,2024-01-01,w,12345678901234567890,1" for i in range(300_000)]
    lines += ["300000,99999,,2024-01-02,1,1,later"]
    path = tmp_path / "my table.csv"
    path.write_text("\n".join(lines) + "\n")
    importer = atdata.from_csv(path)
    assert str(importer.schema).splitlines() == [
        "imported.MyTable@1.0.0",
        *("  id: int", "  zip: str", "  x: float | None", "  day: date", "  word: str"),
        *("  big: int", "  late: str"),
    ]
    first: Any = importer.head(1)[0]
    assert (first.zip, first.big, first.late) == ("00000", 12345678901234567890, "1")
    assert importer.count == 300_001


def test_csv_of_other_forms(tmp_path: Path) -> None:
    """Tabs, gzip, marks of None that the caller names; a line with too many values is named."""
    (tmp_path / "a.tsv").write_text("a\tb\n1\tNA\n2\tx\n")
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(b"a,b\n1,NA\n2,x\n"))
    for path in (tmp_path / "a.tsv", packed):
        assert [one.b for one in atdata.from_csv(path)] == ["NA", "x"]
        assert [one.b for one in atdata.from_csv(path, nulls=["", "NA"])] == [None, "x"]
    (tmp_path / "c.csv").write_text("a,b\n1,2\n1,2,3\n")
    with pytest.raises(SourceError, match="Expected 2 columns, got 3"):
        atdata.from_csv(tmp_path / "c.csv")
    (tmp_path / "d.csv").write_text("")
    with pytest.raises(SourceError, match="Empty CSV file"):
        atdata.from_csv(tmp_path / "d.csv")
    (tmp_path / "e.csv").write_text("a,a\n1,2\n")
    with pytest.raises(SchemaError, match="two columns are called 'a'"):
        atdata.from_csv(tmp_path / "e.csv")


@atdata.packable
class Boxes:
    image: Annotated[NDArray[np.float32], atdata.Shape("h", 2)]
    label: Annotated[int, atdata.ClassLabel("cat", "dog")]
    tags: set[str]
    place: tuple[int, float]
    row: Row | None
    meta: atdata.Json


def test_json_lines_come_back_as_they_were(tmp_path: Path) -> None:
    """Arrays are nested lists, nested samples objects."""
    plain = [row for row in rows() if row.score == row.score]
    samples = [
        Boxes(np.full((n, 2), n / 4, np.float32), n % 2, {"b", "a"}, (n, 0.5), row, {"n": [n]})
        for n, row in enumerate([*plain, None], 1)
    ]
    dataset = atdata.write_samples(samples, tmp_path / "a.tar")
    path = dataset.to_jsonl(tmp_path / "a.jsonl")
    assert all(map(same, atdata.from_jsonl(path, Boxes), samples))
    assert json.loads(path.read_text().splitlines()[0])["image"] == [[0.25, 0.25]]


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "class", "x y"]), json_values()), min_size=1
    ).filter(any)
)
def test_any_json_lines_make_a_type_that_holds_them(
    values: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever values a key has, a type is found and each value read is equal."""
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    importer = atdata.from_jsonl(path)
    names = {"class": "class_", "x y": "x_y"}
    for sample, value in zip(importer, values, strict=True):
        for key, each in value.items():
            assert plain(getattr(sample, names.get(key, key))) == complete(each)


def plain(value: Any) -> Any:
    """A value as JSON has it, without keys that hold None."""
    if codec := getattr(type(value), "__atdata_codec__", None):
        value = {field.name: getattr(value, field.name) for field in codec.fields}
    return complete(value)


def complete(value: Any) -> Any:
    """The same; a key that a sample lacks is None in a nested one."""
    if isinstance(value, dict):
        return {key: found for key, each in value.items() if (found := plain(each)) is not None}
    return [plain(each) for each in value] if isinstance(value, list) else value


def test_json_lines_that_are_none_are_named(tmp_path: Path) -> None:
    """The error says which line."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n[1]\n')
    with pytest.raises(SourceError, match=r"line 3: expected an object.*found list"):
        atdata.from_jsonl(path)
    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(SourceError, match="line 2: no JSON"):
        atdata.from_jsonl(path)
    path.write_text('{"number": 1}\n{"number": "x"}\n')

    @atdata.packable
    class Number:
        number: int

    with pytest.raises(EncodeError, match=r"line 2: \$\.number: expected int, found str"):
        atdata.from_jsonl(path, Number).write(tmp_path / "a.tar")
    assert not (tmp_path / "a.tar").exists()
    with pytest.raises(ShardNotFoundError):
        atdata.from_jsonl(tmp_path / "nope.jsonl")


def test_fields_that_a_format_lacks_are_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    """The error names the field; leaving it out is the caller's choice."""
    boxes = Boxes(np.ones((1, 2), np.float32), 0, set(), (1, math.nan), None, 1)
    dataset = atdata.write_samples([boxes], tmp_path / "a.tar")
    with pytest.raises(OptionError, match=r"Boxes\.image is float32 .*CSV"):
        dataset.to_csv(tmp_path / "a.csv")
    with pytest.raises(EncodeError, match=r"sample 0: Boxes \$\.place\[1\].*found nan"):
        dataset.to_jsonl(tmp_path / "a.jsonl")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("a.tar")] == []
    labels = dataset.select("label").to_csv(tmp_path / "a.csv")
    assert labels.read_text() == '"label"\n0\n'


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """A full disk or a folder in the way is one clear error."""
    dataset = atdata.write_samples(rows(), tmp_path / "a.tar")
    with pytest.raises(OptionError, match="is a folder"):
        dataset.to_csv(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="was not written"):
        dataset.to_csv(tmp_path / "file" / "a.csv")
    old = dataset.select("number").to_jsonl(tmp_path / "a.jsonl").read_bytes()
    with pytest.raises(EncodeError):
        dataset.to_jsonl(tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == old
    assert not list(tmp_path.glob(".a.jsonl*"))


def test_arrays_go_in_and_out(tmp_path: Path) -> None:
    """A dict of arrays, an .npz file, one .npy file that is mapped into memory."""
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "image": np.arange(24, dtype=np.uint8).reshape(4, 2, 3),
        "label": np.arange(4),
        "text": np.array(["a", "", "é", "d"]),
        "at": np.arange(4).astype("datetime64[ns]"),
    }
    importer = atdata.from_numpy(arrays)
    assert [str(field.kind.describe()) for field in importer.schema.fields] == [
        "uint8 (2, 3)",
        "int",
        "str",
        "<M8[ns] ()",
    ]
    dataset = importer.write(tmp_path / "a.tar")
    found = dataset.to_numpy(tmp_path / "a.npz")
    again = atdata.from_numpy(tmp_path / "a.npz")
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert (found[name] == array).all()
    assert all(
        same([one.image, one.label, one.text, one.at], [two.image, two.label, two.text, two.at])
        for one, two in zip(again, importer, strict=True)
    )
    np.save(tmp_path / "b.npy", arrays["image"])
    [batch] = atdata.from_numpy(tmp_path / "b.npy").batches()
    assert (batch.column("data") == arrays["image"]).all()


class Stored:
    """An array of a file, such as one of h5py: read by slices alone."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array
        self.dtype, self.shape, self.ndim = array.dtype, array.shape, array.ndim
        self.most = 0

    def __getitem__(self, rows: slice) -> np.ndarray[Any, Any]:
        part: np.ndarray[Any, Any] = self.array[rows]
        self.most = max(self.most, part.nbytes)
        return part


def test_arrays_in_files_are_read_piece_by_piece(tmp_path: Path) -> None:
    """As those of HDF5 and zarr: what is in memory does not grow with the file."""
    stored = Stored(np.arange(6_000_000.0).reshape(-1, 1000))
    dataset = atdata.from_numpy({"x": stored}).write(tmp_path / "a.tar", fsync=False)
    assert (dataset[-1].x == stored.array[-1]).all()
    assert stored.most <= 16 << 20


def test_arrays_that_cannot_be_samples_are_refused(tmp_path: Path) -> None:
    """Of different lengths, of Python objects, damaged."""
    with pytest.raises(EncodeError, match=r"a \(2,\), b \(3,\)"):
        atdata.from_numpy({"a": np.zeros(2), "b": np.zeros(3)})
    np.savez(tmp_path / "a.npz", a=np.array([{}], object))
    with pytest.raises(SourceError, match=r"a\.npz cannot be read"):
        atdata.from_numpy(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(SourceError, match=r"b\.npz cannot be read"):
        atdata.from_numpy(tmp_path / "b.npz")


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PICTURE)
    return folder


def test_folders_are_classes(tmp_path: Path) -> None:
    """Their names are the names of the labels; other files are left alone."""
    folder = pictures(tmp_path / "pets", "dog/1.png", "cat/b/2.PNG", "cat/1.png", ".cache/x.png")
    (folder / "README.md").write_text("Pets.")
    importer = atdata.from_images(folder)
    assert str(importer.schema).splitlines()[1:] == [
        "  image: Image",
        "  label: ClassLabel('cat', 'dog')",
        "  path: str",
    ]
    found: Any = list(importer.write(tmp_path / "pets.tar"))
    assert [(one.path, one.label) for one in found] == [
        ("cat/1.png", 0),
        ("cat/b/2.PNG", 0),
        ("dog/1.png", 1),
    ]
    assert all(one.image.bytes == PICTURE for one in found)
    assert "label" not in str(atdata.from_images(folder, labels=False).schema)


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_a_table_next_to_pictures_adds_its_columns(tmp_path: Path, name: str) -> None:
    """Each picture has its row, each row its picture."""
    folder = pictures(tmp_path / "pets", "1.png", "2.png")
    text = {
        "metadata.csv": "file_name,age,my name\n2.png,3,Rex\n1.png,,Tom\n",
        "metadata.jsonl": '{"file_name": "2.png", "age": 3, "my name": "Rex"}\n'
        '{"file_name": "1.png", "my name": "Tom"}\n',
    }
    (folder / name).write_text(text[name])
    importer = atdata.from_images(folder)
    assert [(one.path, one.age, one.my_name) for one in importer] == [
        ("1.png", None, "Tom"),
        ("2.png", 3, "Rex"),
    ]
    pictures(folder, "3.png")
    with pytest.raises(SourceError, match=r"'3\.png' has no row"):
        atdata.from_images(folder)
    os.unlink(folder / "1.png")  # noqa: PTH108
    os.unlink(folder / "3.png")  # noqa: PTH108
    with pytest.raises(SourceError, match=r"'1\.png' is no file"):
        atdata.from_images(folder)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    """A page under the name of a picture, an empty folder: nothing is written."""
    folder = pictures(tmp_path / "pets", "1.png")
    (folder / "2.png").write_text("<html>Sign in</html>")
    with pytest.raises(SourceError, match=r"2\.png is no picture"):
        atdata.from_images(folder).write(tmp_path / "pets.tar")
    assert not (tmp_path / "pets.tar").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ShardNotFoundError, match="no pictures"):
        atdata.from_images(tmp_path / "empty")


def test_shards_that_are_pictures_or_tables_say_what_takes_them(tmp_path: Path) -> None:
    """load_dataset of a folder of pictures or of a table names the command."""
    folder = pictures(tmp_path / "pets", "cat/1.png")
    with pytest.raises(ValueError, match=r"atdata import .*pets"):
        atdata.load_dataset(str(folder))
    dataset = atdata.write_samples(rows(), tmp_path / "a.tar").select("number", "ok")
    table = dataset.to_csv(tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"CSV, not a tar.*atdata import"):
        list(atdata.load_dataset(str(table), split="train"))


def test_an_importer_inserts_into_an_index(tmp_path: Path) -> None:
    """Into a path of the caller, or into the store of the index."""
    from atdata.local import LocalIndex
    from atdata.stores.disk import DiskDataStore

    importer = atdata.from_numpy({"x": np.arange(3)}, name="Number")
    index = LocalIndex(tmp_path / "a.db")
    with pytest.raises(OptionError, match="path="):
        importer.insert(index, name="numbers")
    importer.insert(index, name="numbers", path=tmp_path / "numbers.tar", tags=["small"])
    opened = atdata.load_dataset("@local/numbers", split="train", index=index)
    assert [one.x for one in opened] == [0, 1, 2]
    stored = LocalIndex(tmp_path / "b.db", data_store=DiskDataStore(tmp_path / "store"))
    importer.insert(stored, name="numbers", maxcount=2)
    opened = atdata.load_dataset("@local/numbers", split="train", index=stored)
    assert [one.x for one in opened] == [0, 1, 2]
