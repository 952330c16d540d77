"""atdata convert: shards of either layout from any dataset, without half of one at its place."""

from __future__ import annotations

import json
from pathlib import Path

import webdataset

import atdata
from tests.cli.commands import atdata_command, documents

MODULE = """
from typing import Annotated
import atdata

@atdata.packable
class Caption:
    text: Annotated[str, atdata.Member("txt")]
    label: Annotated[int, atdata.Member("cls")]
"""


def make(folder: Path) -> None:
    (folder / "captions.py").write_text(MODULE)
    for shard in range(3):
        with webdataset.TarWriter(str(folder / f"train-{shard:06d}.tar"), mtime=0.0) as sink:
            for n in range(shard * 10, shard * 10 + 10):
                sink.write({"__key__": f"k{n}", "txt": f"text {n}", "cls": str(n).encode()})


def test_tars_of_files_become_fast_shards_and_tars_of_files_again(tmp_path: Path) -> None:
    """Through a type; what is written says its type, so that the way back needs none."""
    make(tmp_path)
    shards = [f"train-{n:06d}.tar" for n in range(3)]
    (said,) = documents(
        tmp_path, "convert", *shards, "fast/x-%06d.tar", "--type", "captions:Caption"
    )
    assert said["samples"] == 30
    assert [Path(url).name for url in said["shards"]] == [f"x-{n:06d}.tar" for n in range(3)]
    fast = atdata.load_dataset(tmp_path / "fast", split="train")
    assert fast.by_key("k17").text == "text 17"
    done = atdata_command(
        tmp_path, "convert", "fast", "back/b.tar", "--layout", "members", "--samples-per-shard", "9"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "back" / "b-000000.tar") + " … b-000003.tar: 30 s")
    rows = webdataset.WebDataset(
        sorted(map(str, (tmp_path / "back").glob("*.tar"))), shardshuffle=False
    )
    assert [(row["__key__"], row["txt"], row["cls"]) for row in rows] == [
        (f"k{n}", f"text {n}".encode(), str(n).encode()) for n in range(30)
    ]


def test_a_dataset_of_the_index_is_converted_by_its_name(tmp_path: Path) -> None:
    """With the type that the index has, or another schema of it."""
    make(tmp_path)
    inserted = atdata_command(
        tmp_path, "insert", "train-*.tar", "--name", "captions", "--type", "captions:Caption"
    )
    assert inserted.returncode == 0, inserted.stderr
    (said,) = documents(tmp_path, "convert", "captions", "out", "--workers", "1")
    assert said["samples"] == 30
    (again,) = documents(
        tmp_path, "convert", "train-*.tar", "again/out.tar", "--schema", "Caption@1.0.0"
    )
    assert again["bytes"] == said["bytes"]
    for name in ("out-000001.tar", "out-000001.tar.idx", "out.atdata.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_errors_name_options_and_leave_nothing(tmp_path: Path) -> None:
    """A damaged sample, splits, a wrong word; what is unfinished resumes."""
    make(tmp_path)
    with webdataset.TarWriter(str(tmp_path / "train-000001.tar"), mtime=0.0) as sink:
        sink.write({"__key__": "a", "txt": "t", "cls": b"1"})
        sink.write({"__key__": "b", "txt": "t", "cls": b"one"})
    words = ["convert", "train-*.tar", "out/x.tar", "--type", "captions:Caption", "--workers", "1"]
    done = atdata_command(tmp_path, *words)
    assert done.returncode == 5
    assert "train-000001.tar" in done.stderr
    assert "1 of 3 shards are written; the same command resumes" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".x.converting"]
    skipping = atdata_command(tmp_path, *words, "--on-error", "skip")
    assert skipping.returncode == 1
    assert "steps: " in skipping.stderr
    assert "--restart" in skipping.stderr
    done = atdata_command(tmp_path, *words, "--on-error", "skip", "--restart", "--json")
    assert json.loads(done.stdout)["samples"] == 21
    assert "1 of 22 samples were skipped" in done.stderr
    (tmp_path / "train-000002.tar").rename(tmp_path / "val-000002.tar")
    done = atdata_command(tmp_path, "convert", ".", "both")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--split 'train'" in done.stderr
    done = atdata_command(tmp_path, "convert", ".", "both", "--split", "validation", "--json")
    assert json.loads(done.stdout)["samples"] == 10
    done = atdata_command(tmp_path, "convert", "train-*.tar", "no", "--layout", "zip")
    assert done.returncode == 2
    assert "--layout 'zip': expected" in done.stderr
