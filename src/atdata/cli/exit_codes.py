"""Exit codes: what each means, and which error ends with which."""

from __future__ import annotations

from enum import IntEnum

from atdata.errors import (
    AtmosphereError,
    AuthenticationError,
    BackendError,
    CredentialsError,
    DecodeError,
    EntryPointError,
    IdentityError,
    LabelExistsError,
    LensError,
    MissingExtraError,
    NoDataUrlsError,
    NotFoundError,
    OptionError,
    PrivateUrlError,
    RecordError,
    RefError,
    SampleTypeError,
    SandboxError,
    SchemaConflictError,
    SchemaError,
    SchemaInUseError,
    ShardError,
    SourceError,
    UnsafeUrlError,
    UrlError,
)
from atdata.system.files import NotAFileError


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    DAMAGED = 5
    UNREACHABLE = 6
    CONFLICT = 7
    UNAVAILABLE = 8
    INTERRUPTED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "failed for a reason not listed below",
    ExitCode.USAGE: "the command line is wrong: an option, a reference, a name, a URL or a type",
    ExitCode.NOT_FOUND: "no such dataset, schema, shard, file, bucket or account",
    ExitCode.REFUSED: "not allowed: login, credentials, file permissions, or an unsafe URL",
    ExitCode.DAMAGED: "a shard, a sample or a record is damaged or not what was expected",
    ExitCode.UNREACHABLE: "a server or a database does not answer or fails; try again later",
    ExitCode.CONFLICT: "schemas or labels conflict, or something is still in use",
    ExitCode.UNAVAILABLE: "something that must be installed first is missing",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C",
}
"""Every exit code; printed in docs/cli.md."""

_BY_ERROR: tuple[tuple[type[Exception], ExitCode], ...] = (
    (NotFoundError, ExitCode.NOT_FOUND),
    (NoDataUrlsError, ExitCode.NOT_FOUND),
    (IdentityError, ExitCode.NOT_FOUND),
    (AuthenticationError, ExitCode.REFUSED),
    (CredentialsError, ExitCode.REFUSED),
    (PrivateUrlError, ExitCode.REFUSED),
    (UnsafeUrlError, ExitCode.REFUSED),
    (RecordError, ExitCode.DAMAGED),
    (ShardError, ExitCode.DAMAGED),
    (DecodeError, ExitCode.DAMAGED),
    (SchemaConflictError, ExitCode.CONFLICT),
    (SchemaInUseError, ExitCode.CONFLICT),
    (LabelExistsError, ExitCode.CONFLICT),
    (SchemaError, ExitCode.DAMAGED),
    (LensError, ExitCode.CONFLICT),
    (MissingExtraError, ExitCode.UNAVAILABLE),
    (EntryPointError, ExitCode.UNAVAILABLE),
    (SandboxError, ExitCode.UNAVAILABLE),
    (OptionError, ExitCode.USAGE),
    (RefError, ExitCode.USAGE),
    (UrlError, ExitCode.USAGE),
    (SampleTypeError, ExitCode.USAGE),
    (FileNotFoundError, ExitCode.NOT_FOUND),
    (PermissionError, ExitCode.REFUSED),
    (BackendError, ExitCode.UNREACHABLE),
    (AtmosphereError, ExitCode.UNREACHABLE),
    (SourceError, ExitCode.UNREACHABLE),
)
"""The first row that an error is an instance of counts, so narrow classes come first."""


_BY_CAUSE: tuple[tuple[type[Exception], ExitCode], ...] = (
    (NotAFileError, ExitCode.DAMAGED),
    (IsADirectoryError, ExitCode.DAMAGED),
    (PermissionError, ExitCode.REFUSED),
)
"""Causes of a SourceError that concern a file on this machine, and no server."""


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code for a command that fails with this error."""
    if isinstance(error, SourceError):
        for cause, code in _BY_CAUSE:
            if isinstance(error.__cause__, cause):
                return code
    for kind, code in _BY_ERROR:
        if isinstance(error, kind):
            return code
    return ExitCode.FAILED
