"""Every error and warning of atdata, in one tree.

Each is ours and also the builtin that a caller would expect, so that both
``except AtdataError`` and, for instance, ``except KeyError`` work. A ConnectionError is not always
worth another try: those that are a PermissionError or a LookupError as well, and an XrpcError with
a status below 500, are final::

    AtdataError
    ├── SampleTypeError (TypeError)          a class that cannot be a sample type
    ├── EncodeError (ValueError)             a value to be written that does not fit its field
    ├── DecodeError (ValueError)             stored bytes that do not fit the sample type
    ├── RaggedFieldError (ValueError)        values that cannot be one array, such as two shapes
    ├── ShardError (ValueError)              a shard that is damaged or is not a tar
    │   └── IntegrityError                   bytes without the recorded hash or size
    ├── LensError (TypeError)                a lens that cannot be made or applied
    │   └── LensNotFoundError (LookupError)  no chain of lenses leads from one type to another
    ├── RefError (ValueError)                a reference that cannot be parsed
    │   ├── SchemaRefError
    │   └── DatasetNameError                 a name that is empty, too long or has bad characters
    ├── SchemaError (ValueError)             a schema that is malformed
    │   ├── SchemaConflictError              same name and version, other fields
    │   ├── SchemaInUseError                 a schema that something else still needs
    │   └── UnknownKindError                 a field kind that this version does not know
    ├── NotFoundError (KeyError)
    │   ├── SchemaNotFoundError
    │   ├── DatasetNotFoundError
    │   ├── ShardNotFoundError (FileNotFoundError)
    │   └── SampleNotFoundError (IndexError) no sample at this position or with this key
    ├── JoinError (LookupError)              samples that cannot be joined by their keys
    ├── LabelExistsError (ValueError)        a version of a name that is another dataset's
    ├── NoDataUrlsError (ValueError)         an entry or a dataset that names no shard
    ├── UrlError (ValueError)                a URL of no known scheme or form
    │   ├── PrivateUrlError                  a URL that only this machine can read
    │   │   └── SecretUrlError               a URL with a password, a token or a signature in it
    │   └── UnsafeUrlError (PermissionError) a URL from the network that is not opened
    ├── SourceError (OSError)                shards that cannot be read
    ├── StoreError (OSError)                 shards that cannot be written
    │   ├── BucketNotFoundError (FileNotFoundError)
    │   ├── ShardExistsError (FileExistsError)
    │   └── CredentialsError (PermissionError)
    ├── BackendError (ConnectionError)       the database of an index fails, or is not one
    ├── AtmosphereError (ConnectionError)    the network, or a server of it, fails
    │   ├── AuthenticationError (PermissionError)
    │   │   └── SessionExpiredError
    │   ├── IdentityError (LookupError)      a handle or DID that does not resolve
    │   ├── XrpcError                        a refused call, with its status and code
    │   └── RateLimitError                   too many requests, with the seconds to wait
    ├── RecordError (ValueError)             a malformed record
    ├── MissingExtraError (ImportError)      an optional dependency is not installed
    ├── EntryPointError (ImportError)        a class that another package registered does not load
    ├── SandboxError (RuntimeError)          the local network cannot be started
    ├── StateError (ValueError)              a state of another dataset, order or version
    ├── WorkerError (RuntimeError)           a worker process was killed, or ended by itself
    ├── NotSendableError (TypeError)         what cannot be sent to a worker process
    ├── LengthError (TypeError)              a dataset whose length is unknown until read
    └── OptionError (ValueError)             an argument out of its range

    AtdataWarning (UserWarning)
    ├── UnknownFieldWarning                  a stored field that the sample type does not have
    ├── UnreadMembersWarning                 members of a shard that are not samples
    ├── SkippedSamplesWarning                samples that cannot be decoded, with on_error="skip"
    ├── MissingSamplesWarning                samples of a join that the other dataset does not have
    ├── LostDefaultWarning                   a default that others who read a dataset do not have
    └── UnreadFilesWarning                   compressed tars in a folder of shards
"""

from __future__ import annotations

from functools import partial
from typing import Self

from atdata._secrets import clean_handled, redacted


class AtdataError(Exception):
    """Base of all errors of atdata. Neither its text nor that of its causes shows a secret."""

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
    """A class cannot be a sample type, for example because of an unsupported annotation."""


class NotSendableError(AtdataError, TypeError):
    """A class or function cannot be sent to another process, which could not find it by name."""


class WorkerError(AtdataError, RuntimeError):
    """A worker process was killed, or ended by itself."""


class EncodeError(AtdataError, ValueError):
    """A value does not fit its field. The message starts with the path, such as ``$.image``."""


class RaggedFieldError(AtdataError, ValueError):
    """The values of one field cannot be one array.

    Two arrays differ in shape or dtype, an int is beyond int64, or a value is None without a fill.
    """


class _InShard(AtdataError, ValueError):
    """A problem in a shard, and its place.

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
        """The same error with its place, which the code that parses bytes does not know.

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
        made = partial(type(self), shard=self.shard, offset=self.offset, key=self.key)
        return made, (self.problem,)


class DecodeError(_InShard):
    """Stored bytes do not fit the sample type. The message names shard, offset, key and path.

    The arguments are those of `ShardError`; the offset is where the sample's payload begins.
    """


class ShardError(_InShard):
    """A shard is damaged, cut short or not a tar. The message names shard, offset and key.

    Args:
        message: What is wrong.
        shard: The shard's identifier, where known.
        offset: Where in the shard, in bytes from its start.
        key: The sample concerned, where known.
    """


class IntegrityError(ShardError):
    """Bytes do not have their recorded hash or size."""


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
    """A schema is malformed."""


class SchemaConflictError(SchemaError):
    """A schema of this name and version exists and has other fields."""


class SchemaInUseError(SchemaError):
    """A schema cannot be removed: a dataset, another schema or a lens refers to it."""


class UnknownKindError(SchemaError):
    """A schema has a field kind that this version of atdata does not know."""


class NotFoundError(AtdataError, KeyError):
    """Nothing has this name."""


class SchemaNotFoundError(NotFoundError):
    """The index has no such schema."""


class DatasetNotFoundError(NotFoundError):
    """The index has no such dataset."""


class ShardNotFoundError(NotFoundError, FileNotFoundError):
    """There is no such shard."""


class SampleNotFoundError(NotFoundError, IndexError):
    """A dataset has no sample at this position, or with this key."""


class JoinError(AtdataError, LookupError):
    """Samples cannot be joined: one has no counterpart, or two have one key."""


class LabelExistsError(AtdataError, ValueError):
    """A version of a name already leads to another dataset; labels move only on request."""


class NoDataUrlsError(AtdataError, ValueError):
    """An entry or dataset names no shard."""


class UrlError(AtdataError, ValueError):
    """A URL has no known scheme, or is malformed for its scheme."""


class PrivateUrlError(UrlError):
    """A URL that only this machine can read must not be published."""


class SecretUrlError(PrivateUrlError):
    """A URL with a password, a token or a signature must not be published."""


class UnsafeUrlError(UrlError, PermissionError):
    """A URL from the network is not opened, because of its scheme or its address."""


class SourceError(AtdataError, OSError):
    """Shards cannot be read."""


class StoreError(AtdataError, OSError):
    """Shards cannot be written."""


class BucketNotFoundError(StoreError, FileNotFoundError):
    """The bucket does not exist."""


class ShardExistsError(StoreError, FileExistsError):
    """A shard with other bytes already has this name. Nothing is overwritten."""


class CredentialsError(StoreError, PermissionError):
    """Credentials are missing, or the store or source refused them."""


class BackendError(AtdataError, ConnectionError):
    """The database of an index fails, or is not an index."""


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
        message: The call, the server, and the server's answer.
        status: The HTTP status.
        code: The protocol's name of the error, such as ``RecordNotFound``; "" if none was given.
    """

    def __init__(self, message: str, *, status: int, code: str = "") -> None:
        self.status = status
        self.code = code
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return partial(XrpcError, status=self.status, code=self.code), (str(self),)


class RateLimitError(AtmosphereError):
    """A server refused a call because of too many requests.

    Args:
        message: The call and the server.
        retry_after: Seconds until the server accepts calls again; None if it did not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class RecordError(AtdataError, ValueError):
    """A record is malformed. The message starts with the path, such as ``$.storage``."""


class EntryPointError(AtdataError, ImportError):
    """A store, source or index backend that another package registered does not load.

    The message names the package, its entry point and what failed.
    """


class MissingExtraError(AtdataError, ImportError):
    """An optional dependency is not installed. The message shows how to install it."""


class SandboxError(AtdataError, RuntimeError):
    """The local network cannot be started on this machine."""


class StateError(AtdataError, ValueError):
    """A saved state is malformed, or belongs to another dataset or order.

    Also raised when two threads read from one iterator at the same time.
    """


class LengthError(AtdataError, TypeError):
    """A dataset's length is unknown until it is read. A TypeError, which ``list()`` ignores."""


class OptionError(AtdataError, ValueError):
    """An argument is out of its range."""


class AtdataWarning(UserWarning):
    """Base of all warnings of atdata. Its text shows no secret."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(redacted(arg) if isinstance(arg, str) else arg for arg in args))


class UnknownFieldWarning(AtdataWarning):
    """A stored sample has a field that its type does not have. The field is ignored."""


class UnreadMembersWarning(AtdataWarning):
    """A shard has members that are not samples and were not read: how many, and of what kind."""


class SkippedSamplesWarning(AtdataWarning):
    """Samples could not be decoded and were skipped, as asked: how many, and the first error."""


class MissingSamplesWarning(AtdataWarning):
    """Samples of a joined dataset have no counterpart in the other: how many, and their keys."""


class LostDefaultWarning(AtdataWarning):
    """Samples lack a field whose default its schema does not have: others read no such value."""


class UnreadFilesWarning(AtdataWarning):
    """A folder has compressed tars next to its shards, which were not read."""
