"""Paths are read as users and URLs write them, on systems with drives too."""

from __future__ import annotations

from pathlib import Path

import pytest

import atdata
from atdata.local import LocalIndex
from atdata.system.files import path_in_url


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("path", ["/data/a b.tar", "/C/x.tar", "/1:/x.tar"])
def test_the_path_of_a_url_is_absolute(path: str, *, windows: bool) -> None:
    """Only a drive loses the slash before it."""
    assert path_in_url(path.replace(" ", "%20"), windows=windows) == Path(path)


@pytest.mark.parametrize("drive", ["C:", "d:"])
def test_a_drive_in_a_url_is_a_drive_on_windows(drive: str) -> None:
    """file:///C:/x.tar is C:/x.tar there, and /C:/x.tar elsewhere."""
    assert path_in_url(f"/{drive}/x.tar", windows=True) == Path(f"{drive}/x.tar")
    assert path_in_url(f"/{drive}/x.tar", windows=False) == Path(f"/{drive}/x.tar")


def test_bytes_that_are_no_text_come_back(tmp_path: Path) -> None:
    """A file name that is not UTF-8 survives a URL."""
    path = Path(str(tmp_path).encode().decode() + "/\udcff.tar")
    assert path_in_url(path.as_uri().removeprefix("file://")) == path


@atdata.packable
class Number:
    value: int


@pytest.mark.parametrize("drive", ["C:\\", "C:/"])
def test_a_drive_is_not_a_scheme(
    drive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path with a drive is written, read and indexed as a path, wherever it leads."""
    monkeypatch.chdir(tmp_path)
    Path("C:").mkdir()
    written = atdata.write_samples([Number(1), Number(2)], f"{drive}x.tar")
    read = atdata.load_dataset(f"{drive}x.tar", Number, split="train")
    assert len(read) == len(written) == 2
    with LocalIndex(f"{drive}index.db") as index:
        index.insert_dataset(atdata.Dataset[Number](f"{drive}x.tar"), name="numbers")
    assert Path(f"{drive}index.db").is_file()
