"""The endpoint and keys of a bucket; keys are sent to no other host.

An `S3DataStore` or `S3Source` made in this process is remembered for its bucket. Other buckets
use the AWS environment: variables, profiles, roles.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from atdata._secrets import redacted_repr
from atdata.errors import CredentialsError, OptionError, UrlError
from atdata.system.files import user_path

_ENDPOINT_NAMES: Final = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_REGION_NAMES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")


_keyless: ContextVar[bool] = ContextVar("_keyless", default=False)


@contextmanager
def without_keys() -> Iterator[None]:
    """Pickle datasets, sources and stores without the keys of their buckets.

    By default a pickle carries them, so that a spawned worker can read; whoever has the pickle
    has the keys. A pickle made within this block has none: the process that loads it uses its own,
    from an `S3DataStore` or `S3Source` that it made or from the AWS environment. User information
    and queries of URLs stay in every pickle: they are part of the URL.
    """
    mark = _keyless.set(True)
    try:
        yield
    finally:
        _keyless.reset(mark)


@redacted_repr
@dataclass(frozen=True, slots=True)
class S3Access:
    """A bucket's endpoint, region and keys. The repr shows no keys.

    Without keys, and unless anonymous, AWS's credential chain finds them: environment, profiles,
    roles.
    """

    endpoint: str | None = None
    """http(s) URL of the server; None is AWS, or what the environment names."""
    region: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    anonymous: bool = False
    """Whether requests are not signed: for public buckets."""

    def __post_init__(self) -> None:
        if self.endpoint is not None:
            try:
                parts = urlsplit(self.endpoint)
                proper = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            except ValueError:
                proper = None
            if not proper:
                raise UrlError(
                    f"The S3 endpoint {self.endpoint!r} is not an http(s) URL. Write it with its "
                    "scheme, for example http://localhost:9000."
                )
            if "@" in parts.netloc or parts.query or parts.fragment:
                raise UrlError(
                    "The S3 endpoint must not have a password, a query or a fragment in its URL."
                )
            object.__setattr__(self, "endpoint", self.endpoint.rstrip("/"))
        if bool(self.access_key) != bool(self.secret_key):
            missing = "AWS_SECRET_ACCESS_KEY" if self.access_key else "AWS_ACCESS_KEY_ID"
            raise CredentialsError(f"S3 keys come in pairs, and {missing} is missing or empty.")
        if self.anonymous and self.access_key:
            raise OptionError("anonymous=True and keys exclude each other; leave one of them out.")

    def __reduce__(self) -> tuple[object, ...]:
        keys = (self.access_key, self.secret_key, self.session_token)
        if _keyless.get():
            keys = (None, None, None)
        return S3Access, (self.endpoint, self.region, *keys, self.anonymous)

    @classmethod
    def from_settings(cls, credentials: Mapping[str, str] | str | Path) -> S3Access:
        """Read the settings of AWS tools from a dict or a ``.env`` file.

        Args:
            credentials: ``AWS_ENDPOINT`` (or ``AWS_ENDPOINT_URL``, ``AWS_ENDPOINT_URL_S3``),
                ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``,
                ``AWS_REGION`` (or ``AWS_DEFAULT_REGION``); or the path of a file of such lines.
                Others are ignored.

        Raises:
            CredentialsError: The file cannot be read, or one of the two keys is missing.
            UrlError: The endpoint is not an http(s) URL.
        """
        if isinstance(credentials, Mapping):
            settings = dict(credentials)
        elif isinstance(credentials, str | os.PathLike):
            settings = read_env_file(Path(credentials))
        else:
            raise CredentialsError(
                "S3 credentials are a dict or the path of a .env file, "
                f"not {type(credentials).__name__}."
            )
        if wrong := [k for k, v in settings.items() if not isinstance(v, str | None)]:
            raise CredentialsError(f"S3 credentials: the value of {wrong[0]!r} is not a str.")

        def first(*names: str) -> str | None:
            return next((settings[name] for name in names if settings.get(name)), None)

        return cls(
            first(*_ENDPOINT_NAMES),
            first(*_REGION_NAMES),
            first("AWS_ACCESS_KEY_ID"),
            first("AWS_SECRET_ACCESS_KEY"),
            first("AWS_SESSION_TOKEN"),
        )


def read_env_file(path: Path) -> dict[str, str]:
    """Read lines of ``NAME=value``, with optional ``export``, quotes, comments and empty lines.

    Raises:
        CredentialsError: The file cannot be read, or a line is malformed. Values are not shown.
    """
    try:
        text = user_path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CredentialsError(f"The credentials file {path} cannot be read: {reason}.") from error
    settings: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip().removeprefix("\ufeff")
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.removeprefix("export ").partition("=")
        if not equals or not name.strip():
            raise CredentialsError(f"{path}, line {number}: expected NAME=value.")
        settings[name.strip()] = _unquoted(value.strip())
    return settings


def _unquoted(value: str) -> str:
    if value[:1] in ("'", '"') and (end := value.find(value[0], 1)) > 0:
        return value[1:end]
    return value.partition(" #")[0].rstrip()


_remembered: dict[str, tuple[S3Access, ...]] = {}
"""Bucket → accesses, the newest last."""
_regions: dict[tuple[str | None, str], str] = {}
"""Endpoint and bucket → the region that the server named."""


def remember(bucket: str, access: S3Access) -> None:
    """Open a bucket with this access from now on, in this process."""
    others = tuple(a for a in _remembered.get(bucket, ()) if a != access)
    _remembered[bucket] = (*others, access)


def remembered(buckets: frozenset[str]) -> dict[str, tuple[S3Access, ...]]:
    """The accesses of some buckets, for `restore` in another process."""
    return {bucket: known for bucket, known in _remembered.items() if bucket in buckets}


def restore(known: Mapping[str, tuple[S3Access, ...]]) -> None:
    """Add the accesses of another process; those of this one take precedence."""
    for bucket, accesses in known.items():
        here = _remembered.get(bucket, ())
        _remembered[bucket] = (*(a for a in accesses if a not in here), *here)


def environment_endpoint() -> str | None:
    """The S3 endpoint that the AWS environment variables name."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    found = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return found.rstrip("/") if found else None


def access_for(
    bucket: str,
    *,
    endpoint: str | None = None,
    region: str | None = None,
    stranger: bool = False,
) -> tuple[S3Access, bool]:
    """How to open a bucket.

    Args:
        bucket: Its name.
        endpoint: The server that its URL or entry names; None if neither does.
        region: The region of that server.
        stranger: Whether a stranger named it.

    Returns:
        The access, and whether the user chose its host. A host that only a stranger named gets
        no keys.
    """
    named = endpoint.rstrip("/") if endpoint else None
    for access in reversed(_remembered.get(bucket, ())):
        if named is None or named == access.endpoint:
            return access, True
    own = environment_endpoint()
    if named is None or named == own:
        return S3Access(own, region), True
    return S3Access(named, region, anonymous=stranger), not stranger


def learn_region(bucket: str, access: S3Access, region: str) -> None:
    """Remember the region that the server named for a bucket."""
    _regions[access.endpoint, bucket] = region


def in_region(bucket: str, access: S3Access) -> S3Access:
    """The access, with the region learnt for the bucket if there is one."""
    region = _regions.get((access.endpoint, bucket))
    return access if region is None else replace(access, region=region)
