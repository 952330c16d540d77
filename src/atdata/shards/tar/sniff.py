"""What a file is, by its first bytes, if it is not a tar."""

from __future__ import annotations

import re
from typing import Final

from atdata._registry import FORMATS
from atdata.errors import ShardError
from atdata.shards.tar.header import BLOCK, ZEROS, checksum_holds

_UNPACK: Final = "compressed with {}; decompress it to a plain .tar first"
_STORED: Final = "{}, not a tar; write its rows with atdata.write_samples or write_columns"
_TAKEN: Final = "{}, not a tar; make shards of it by: atdata import, or atdata.{}"
_PICTURE: Final = (
    "{}, not a tar; make shards of its folder by: atdata import, or atdata.from_images"
)
_FILE: Final = "{}, not a tar; a shard is a .tar of samples"
_POINTER: Final = "{}, not a tar: the data themselves were not fetched. Run: {}"

_MAGIC: Final = {
    **{
        magic: _TAKEN.format(row.what, row.reads_by)
        for row in FORMATS.values()
        for magic in row.magic
    },
    b"\x1f\x8b": _UNPACK.format("gzip"),
    b"\x1f\x9d": _UNPACK.format("compress"),
    b"\xfd7zXZ\0": _UNPACK.format("xz"),
    b"\x5d\0\0\x80\0": _UNPACK.format("lzma"),
    b"\x28\xb5\x2f\xfd": _UNPACK.format("zstd"),
    b"\x04\x22\x4d\x18": _UNPACK.format("lz4"),
    b"\xff\x06\0\0sNaPpY": _UNPACK.format("snappy"),
    b"PK\x03\x04": "a zip file, not a tar; unpack it, and pack its files as a plain .tar",
    b"PK\x05\x06": "an empty zip file, not a tar",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive, not a tar; unpack it, and pack its files as a plain .tar",
    b"Rar!\x1a\x07": "a rar archive, not a tar; unpack it, and pack its files as a plain .tar",
    b"version https://git-lfs.github.com/spec/": _POINTER.format(
        "a Git LFS pointer", "git lfs pull"
    ),
    b"version https://hawser.github.com/spec/": _POINTER.format(
        "a Git LFS pointer", "git lfs pull"
    ),
    b"/annex/objects/": _POINTER.format("a git-annex pointer", "git annex get"),
    b"../.git/annex/": _POINTER.format("a git-annex pointer", "git annex get"),
    b"PARE": _STORED.format("an encrypted Parquet file"),
    b"ARROW1": _STORED.format("an Arrow file"),
    b"FEA1": _STORED.format("a Feather file"),
    b"Obj\x01": _STORED.format("an Avro file"),
    b"\x89HDF\r\n\x1a\n": _STORED.format("an HDF5 file"),
    b"CDF\x01": _STORED.format("a NetCDF file"),
    b"CDF\x02": _STORED.format("a NetCDF file"),
    b"CDF\x05": _STORED.format("a NetCDF file"),
    b"SQLite format 3\0": _STORED.format("an SQLite database"),
    b"MATLAB 5.0": _STORED.format("a MATLAB file"),
    b"GGUF": _FILE.format("a GGUF file"),
    b"\x89PNG\r\n\x1a\n": _PICTURE.format("a PNG picture"),
    b"\xff\xd8\xff": _PICTURE.format("a JPEG picture"),
    b"II*\0": _PICTURE.format("a TIFF picture"),
    b"MM\0*": _PICTURE.format("a TIFF picture"),
    b"%PDF-": _FILE.format("a PDF"),
    b"fLaC": _FILE.format("a FLAC file"),
    b"OggS": _FILE.format("an Ogg file"),
    b"\x1a\x45\xdf\xa3": _FILE.format("a Matroska or WebM file"),
    b"\x7fELF": _FILE.format("a program"),
    b"ATDTABLE": "the table of a shard, not a tar; name the shard itself, without .idx",
}
_INSIDE: Final = {
    (4, b"ftyp"): _FILE.format("an MP4 or HEIF file"),
    (8, b"WEBP"): _PICTURE.format("a WebP picture"),
    (8, b"WAVE"): _FILE.format("a WAV file"),
    (8, b"AVI "): _FILE.format("an AVI file"),
    (8, b'{"'): _STORED.format("a safetensors file"),
}
_PAGE: Final = (
    "not a tar; often a server's error or a page to sign in. Look at it, and fetch the tar"
)
_HTML: Final = re.compile(rb"<!doctype html|<html|<head|<body|<title", re.IGNORECASE)
_PATTERNS: Final = {
    rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)": _UNPACK.format("bzip2"),
    rb"ORC[^ -~]": _STORED.format("an ORC file"),
    rb"BM.{4}\0\0\0\0": _PICTURE.format("a BMP picture"),
    rb"ID3[\x02-\x04]\0": _FILE.format("an MP3 file"),
    rb"GIF8[79]a": _PICTURE.format("a GIF picture"),
    rb"\x80[\x02-\x05](?:\x95|[cCX}\](K\x8c])": _STORED.format("a pickle"),
}
"""Short magic numbers, with more of the first bytes, as others may begin so by chance."""
_JSON: Final = re.compile(rb'[{\[]\s*(?:["{}\[\]]|-?\d|true|false|null|$)')
_SHOWN: Final = 40


def refuse_other_forms(window: memoryview) -> None:
    """Refuse what does not begin like a tar.

    A right checksum makes it a tar, even if its first key looks like another magic number.

    Args:
        window: The first bytes of the file; all of them if they are fewer than a header.

    Raises:
        ShardError: It is something else; names what.
    """
    start = bytes(window[:BLOCK])
    if not start:
        raise ShardError("the shard is empty: not one byte")
    if len(start) == BLOCK and (start == ZEROS or checksum_holds(start)):
        return
    raise ShardError(_named(start), offset=0)


def _named(start: bytes) -> str:
    if start[257:262] == b"ustar":
        if len(start) < BLOCK:
            return "the shard is cut short: it ends within its first header"
        return "a damaged tar header: its checksum is wrong"
    for magic, what in _MAGIC.items():
        if start.startswith(magic):
            return what
    for (at, magic), what in _INSIDE.items():
        if start.startswith(magic, at):
            return what
    for pattern, what in _PATTERNS.items():
        if re.match(pattern, start, re.DOTALL):
            return what
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        return f"{'HTML' if _HTML.search(text) else 'XML'}, {_PAGE}"
    if _JSON.match(text):
        return f"JSON, not a tar; of a server, an error. JSON lines: {_ROWS}, or from_jsonl"
    lines = _lines(start)
    if lines is None:
        if len(start) < BLOCK:
            return f"not a tar: {len(start)} bytes, and the header of a tar has {BLOCK}"
        return "not a tar: the header's checksum is wrong"
    for comma, name in ((",", "CSV"), ("\t", "TSV"), (";", "CSV")):
        counts = {line.count(comma) for line in lines}
        if len(lines) > 1 and len(counts) == 1 and counts != {0}:
            return f"{name}, not a tar; {_ROWS}, or atdata.from_csv"
    shown = (lines or [""])[0]
    more = "…" if len(shown) > _SHOWN or len(lines) > 1 else ""
    return f"text, not a tar: it begins with {shown[:_SHOWN] + more!r}"


_ROWS: Final = "make shards of its rows by: atdata import"


def _lines(start: bytes) -> list[str] | None:
    """The whole lines at the start of a text file; None: not text."""
    try:
        text = start.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        # A character may be cut at the end.
        if error.start < len(start) - 3 or len(start) < BLOCK:
            return None
        text = start[: error.start].decode("utf-8")
    if any(ord(c) < 32 and c not in "\t\n\r\f" for c in text):
        return None
    lines = text.splitlines()
    return lines[:-1] if len(start) == BLOCK and len(lines) > 1 else lines
