"""atdata import and atdata export: from files of other programs to a dataset, and back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import atdata
from atdata.errors import StoreError
from atdata.local import LocalIndex
from tests.cli.commands import atdata_command, documents

PICTURE = atdata.Image(np.zeros((2, 2, 3), np.uint8)).bytes


def sources(folder: Path) -> dict[str, str]:
    """A source of each format → a field of what it becomes."""
    (folder / "photos" / "cat").mkdir(parents=True)
    (folder / "photos" / "cat" / "1.png").write_bytes(PICTURE)
    (folder / "table.csv").write_text("score,name\n0.5,a\n,b\n")
    (folder / "lines.jsonl").write_text('{"score": 0.5}\n{"score": null}\n')
    np.savez(folder / "arrays.npz", score=np.zeros(3))
    (folder / "parts").mkdir()
    numbers = atdata.from_numpy({"score": np.arange(2)}).write(folder / "numbers.tar")
    numbers.to_parquet(folder / "parts" / "a.parquet")
    numbers.to_parquet(folder / "parts" / "b.parquet")
    return {
        **{"photos": "label", "table.csv": "score", "lines.jsonl": "score"},
        **{"arrays.npz": "score", "parts": "score", "parts/*.parquet": "score"},
    }


def test_import_recognises_what_it_is_given(folder: Path) -> None:
    """Each becomes shards and a dataset of the index, which is read back."""
    for number, (source, field) in enumerate(sources(folder).items()):
        [entry] = documents(folder, "import", source, "--name", f"d{number}", "--license", "MIT")
        assert entry["samples"] in (1, 2, 3, 4)
        assert field in documents(folder, "head", f"d{number}")[0]
    assert (folder / "d0-000000.tar").exists()


def test_export_writes_what_the_ending_says(folder: Path) -> None:
    """And import reads it again; the notes say what was changed."""
    sources(folder)
    done = atdata_command(folder, "import", "table.csv", "--name", "table", "--to", "t.tar")
    assert done.returncode == 0, done.stderr
    assert "score is None in 1 sample" in done.stderr
    for file in ("out.parquet", "out.csv", "out.jsonl"):
        assert atdata_command(folder, "export", "table", file).stdout == f"{file}\n"
        name = file.replace(".", "-")
        documents(folder, "import", file, "--name", name, "--to", f"{name}.tar")
        assert documents(folder, "head", name) == documents(folder, "head", "table")
    lines = atdata_command(folder, "export", "t.tar", "names.jsonl", "--field", "name")
    assert lines.returncode == 0, lines.stderr
    assert json.loads((folder / "names.jsonl").read_text().splitlines()[0]) == {"name": "a"}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("rows-000000.tar", "a shard already: atdata insert"),
        ("nope.csv", "There is no file or folder 'nope.csv'"),
        ("page.csv", "HTML"),
        ("pointer.parquet", "a Git LFS pointer.*git lfs pull"),
        ("text.parquet", "text, not a tar"),
        ("one.png", "one picture: name its folder"),
        ("odd", "no format that is known"),
    ],
)
def test_what_cannot_be_imported_is_named_for_what_it_is(
    folder: Path, source: str, said: str
) -> None:
    """One line, and nothing is written or recorded."""
    (folder / "page.csv").write_text("<!doctype html><title>Sign in</title>")
    (folder / "pointer.parquet").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n"
    )
    (folder / "text.parquet").write_text("hello")
    (folder / "one.png").write_bytes(PICTURE)
    (folder / "odd").mkdir()
    before = sorted(path.name for path in folder.iterdir())
    failed = atdata_command(folder, "import", source, "--name", "x")
    assert failed.returncode not in (0, 1)
    assert len(failed.stderr.splitlines()) == 1
    assert re.search(said, failed.stderr), failed.stderr
    assert sorted(path.name for path in folder.iterdir()) == before


def test_export_refuses_what_a_format_lacks(folder: Path) -> None:
    """An array in CSV, another ending; no file is left."""
    for file, said in (("a.csv", "--field NAME"), ("a.xlsx", "its ending has to be")):
        failed = atdata_command(folder, "export", "rows-000000.tar", file)
        assert said in failed.stderr
        assert not (folder / file).exists()


def test_an_import_replaces_no_shards_that_an_index_names(folder: Path) -> None:
    """A label goes on meaning what it meant, whatever is imported under the name later."""
    for number in (1, 2, 3):
        (folder / f"{number}.csv").write_text("a\n" + f"{number}\n" * 4)
        documents(folder, "import", f"{number}.csv", "--name", "t", "--maxcount", "2")
        assert atdata_command(folder, "label", "t", "t", f"{number}.0.0").returncode == 0
    before = {path: path.read_bytes() for path in folder.glob("t-*.tar")}
    assert len(before) == 6
    for path in ("t-%06d.tar", "t-2-%06d.tar"):
        refused = atdata_command(folder, "import", "3.csv", "--name", "u", "--to", path)
        assert refused.returncode != 0
        assert "000000.tar already" in refused.stderr
    assert {path: path.read_bytes() for path in folder.glob("t-*.tar")} == before
    for number in (1, 2, 3):
        found = documents(folder, "head", f"@local/t@{number}.0.0")
        assert [sample["a"] for sample in found] == [number] * 4


def test_an_importer_replaces_no_shards_either(tmp_path: Path) -> None:
    """With a path of one shard, in Python."""
    (tmp_path / "a.csv").write_text("a\n1\n")
    found, index = atdata.from_csv(tmp_path / "a.csv"), LocalIndex(tmp_path / "index.db")
    found.insert(index, name="a", path=tmp_path / "a.tar")
    with pytest.raises(StoreError, match=r"a\.tar already.*another path"):
        found.insert(index, name="b", path=tmp_path / "a.tar")
    assert [entry.name for entry in index.list_datasets()] == ["a"]
