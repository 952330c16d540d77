"""convert_dataset: the same bytes whoever writes them; whole or absent, however it is stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import pytest
import webdataset

import atdata
from atdata import Member
from atdata._shardlist import Layout
from atdata.errors import (
    IntegrityError,
    NoDataUrlsError,
    OptionError,
    SampleTypeError,
    ShardError,
    SkippedSamplesWarning,
    StoreError,
    WorkerError,
)
from tests.dataset.test_killed_writers import in_child
from tests.docs.running import environment


@atdata.packable
class Row:
    text: Annotated[str, Member("txt")]
    number: Annotated[int, Member("cls")]


SHARDS, SAMPLES = 4, 10


def make(folder: Path, *, name: str = "src", keys: str = "k{:04d}", shards: int = SHARDS) -> Path:
    """Tars of other people's, as webdataset writes them; the pattern that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        with webdataset.TarWriter(str(folder / f"{name}-{shard:06d}.tar"), mtime=0.0) as sink:
            for n in range(shard * SAMPLES, (shard + 1) * SAMPLES):
                sink.write({"__key__": keys.format(n), "txt": f"text {n}", "cls": str(n).encode()})
    return folder / f"{name}-*.tar"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


@pytest.mark.parametrize("layout", ["msgpack", "members"])
@pytest.mark.parametrize("samples", [None, 7, 25])
def test_any_number_of_workers_writes_the_same_bytes(
    layout: Layout, samples: int | None, tmp_path: Path
) -> None:
    """Both layouts, cut as before or elsewhere; the samples and keys are those of the source."""
    dataset = atdata.Dataset[Row](make(tmp_path / "in"))
    found = []
    for workers in (1, 2, 3):
        folder = tmp_path / str(workers)
        made = atdata.convert_dataset(
            dataset,
            folder / "x-%06d.tar",
            layout=layout,
            samples_per_shard=samples,
            workers=workers,
            fsync=False,
        )
        assert list(made) == list(dataset)
        assert made.by_key("k0033") == Row("text 33", 33)
        assert len(made.shard_list) == (SHARDS if samples is None else -(-40 // samples))
        found.append(contents(folder))
    assert found[0] == found[1] == found[2]
    recorded = atdata.load_dataset(tmp_path / "1", split="train")
    assert [(row.text, row.number) for row in recorded] == [(r.text, r.number) for r in dataset]


def test_spawned_workers_write_the_same_bytes(tmp_path: Path) -> None:
    """Where processes begin as new interpreters."""
    dataset = atdata.Dataset[Row](make(tmp_path / "in"))
    for context, workers in (("spawn", 2), (None, 1)):
        path = tmp_path / str(context) / "x.tar"
        atdata.convert_dataset(dataset, path, workers=workers, multiprocessing_context=context)
    assert contents(tmp_path / "spawn") == contents(tmp_path / "None")


def test_there_and_back_again(tmp_path: Path) -> None:
    """What WebDataset reads of the members is what was in the source."""
    dataset = atdata.Dataset[Row](make(tmp_path / "in"))
    fast = atdata.convert_dataset(dataset, tmp_path / "fast")
    again = atdata.convert_dataset(fast, tmp_path / "again", layout="members")
    rows = [
        {key: value for key, value in row.items() if not key.startswith("__u")}
        for where in (tmp_path / "in", tmp_path / "again")
        for row in webdataset.WebDataset(sorted(map(str, where.glob("*.tar"))), shardshuffle=False)
    ]
    kept = [(row["__key__"], row["txt"], row["cls"]) for row in rows]
    assert kept[:40] == kept[40:]
    assert [*again] == [*dataset]


@pytest.mark.parametrize("old", [0, 6])
def test_killed_at_any_step_it_resumes_to_the_same_bytes(old: int, tmp_path: Path) -> None:
    """A reader finds the old shards, the new ones, or none; and the next run gives the same."""
    dataset = atdata.Dataset[Row](make(tmp_path / "in", shards=2))
    atdata.convert_dataset(dataset, tmp_path / "whole" / "x.tar", fsync=False)
    whole = contents(tmp_path / "whole")

    def convert(folder: Path) -> None:
        again = atdata.Dataset[Row](tmp_path / "in")
        atdata.convert_dataset(again, folder / "x.tar", fsync=False)

    for step in count():
        folder = tmp_path / str(step)
        if old:
            atdata.write_samples([Row("old", -1)] * old, folder / "x.tar", maxcount=5, fsync=False)
        done = in_child(lambda folder=folder: convert(folder), killed_at=step)  # type: ignore[misc]
        try:
            found = [row.number for row in atdata.Dataset[Row](folder / "x-*.tar")]
        except NoDataUrlsError:
            found = []
        assert found in ([-1] * old, [*range(20)])
        before = {
            path.name: path.stat().st_ino for path in (folder / ".x.converting").glob("*.tar")
        }
        recorded = {path.stem for path in (folder / ".x.converting").glob("0*.json")}
        convert(folder)
        assert contents(folder) == whole
        assert names(folder) == set(whole)
        for number in recorded if len(found) < 20 else ():
            # Not written again: the file itself got its final name.
            inode = (folder / f"x-{number}.tar").stat().st_ino
            assert before.get(f"{number}.tar", inode) == inode
        shutil.rmtree(folder)
        if done:
            break


KILLED = """
import sys, time
import atdata
from typing import Annotated
from atdata import Member
@atdata.packable
class Row:
    text: Annotated[str, Member("txt")]
    number: Annotated[int, Member("cls")]
if __name__ == "__main__":
    dataset = atdata.Dataset[Row](sys.argv[1] + "/*.tar")
    atdata.convert_dataset(dataset, sys.argv[2] + "/x.tar", workers=int(sys.argv[3]),
                           multiprocessing_context=sys.argv[4])
"""


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_killed_with_its_workers_it_resumes_with_others(context: str, tmp_path: Path) -> None:
    """SIGKILL to the process that others work for: they end, and nothing has its final name."""
    for shard in range(30):
        rows = [Row("x" * 20_000, n) for n in range(shard * 100, shard * 100 + 100)]
        atdata.write_samples(rows, tmp_path / "in" / f"y-{shard:06d}.tar", fsync=False)
    program = tmp_path / "program.py"
    program.write_text(KILLED)
    arguments = [str(tmp_path / "in"), str(tmp_path / "out"), "2", context]
    running = subprocess.Popen(
        [sys.executable, str(program), *arguments], env=environment(tmp_path, {})
    )
    work = tmp_path / "out" / ".x.converting"
    wait_for(lambda: len([*work.glob("0*.json")]) >= 2)
    running.kill()
    running.wait()
    assert not [*(tmp_path / "out").glob("x*")]
    whole = {path.stem: path.with_suffix(".tar").stat().st_ino for path in work.glob("0*.json")}
    for arguments[1:3] in ([str(tmp_path / "out"), "3"], [str(tmp_path / "once"), "1"]):
        subprocess.run(
            [sys.executable, str(program), *arguments], env=environment(tmp_path, {}), check=True
        )
    assert contents(tmp_path / "out") == contents(tmp_path / "once")
    assert not work.exists()
    for number, inode in whole.items():
        assert (tmp_path / "out" / f"x-{number}.tar").stat().st_ino == inode


def killing(row: Row) -> Row:
    """Kills its process at one sample."""
    if row.number == 25:
        os.kill(os.getpid(), signal.SIGKILL)
    return row


def failing(row: Row) -> Row:
    if row.number == 25:
        raise ValueError("25 is not my number")
    return row


def test_a_killed_or_failing_worker_is_one_error(tmp_path: Path) -> None:
    """It says by which signal, or is what the function raised; nothing has its final name."""
    dataset = atdata.Dataset[Row](make(tmp_path / "in"))
    for function, error, text in (
        (killing, WorkerError, r"by signal 9 \(SIGKILL\)"),
        (failing, ValueError, "25 is not my number"),
    ):
        with pytest.raises(error, match=text):
            atdata.convert_dataset(dataset.map(function), tmp_path / "x" / "x.tar", workers=2)
        assert not [*(tmp_path / "x").glob("x*")]
    # Functions may differ unnoticed: nothing of theirs is used, and nothing refused.
    atdata.convert_dataset(dataset, tmp_path / "x" / "x.tar", workers=2, fsync=False)
    assert [row.number for row in atdata.Dataset[Row](tmp_path / "x")] == [*range(40)]


def unfinished(dataset: atdata.Dataset[Any], path: Path, **more: Any) -> None:
    """A conversion that was killed with a part or more written."""
    work = path.parent / f".{path.stem}.converting"
    for step in count():
        shutil.rmtree(path.parent, ignore_errors=True)
        in_child(lambda: atdata.convert_dataset(dataset, path, **more), killed_at=step)
        if len([*work.glob("0*.json")]) == 2:
            return


def test_another_conversion_to_the_path_is_refused_or_begins_again(tmp_path: Path) -> None:
    """The error names what differs; restart=True deletes what the other wrote."""
    dataset = atdata.Dataset[Row](make(tmp_path / "in"))
    path = tmp_path / "out" / "x.tar"
    unfinished(dataset, path)
    work = path.parent / ".x.converting"
    before = names(work)
    for other, more, text in (
        (dataset, {"layout": "members"}, "layout: msgpack there, members here"),
        (dataset, {"samples_per_shard": 7}, "samples_per_shard: None there, 7 here"),
        (atdata.Dataset(tmp_path / "in"), {}, "type: Row .* there, DictSample"),
        (dataset.map(failing), {}, "steps: "),
    ):
        with pytest.raises(StoreError, match=f"differs: .*{text}") as caught:
            atdata.convert_dataset(other, path, **more)
        assert "restart=True" in str(caught.value)
        assert names(work) == before
    made = atdata.convert_dataset(dataset, path, layout="members", restart=True)
    assert [*made] == [*dataset]
    assert not work.exists()


def test_a_shard_that_was_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    """Old and new versions of what is read are never in one dataset."""
    path = tmp_path / "out" / "x.tar"
    unfinished(atdata.Dataset[Row](make(tmp_path / "in")), path)
    make(tmp_path / "in", keys="n{:04d}")
    with pytest.raises(StoreError, match=r"src-000000\.tar was changed since an unfinished"):
        atdata.convert_dataset(atdata.Dataset[Row](tmp_path / "in"), path)
    made = atdata.convert_dataset(atdata.Dataset[Row](tmp_path / "in"), path, restart=True)
    assert made.by_key("n0007").number == 7
    dataset = atdata.Dataset[Row](make(tmp_path / "in2"))
    assert len(dataset) == 40
    shutil.copy(tmp_path / "in2" / "src-000001.tar", tmp_path / "in2" / "src-000000.tar")
    with pytest.raises(IntegrityError):
        atdata.convert_dataset(dataset, tmp_path / "out2" / "x.tar", workers=2)
    assert not [*(tmp_path / "out2").glob("x*")]


def test_a_damaged_part_is_written_again(tmp_path: Path) -> None:
    """What is not as recorded is not taken for whole."""
    dataset = atdata.Dataset[Row](make(tmp_path / "in"))
    unfinished(dataset, tmp_path / "out" / "x.tar")
    work = tmp_path / "out" / ".x.converting"
    (work / "000000.tar").write_bytes((work / "000000.tar").read_bytes().replace(b"text", b"tent"))
    (work / "000001.tar.idx").unlink()
    (work / ".000002.tar-left.part").write_bytes(b"left")
    atdata.convert_dataset(dataset, tmp_path / "out" / "x.tar")
    atdata.convert_dataset(dataset, tmp_path / "once" / "x.tar")
    assert contents(tmp_path / "out") == contents(tmp_path / "once")


FULL = """
import resource, sys
import atdata
from typing import Annotated
from atdata import Member
@atdata.packable
class Row:
    text: Annotated[str, Member("txt")]
    number: Annotated[int, Member("cls")]
if __name__ == "__main__":
    most = int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))  # as a full disk: EFBIG
    dataset = atdata.Dataset[Row](sys.argv[1] + "/*.tar")
    try:
        atdata.convert_dataset(dataset, sys.argv[2] + "/x.tar", workers=2)
    except atdata.errors.StoreError as error:
        print(error)
"""


def test_a_full_disk_is_one_error_and_leaves_no_shard(tmp_path: Path) -> None:
    """With room again, the next run completes it."""
    for shard, size in enumerate((10, 100_000)):
        rows = [Row("x" * size, n) for n in range(shard * 10, shard * 10 + 10)]
        atdata.write_samples(rows, tmp_path / "in" / f"y-{shard:06d}.tar")
    program = tmp_path / "program.py"
    program.write_text(FULL)

    def run(most: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(program), str(tmp_path / "in"), str(tmp_path / "out"), str(most)],
            env=environment(tmp_path, {}),
            capture_output=True,
            text=True,
        )

    done = run(300_000)
    assert "the disk cannot take it (File too large)" in done.stdout, done
    assert done.stderr == ""
    assert not [*(tmp_path / "out").glob("x*")]
    assert run(30_000_000).stdout == ""
    numbers = [row.number for row in atdata.Dataset[Row](tmp_path / "out")]
    assert numbers == [row.number for row in atdata.Dataset[Row](tmp_path / "in")]


@pytest.mark.parametrize("workers", [1, 2])
def test_skipped_samples_are_counted_once(workers: int, tmp_path: Path) -> None:
    """Of all shards together, also of those that an unfinished run wrote."""
    make(tmp_path / "in")
    for shard in (0, 3):
        with webdataset.TarWriter(str(tmp_path / "in" / f"src-{shard:06d}.tar")) as sink:
            for n in range(10):
                sink.write({"__key__": f"{shard}{n}", "txt": "t", "cls": b"x" if n % 2 else b"1"})
    dataset = atdata.Dataset[Row](tmp_path / "in", on_error="skip")
    unfinished(dataset, tmp_path / "out" / "x.tar")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = atdata.convert_dataset(dataset, tmp_path / "out" / "x.tar", workers=workers)
    (warning,) = [one for one in caught if one.category is SkippedSamplesWarning]
    assert "10 of 40 samples were skipped. The first: " in str(warning.message)
    assert "src-000000.tar" in str(warning.message)
    assert len(made) == 30
    assert warning.filename == __file__


def even(row: Row) -> bool:
    return not 10 <= row.number < 20


def test_shards_without_samples_left_have_no_number(tmp_path: Path) -> None:
    """Those that a filter empties; and of no samples at all there is no dataset."""
    dataset = atdata.Dataset[Row](make(tmp_path / "in"))
    made = atdata.convert_dataset(dataset.filter(even), tmp_path / "out" / "x.tar", workers=2)
    assert [Path(shard).name for shard in made.shard_list] == [f"x-{n:06d}.tar" for n in range(3)]
    assert [row.number for row in made] == [*range(10), *range(20, 40)]
    with pytest.raises(NoDataUrlsError, match="not one sample"):
        atdata.convert_dataset(dataset.filter(lambda row: False), tmp_path / "none" / "x.tar")
    assert names(tmp_path / "none") == set()


@pytest.mark.parametrize("layout", ["msgpack", "members"])
def test_keys_that_meet_in_one_shard_stay_apart(layout: Layout, tmp_path: Path) -> None:
    """Keys are unique in a shard only: a second one gets the number of its old shard."""
    for shard in range(3):
        atdata.write_samples([Row("t", shard)] * 2, tmp_path / "in" / f"y-{shard:06d}.tar")
    dataset = atdata.Dataset[Row](tmp_path / "in")
    made = atdata.convert_dataset(
        dataset, tmp_path / "out", layout=layout, samples_per_shard=4, workers=2
    )
    assert [*made] == [*dataset]
    assert made.by_key("000000000-000001").number == 1
    assert made.count() == len(atdata.Dataset[Row](tmp_path / "out")) == 6
    (tmp_path / "out" / "out-000000.tar.idx").unlink()
    assert [*atdata.Dataset[Row](tmp_path / "out")] == [*dataset]


def test_what_cannot_be_converted_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    """Each error says what to do; nothing is written."""
    source = make(tmp_path / "in")
    dataset = atdata.Dataset[Row](source)
    make(tmp_path / "two", name="train")
    make(tmp_path / "two", name="val")
    out = tmp_path / "out" / "x.tar"
    refused: list[tuple[type[Exception], str, Any]] = [
        (SampleTypeError, "Expected a Dataset", lambda: atdata.convert_dataset(str(source), out)),  # type: ignore[arg-type]
        (
            OptionError,
            "rank's part",
            lambda: atdata.convert_dataset(dataset.split(0, 2), out),
        ),
        (OptionError, "workers=0", lambda: atdata.convert_dataset(dataset, out, workers=0)),
        (
            OptionError,
            "samples_per_shard=0",
            lambda: atdata.convert_dataset(dataset, out, samples_per_shard=0),
        ),
        (
            OptionError,
            "several splits: train, validation",
            lambda: atdata.convert_dataset(atdata.Dataset[Row](tmp_path / "two"), out),
        ),
        (
            OptionError,
            "would replace a shard that is read",
            lambda: atdata.convert_dataset(dataset, tmp_path / "in" / "src-%06d.tar"),
        ),
        (
            OptionError,
            "samples are written to a path",
            lambda: atdata.convert_dataset(dataset, "s3://bucket/x.tar"),
        ),
    ]
    before = contents(tmp_path / "in")
    for error, text, call in refused:
        with pytest.raises(error, match=text):
            call()
    assert contents(tmp_path / "in") == before
    assert not out.parent.exists()
    atdata.write_samples([*dataset], out, maxcount=5)
    with pytest.raises(StoreError, match="4 shards of an earlier dataset"):
        atdata.convert_dataset(dataset, out)
    (tmp_path / "in" / "src-000002.tar").write_bytes(b"x" * 5000)
    with pytest.raises(ShardError):
        atdata.convert_dataset(dataset, tmp_path / "damaged" / "x.tar", workers=2)
    assert not [*(tmp_path / "damaged").glob("x*")]


def test_one_process_at_a_time_converts_to_a_path(tmp_path: Path) -> None:
    """The second one is told; the first completes."""
    dataset = atdata.Dataset[Row](make(tmp_path / "in"))
    path = tmp_path / "out" / "x.tar"
    ready, told = tmp_path / "ready", tmp_path / "told"

    def holding(row: Row) -> Row:
        ready.touch()
        wait_for(told.exists)
        return row

    pid = os.fork()
    if not pid:
        atdata.convert_dataset(dataset.map(holding), path)
        os._exit(0)
    wait_for(ready.exists)
    try:
        with pytest.raises(StoreError, match=r"Another process converts to .*x-000000\.tar"):
            atdata.convert_dataset(dataset, path)
    finally:
        told.touch()
        status = os.waitpid(pid, 0)[1]
    assert status == 0
    assert [*atdata.Dataset[Row](path.parent)] == [*dataset]


@pytest.mark.parametrize("layout", ["msgpack", "members"])
def test_chosen_samples_are_converted(layout: Layout, tmp_path: Path) -> None:
    """Those of other datasets, in their order, under keys of their own."""
    dataset = atdata.Dataset[Row](make(tmp_path / "in")).choose([30, 2, 2, 17])
    for samples, shards in ((None, 1), (3, 2)):
        made = atdata.convert_dataset(
            dataset,
            tmp_path / f"{samples}" / "x.tar",
            layout=layout,
            samples_per_shard=samples,
            workers=2,
        )
        assert [row.number for row in made] == [30, 2, 2, 17]
        assert len(made.shard_list) == shards


def test_zipped_datasets_are_converted(tmp_path: Path) -> None:
    """What a function makes of pairs is written like any other samples."""
    rows = atdata.Dataset[Row](str(make(tmp_path / "src")))
    zipped = rows.zip(rows, lambda a, b: Row(a.text, a.number + b.number), Row)
    made = atdata.convert_dataset(zipped, tmp_path / "new.tar", fsync=False)
    assert list(made) == list(zipped)
