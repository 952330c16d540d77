"""The registry: name or URL scheme → class, its extra and its install line.

A new index backend, source or store is one file and one row here. Other packages add rows with
entry points in the groups ``atdata.index``, ``atdata.source`` and ``atdata.store``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial, reduce
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from atdata.errors import AtdataError, EntryPointError, MissingExtraError, UrlError
from atdata.system.forks import importing, load_module

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True, slots=True)
class Provider:
    """One row: where a class is, and what installs what it needs."""

    target: str
    """``module:Class``."""
    extra: str | None = None
    """The extra of atdata that installs its dependencies; None: none is needed."""
    package: str | None = None
    """A package that the user installs next to the extra, such as that of a file system."""
    form: str | None = None
    """A URL of this scheme, for errors that say how to write one."""
    is_scheme: bool = True
    """Whether URLs begin with the name; False: it is named without ``://``."""

    def load(self) -> Any:
        """The class. Its module is imported."""
        module, _, name = self.target.partition(":")
        return reduce(getattr, name.split("."), load_module(module))


@dataclass(frozen=True, slots=True)
class ShardScheme(Provider):
    """One row of the URL schemes of shards. Those of other packages are for this machine alone."""

    public: bool = True
    """Whether a published record may name such URLs: others can open them."""
    from_network: Literal["never", "private", "always"] = "never"
    """Whether such a URL is opened if a record of the network names it; ``private``: only where
    addresses of private networks are allowed."""


R = TypeVar("R", bound=Provider)


class Registry(Mapping[str, R]):
    """What is registered by name or URL scheme: our rows, then those of other packages.

    Other packages cannot replace a row of ours. They are looked for when a name is not ours,
    since that reads the metadata of every installed package.

    Args:
        group: The entry points of other packages.
        unknown: The error for a name that is not registered, with ``{name}`` and ``{known}``.
        ours: Our rows.
        other: Makes a row of another package, of its target.
    """

    def __init__(
        self, group: str, unknown: str, ours: Mapping[str, R], other: Callable[[str], R]
    ) -> None:
        self.group = group
        self.ours = ours
        self._unknown = unknown
        self._other = other

    def __getitem__(self, name: str) -> R:
        found = self.ours.get(name)
        return self._other(_target(_points(self.group)[name])) if found is None else found

    def __iter__(self) -> Iterator[str]:
        return iter({**self.ours, **_points(self.group)})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def load(self, name: str) -> Any:
        """The class that is registered.

        Raises:
            UrlError: None is; names the schemes that are.
            EntryPointError: It is of another package, whose module or class does not load.
        """
        row = self.get(name)
        if row is None:
            unread = "".join(
                f" The entry points of the package {package!r} cannot be read."
                for package in _installed()[1]
            )
            raise UrlError(self._unknown.format(name=name, known=self.schemes()) + unread)
        if name in self.ours:
            return row.load()
        try:
            return row.load()
        except AtdataError:
            raise
        except Exception as error:
            point = _points(self.group)[name]
            package = f"the package {point.dist.name!r}" if point.dist else "a package"
            raise EntryPointError(
                f"{name!r}: the entry point '{point.name} = {point.value}' in the group "
                f"{self.group!r} of {package} does not load ({type(error).__name__}: {error}). "
                "Its value has to be module:Class. Install another version of the package, or "
                "tell its authors."
            ) from error

    def schemes(self) -> str:
        """The schemes that URLs may begin with, for errors."""
        return ", ".join(sorted(name for name, row in self.items() if row.is_scheme))


def _target(point: EntryPoint) -> str:
    # Not by its attributes, which fail if the value is malformed.
    return _NOT_TARGET.sub("", point.value)


def _points(group: str) -> dict[str, EntryPoint]:
    """Names of entry points, in lower case → the entry points."""
    return _installed()[0].get(group, {})


@cache
def _installed() -> tuple[dict[str, dict[str, EntryPoint]], tuple[str, ...]]:
    """The entry points of all packages, by group and name; and the packages without readable ones.

    As for imports, the first on the path counts.
    """
    with importing():
        from importlib.metadata import distributions

    groups: dict[str, dict[str, EntryPoint]] = {}
    unread: dict[str, None] = {}
    for package in distributions():
        try:
            points = package.entry_points
        except Exception:
            # One damaged package must not break the look-ups of all others.
            with suppress(Exception):
                unread[package.name] = None
            continue
        for point in points:
            groups.setdefault(point.group, {}).setdefault(point.name.lower(), point)
    return groups, tuple(unread)


_REDIS = "atdata.local.backends.redis:RedisBackend"
_POSTGRES = "atdata.local.backends.postgres:PostgresBackend"
_SERVER = "://user:password@host/"
INDEX_BACKENDS: Final = Registry(
    "atdata.index",
    "An index cannot be in {name}://…. Known: {known}; a plain path means an SQLite file.",
    {
        "sqlite": Provider(
            "atdata.local.backends.sqlite:SqliteBackend", form="sqlite:///absolute/path/index.db"
        ),
        "redis": Provider(_REDIS, "redis", form=f"redis{_SERVER}0"),
        "rediss": Provider(_REDIS, "redis", form=f"rediss{_SERVER}0"),
        "unix": Provider(_REDIS, "redis", form="unix:///path/redis.sock?db=0"),
        "postgresql": Provider(_POSTGRES, "postgres", form=f"postgresql{_SERVER}db"),
        "postgres": Provider(_POSTGRES, "postgres", form=f"postgres{_SERVER}db"),
    },
    Provider,
)
"""URL scheme of an index → its backend."""

_FSSPEC = "atdata.sources.fsspec:FsspecReader"
SHARD_SCHEMES: Final = Registry(
    "atdata.source",
    "Shards cannot be read from {name}:// URLs. Known: {known}.",
    {
        "file": ShardScheme("atdata.sources.disk:DiskReader", public=False),
        "https": ShardScheme("atdata.sources.http:HttpReader", from_network="always"),
        "s3": ShardScheme("atdata.sources.s3_reader:S3Reader", "s3", from_network="always"),
        "at": ShardScheme("atdata.sources.blob:BlobReader", from_network="always"),
        "http": ShardScheme("atdata.sources.http:HttpReader", from_network="private"),
        "gs": ShardScheme(_FSSPEC, "fsspec", "gcsfs"),
        "gcs": ShardScheme(_FSSPEC, "fsspec", "gcsfs"),
        "az": ShardScheme(_FSSPEC, "fsspec", "adlfs"),
        "abfs": ShardScheme(_FSSPEC, "fsspec", "adlfs"),
        "hf": ShardScheme(_FSSPEC, "fsspec", "huggingface_hub"),
    },
    partial(ShardScheme, public=False),
)
"""URL scheme of a shard → the `ShardReader` that opens it, and who may name it."""

STORES: Final = Registry(
    "atdata.store",
    "Shards cannot be written to {name}://…. Known: {known}; a plain path means a folder.",
    {
        "file": Provider("atdata.stores.disk:DiskDataStore"),
        "s3": Provider("atdata.stores.s3:S3DataStore", "s3", form="s3://bucket/prefix"),
        "blobs": Provider("atdata.atmosphere.blobs:PDSBlobStore", is_scheme=False),
    },
    Provider,
)
"""Name or URL scheme of a store → its class."""


@dataclass(frozen=True, slots=True)
class Format:
    """One row: a format of other programs, and the functions that read and write it."""

    what: str
    """What a file of it is, for people."""
    reader: str | None = None
    """``module:function`` that makes an importer of it; None: it is only written."""
    writer: str | None = None
    """``module:function`` that writes a dataset as it; None: it is only read."""
    suffixes: tuple[str, ...] = ()
    """How its files end."""
    magic: tuple[bytes, ...] = ()
    """What its files begin with."""

    @property
    def reads_by(self) -> str:
        """The name of the public function that reads it; "" if there is none."""
        return (self.reader or "").partition(":")[2]


def _format(
    what: str,
    name: str,
    suffixes: tuple[str, ...] = (),
    magic: tuple[bytes, ...] = (),
    *,
    module: str | None = None,
    writes: bool = True,
) -> Format:
    place = f"atdata.exchange.{module or name}"
    writer = f"{place}:to_{name}" if writes else None
    return Format(what, f"{place}:from_{name}", writer, suffixes, magic)


_PICTURES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"),
    *(".tif", ".tiff", ".jp2", ".avif", ".ppm"),
)
FORMATS: Final[Mapping[str, Format]] = {
    "parquet": _format("a Parquet file", "parquet", (".parquet", ".pq"), (b"PAR1",)),
    "csv": _format("a CSV file", "csv", (".csv", ".tsv", ".csv.gz", ".tsv.gz")),
    "jsonl": _format("a file of JSON lines", "jsonl", (".jsonl", ".ndjson", ".jsonl.gz")),
    "numpy": _format("a file of NumPy", "numpy", (".npz", ".npy"), (b"\x93NUMPY",)),
    "images": _format("a folder of pictures", "images", _PICTURES, writes=False),
    "arrow": _format("a table of Arrow", "arrow"),
    "pandas": _format("a DataFrame of pandas", "pandas"),
    "polars": _format("a DataFrame of Polars", "polars"),
    "hf": _format("a dataset of Hugging Face", "hf", module="huggingface"),
    "arrow_c_stream": Format("a stream of Arrow", None, "atdata.exchange.arrow:stream_of"),
}
"""Name → the format. What a function needs beyond the core it says when it is missing."""


def load_function(target: str) -> Any:
    """The function that ``module:function`` names. Its module is imported."""
    module, _, name = target.partition(":")
    return getattr(load_module(module), name)


_EXTRA_OF_MODULE = {
    "boto3": "s3",
    "botocore": "s3",
    "redis": "redis",
    "psycopg": "postgres",
    "fsspec": "fsspec",
    "websockets": "mirror",
    "cryptography": "mirror",
    "PIL": "image",
    "simplejpeg": "image",
    "soundfile": "audio",
    "ml_dtypes": "dtypes",
    **dict.fromkeys(("pyarrow", "pandas", "polars", "datasets"), "arrow"),
    "pytest": "testing",
    "hypothesis": "testing",
}
# One letter is a drive, as in C:\data.
_ALMOST_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)(:/?(?!/)|//)")
_NEXT_TO_EXTRA: Final = frozenset({"pandas", "polars", "datasets"})
"""Packages that a user has who has their tables: no extra installs them."""
_NOT_TARGET: Final = re.compile(r"\s|\[.*")
"""Spaces, and the extras that an entry point may name."""
_SEPARATOR: Final = re.compile(r"[/\\]")


def install_line(extra: str, *packages: str) -> str:
    """The command that installs an extra of ours, and other packages with it."""
    return " ".join(("pip install", f"'atdata[{extra}]'", *packages))


def require(module: str, *, purpose: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: Dotted name of one of our own optional dependencies, never a name from data.
        purpose: What needs it, for the error, such as ``"s3:// URLs"``.

    Raises:
        MissingExtraError: It is not installed; the message has the install line.
    """
    try:
        return load_module(module)
    except ModuleNotFoundError as error:
        root = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != root:
            raise
        extra = _EXTRA_OF_MODULE[root]
        raise MissingExtraError(
            f"{purpose} need the package {root!r}, which is not installed. "
            f"Install it with: {install_line(extra, *_NEXT_TO_EXTRA & {root})}"
        ) from error


def almost_scheme(text: str, table: Registry[Any]) -> str:
    """The scheme of a URL that lacks its colon or a slash, such as ``s3:bucket/x``.

    Args:
        text: What was given as a path or URL.
        table: The schemes that are registered. Any other name counts only before ``:/``.

    Returns:
        The scheme, as written; "" if this is a path, or a whole URL.
    """
    found = _ALMOST_URL.match(text)
    if found is None:
        return ""
    scheme = found[1]
    return scheme if found[2] == ":/" or scheme.lower() in table else ""


def slash_missing(path: object) -> str:
    """A sentence for an error about a missing file: its path begins like a URL. "" if not."""
    text = str(path)
    # The URL begins the path, or follows the folder that made it absolute.
    starts = [0, *(match.end() for match in _SEPARATOR.finditer(text))]
    found = (almost_scheme(text[start:], SHARD_SCHEMES) for start in starts)
    scheme = next(filter(None, found), "")
    return f" A URL begins with {scheme}://, with two slashes; this is a path." if scheme else ""
