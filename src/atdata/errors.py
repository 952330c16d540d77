"""Every error that atdata raises, in one tree.

Each is ours and also the builtin that a caller would expect, so that both
``except AtdataError`` and, for instance, ``except KeyError`` work. A ConnectionError is not always
worth another try: those that are a PermissionError or a LookupError as well, and an XrpcError with
a status below 500, are final::

    AtdataError
    ├── SampleTypeError (TypeError)          a class that cannot be a sample type
    ├── EncodeError (ValueError)             a value that does not fit its field, found when written
    ├── DecodeError (ValueError)             bytes that do not hold what the type says
    ├── RaggedFieldError (ValueError)        values that make no column, as arrays of several shapes
    ├── ShardError (ValueError)              a shard that is damaged or is no tar
    │   └── IntegrityError                   bytes that do not have the hash or size they should
    ├── LensError (TypeError)                a lens that cannot be made or applied
    │   └── LensNotFoundError (LookupError)  no chain of lenses leads from one type to another
    ├── RefError (ValueError)                a reference that cannot be parsed
    │   ├── SchemaRefError
    │   └── DatasetNameError                 a name that is empty, too long or has bad characters
    ├── SchemaError (ValueError)             a schema record that makes no sense
    │   ├── SchemaConflictError              same name and version, other fields
    │   ├── SchemaInUseError                 a schema that something else still needs
    │   └── UnknownKindError                 a field kind that this version cannot make a type of
    ├── NotFoundError (KeyError)
    │   ├── SchemaNotFoundError
    │   ├── DatasetNotFoundError
    │   ├── ShardNotFoundError (FileNotFoundError)
    │   └── SampleNotFoundError (IndexError) no sample at this position or with this key
    ├── LabelExistsError (ValueError)        a version of a name that leads to another dataset
    ├── NoDataUrlsError (ValueError)         an entry or a dataset that names no shard
    ├── UrlError (ValueError)                a URL of no known scheme or form
    │   ├── PrivateUrlError                  a URL that only this machine can read
    │   │   └── SecretUrlError               a URL with a password, a token or a signature in it
    │   └── UnsafeUrlError (PermissionError) a stranger's URL that must not be opened
    ├── SourceError (OSError)                shards cannot be read from where they are
    ├── StoreError (OSError)                 shards cannot be written where they should go
    │   ├── BucketNotFoundError (FileNotFoundError)
    │   ├── ShardExistsError (FileExistsError)
    │   └── CredentialsError (PermissionError)
    ├── BackendError (ConnectionError)       the database of an index does not answer or is not one
    ├── AtmosphereError (ConnectionError)    the network or a server of it fails
    │   ├── AuthenticationError (PermissionError)
    │   │   └── SessionExpiredError
    │   ├── IdentityError (LookupError)      a handle or DID that does not resolve
    │   ├── XrpcError                        a server's refusal; has its status and its code
    │   └── RateLimitError                   too many requests; says when to come back
    ├── RecordError (ValueError)             a record that is not what it should be
    ├── MissingExtraError (ImportError)      an optional dependency is not installed
    ├── SandboxError (RuntimeError)          the local network cannot be started
    ├── StateError (ValueError)              a state of another dataset, order or version
    ├── NotSendableError (TypeError)         what cannot go to a worker process
    ├── LengthError (TypeError)              a dataset whose length is known after reading only
    └── OptionError (ValueError)             an argument out of its range
"""

from __future__ import annotations

from typing import Self

from atdata._secrets import clean_handled, redacted


class AtdataError(Exception):
    """Base of all errors of atdata. Its text, and that of what led to it, show no secrets."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(redacted(arg) if isinstance(arg, str) else arg for arg in args))
        clean_handled()

    def add_note(self, note: str) -> None:
        """Add to what a traceback prints."""
        super().add_note(redacted(note))

    def __str__(self) -> str:
        # KeyError would print the repr of the message: quotes, and newlines as \n.
        return redacted(str(self.args[0]) if len(self.args) == 1 else super().__str__())


class SampleTypeError(AtdataError, TypeError):
    """A class cannot be a sample type, for instance for an annotation that is not supported."""


class NotSendableError(AtdataError, TypeError):
    """Another process would not find a class or function by its name."""


class EncodeError(AtdataError, ValueError):
    """A value does not fit its field. The message starts with the path, such as ``$.image``."""


class RaggedFieldError(AtdataError, ValueError):
    """The values of one field make no column: arrays that differ in shape or dtype, an int beyond
    int64, None where nothing stands for it."""


class _InShard(AtdataError, ValueError):
    """What is wrong in a shard, and where.

    Args:
        message: What is wrong.
        shard: The shard's identifier, where known.
        offset: Where in the shard, in bytes from its start.
        key: The sample concerned, where known.
    """

    def __init__(
        self,
        message: str,
        *,
        shard: str | None = None,
        offset: int | None = None,
        key: str | None = None,
    ) -> None:
        self.problem = redacted(message)
        self.shard = None if shard is None else redacted(shard)
        self.offset = offset
        self.key = key
        where = [
            self.shard or "",
            f"byte {offset}" if offset is not None else "",
            f"sample {key!r}" if key is not None else "",
        ]
        place = ", ".join(part for part in where if part)
        super().__init__(f"{place}: {message}" if place else message)

    def in_shard(self, shard: str, *, offset: int | None = None, key: str | None = None) -> Self:
        """The same error, told of a place: what parses bytes does not know where they are from.

        Args:
            shard: The shard's identifier.
            offset: Where in the shard; None: as it was.
            key: The sample concerned; None: as it was.
        """
        return type(self)(
            self.problem,
            shard=shard,
            offset=self.offset if offset is None else offset,
            key=self.key if key is None else key,
        )

    def __reduce__(self) -> tuple[object, ...]:
        # Worker processes send errors to their parent; keyword arguments get lost by default.
        return _restored, (type(self), self.problem, self.shard, self.offset, self.key)


def _restored(
    cls: type[_InShard], message: str, shard: str | None, offset: int | None, key: str | None
) -> _InShard:
    return cls(message, shard=shard, offset=offset, key=key)


class DecodeError(_InShard):
    """Bytes do not hold what the sample type says. The message names shard, offset, key and path.

    Its arguments are as for `ShardError`; the offset is where the sample's payload begins.
    """


class ShardError(_InShard):
    """A shard is damaged, cut short or is no tar. The message names shard, offset and key.

    Args:
        message: What is wrong.
        shard: The shard's identifier, where known.
        offset: Where in the shard, in bytes from its start.
        key: The sample concerned, where known.
    """


class IntegrityError(ShardError):
    """Bytes do not have the hash or the size that was recorded for them."""


class LensError(AtdataError, TypeError):
    """A lens cannot be made of this function, or cannot be applied."""


class LensNotFoundError(LensError, LookupError):
    """No lens, chain of lenses or plain view leads from one type to the other."""


class RefError(AtdataError, ValueError):
    """A reference (name, AT URI, CID) cannot be parsed."""


class SchemaRefError(RefError):
    """A schema reference cannot be parsed."""


class DatasetNameError(RefError):
    """A dataset name is empty, too long, or has characters that a name cannot have."""


class SchemaError(AtdataError, ValueError):
    """A schema record makes no sense."""


class SchemaConflictError(SchemaError):
    """A schema of this name and version exists and has other fields."""


class SchemaInUseError(SchemaError):
    """A schema that a dataset, another schema or a lens refers to, so that it must stay."""


class UnknownKindError(SchemaError):
    """A schema has a field kind that this version cannot make a type of."""


class NotFoundError(AtdataError, KeyError):
    """Something that was asked for by name is not there."""


class SchemaNotFoundError(NotFoundError):
    """The index has no such schema."""


class DatasetNotFoundError(NotFoundError):
    """The index has no such dataset."""


class ShardNotFoundError(NotFoundError, FileNotFoundError):
    """There is no such shard."""


class SampleNotFoundError(NotFoundError, IndexError):
    """A dataset has no sample at this position, or with this key."""


class LabelExistsError(AtdataError, ValueError):
    """A version of a name leads to another dataset already; labels are moved only on request."""


class NoDataUrlsError(AtdataError, ValueError):
    """An entry or dataset names no shard."""


class UrlError(AtdataError, ValueError):
    """A URL has no known scheme, or not the form that its scheme asks for."""


class PrivateUrlError(UrlError):
    """A URL can be read by this machine only, so it must not be published."""


class SecretUrlError(PrivateUrlError):
    """A URL carries a password, a token or a signature, so it must not be published."""


class UnsafeUrlError(UrlError, PermissionError):
    """A URL from the network points where a stranger's URL must not lead."""


class SourceError(AtdataError, OSError):
    """Shards cannot be read from where they are."""


class StoreError(AtdataError, OSError):
    """Shards cannot be written where they should go."""


class BucketNotFoundError(StoreError, FileNotFoundError):
    """The bucket does not exist."""


class ShardExistsError(StoreError, FileExistsError):
    """Another shard, with other bytes, has the name; nothing is overwritten."""


class CredentialsError(StoreError, PermissionError):
    """The store or source refused the credentials, or there are none."""


class BackendError(AtdataError, ConnectionError):
    """The database of an index does not answer, or is not an index."""


class AtmosphereError(AtdataError, ConnectionError):
    """The AT Protocol network, or one server of it, fails or cannot be reached."""


class AuthenticationError(AtmosphereError, PermissionError):
    """Not logged in, or the server refused the handle or the password."""


class SessionExpiredError(AuthenticationError):
    """The session has expired and cannot be refreshed; log in again."""


class IdentityError(AtmosphereError, LookupError):
    """A handle or a DID does not resolve, or handle and DID do not name each other."""


class XrpcError(AtmosphereError):
    """A server refused a call.

    Args:
        message: What was asked, of whom, and what the server said.
        status: The HTTP status.
        code: The protocol's name for the refusal, such as ``RecordNotFound``; "" for none.
    """

    def __init__(self, message: str, *, status: int, code: str = "") -> None:
        self.status = status
        self.code = code
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return _restore_xrpc_error, (str(self), self.status, self.code)


def _restore_xrpc_error(message: str, status: int, code: str) -> XrpcError:
    return XrpcError(message, status=status, code=code)


class RateLimitError(AtmosphereError):
    """The server asks to send fewer requests.

    Args:
        message: What was refused.
        retry_after: Seconds until the server takes requests again, where it said so.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class RecordError(AtdataError, ValueError):
    """A record is not what it should be. The message carries the path, such as ``$.storage``."""


class MissingExtraError(AtdataError, ImportError):
    """An optional dependency is not installed. The message has the line that installs it."""


class SandboxError(AtdataError, RuntimeError):
    """The local network cannot be started on this machine."""


class StateError(AtdataError, ValueError):
    """A state of reading is not of this dataset or order, or is no state; or two threads read at
    once what has only one.
    """


class LengthError(AtdataError, TypeError):
    """A dataset has no length before it is read. A TypeError, so that ``list()`` goes on."""


class OptionError(AtdataError, ValueError):
    """An argument is out of its range."""


class AtdataWarning(UserWarning):
    """Base of all warnings of atdata. Their text shows no secrets."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(redacted(arg) if isinstance(arg, str) else arg for arg in args))


class UnknownFieldWarning(AtdataWarning):
    """A sample holds a field that its type does not have; the field is passed over."""


class UnreadMembersWarning(AtdataWarning):
    """A shard has members that are no samples; they were not read. Says how many, of what kind."""


class UnreadFilesWarning(AtdataWarning):
    """A folder has compressed tars next to its shards; they were not read."""
