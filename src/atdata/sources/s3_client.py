"""Clients of the AWS library, and S3 errors as ours."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from atdata._registry import require
from atdata._secrets import guarded
from atdata.errors import (
    AtdataError,
    BucketNotFoundError,
    CredentialsError,
    ShardNotFoundError,
    SourceError,
    StoreError,
    UrlError,
)
from atdata.net.logs import hide_in_logs
from atdata.sources.s3_access import S3Access, environment_endpoint
from atdata.system.forks import load_module

_WRONG_KEYS: Final = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "NotSignedUp",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
_HOW_TO_GET_IN: Final = (
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL for a server other "
    "than AWS) or AWS_PROFILE, or make an S3DataStore or S3Source with credentials for the bucket"
)
_clients: dict[tuple[int, S3Access, int, bool, int], tuple[Any, bool]] = {}


def client_for(access: S3Access, *, fallback: bool = False, attempts: int = 4) -> tuple[Any, bool]:
    """A boto3 client for this access, one per process.

    Args:
        access: Endpoint, region, keys.
        fallback: Whether to send unsigned requests if no keys can be found.
        attempts: How often the library tries a request.

    Returns:
        The client, and whether it signs.

    Raises:
        MissingExtraError: boto3 is not installed.
        CredentialsError: There are no keys, and no ``fallback``.
        UrlError: The region's name is invalid.
    """
    # In a notebook, keys are often set in the environment after a first attempt has failed.
    environment = hash(frozenset(i for i in os.environ.items() if i[0].startswith("AWS_")))
    key = (os.getpid(), access, environment, fallback, attempts)
    if key not in _clients:
        _clients[key] = _made(access, fallback, attempts)
    return _clients[key]


def _made(access: S3Access, fallback: bool, attempts: int) -> tuple[Any, bool]:
    boto3 = require("boto3", purpose="s3:// URLs and buckets")
    load_module("boto3.s3.transfer")  # which boto3 imports on first use
    hide_in_logs("boto3", "botocore", "s3transfer", "urllib3")
    botocore = require("botocore", purpose="s3:// URLs and buckets")
    config = require("botocore.config", purpose="s3:// URLs and buckets").Config
    exceptions = require("botocore.exceptions", purpose="s3:// URLs and buckets")
    endpoint = access.endpoint or environment_endpoint()
    try:
        session = boto3.session.Session(
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret_key,
            aws_session_token=access.session_token,
        )
        signed = not access.anonymous and session.get_credentials() is not None
        if not (signed or access.anonymous or fallback):
            raise CredentialsError(f"There are no S3 credentials. {_HOW_TO_GET_IN}.")
        client = session.client(
            "s3",
            endpoint_url=endpoint,
            region_name=access.region or session.region_name or "us-east-1",
            config=config(
                signature_version="s3v4" if signed else botocore.UNSIGNED,
                s3={"addressing_style": "path" if endpoint else "auto"},
                connect_timeout=3,
                read_timeout=60,
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=16,
                # Many servers other than AWS do not know the default checksums of 2025.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
    except (exceptions.InvalidRegionError, ValueError) as error:
        raise UrlError(f"S3: {error}.") from error
    except exceptions.BotoCoreError as error:
        raise CredentialsError(f"The AWS configuration cannot be used: {error}") from error
    return client, signed


def status_of(error: Any) -> int:
    """The HTTP status of a botocore ClientError; 0 if it has none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def s3_errors(
    place: str, access: S3Access, *, kind: type[SourceError] | type[StoreError]
) -> Iterator[None]:
    """Turn the AWS library's exceptions into ours.

    Args:
        place: The s3:// URL in use.
        access: How it is opened; errors name its endpoint.
        kind: The error for a failure that has no class of its own.
    """
    # A server may echo what it was sent.
    keys = (access.access_key, access.secret_key, access.session_token)
    with guarded(*keys), _named_errors(place, access, kind):
        yield


@contextmanager
def _named_errors(
    place: str, access: S3Access, kind: type[SourceError] | type[StoreError]
) -> Iterator[None]:
    exceptions = require("botocore.exceptions", purpose="s3:// URLs and buckets")
    transfer = require("boto3.exceptions", purpose="s3:// URLs and buckets").S3UploadFailedError
    try:
        yield
    except AtdataError:
        raise
    except transfer as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, exceptions.ClientError):
            raise _from_client_error(cause, place, access, kind) from error
        raise kind(f"{place}: the upload to {_host(access)} failed: {error}") from error
    except exceptions.ClientError as error:
        raise _from_client_error(error, place, access, kind) from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise CredentialsError(f"{place}: {error} {_HOW_TO_GET_IN}.") from error
    except exceptions.ParamValidationError as error:
        raise UrlError(f"{place}: {error}") from error
    except (exceptions.HTTPClientError, exceptions.ConnectionError, OSError) as error:
        raise kind(
            f"{place}: the S3 server {_host(access)} cannot be reached ({type(error).__name__}). "
            "Check that it runs and that the endpoint is right."
        ) from error
    except exceptions.BotoCoreError as error:
        raise kind(f"{place}: {error}") from error


def _from_client_error(
    error: Any, place: str, access: S3Access, kind: type[SourceError] | type[StoreError]
) -> Exception:
    status = status_of(error)
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", ""))
    return s3_error(place, access, code=code, status=status, message=message, kind=kind)


def s3_error(
    place: str,
    access: S3Access,
    *,
    code: str,
    status: int,
    message: str = "",
    signed: bool = True,
    kind: type[SourceError] | type[StoreError],
) -> Exception:
    """Our exception for a refusal of an S3 server.

    Args:
        place: The s3:// URL.
        access: How it was opened; the message names its endpoint.
        code: The server's code of the refusal; "" if the answer had no body.
        status: The HTTP status.
        message: The server's own message.
        signed: Whether the request had a signature.
        kind: The error for a refusal that has no class of its own.
    """
    host = _host(access)
    bucket = place.removeprefix("s3://").partition("/")[0]
    if code == "NoSuchBucket":
        return BucketNotFoundError(
            f"There is no bucket {bucket!r} at {host}. Create it, or check the name and the "
            "endpoint."
        )
    if not signed and status in (400, 401, 403):
        return CredentialsError(
            f"{place}: {host} refuses anonymous access ({status} {code}), and no credentials "
            f"for it are known. {_HOW_TO_GET_IN}."
        )
    if code in _WRONG_KEYS:
        return CredentialsError(
            f"{place}: {host} does not accept the access key or the secret ({code}). Check "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the endpoint."
        )
    if code == "RequestTimeTooSkewed":
        return CredentialsError(f"{place}: {host} says that this machine's clock is wrong. Set it.")
    if status in (401, 403):
        return CredentialsError(
            f"{place}: {host} does not allow this with the credentials in use "
            f"({code or status}). Ask the bucket's owner for the right, or use other keys."
        )
    if status == 404 and kind is SourceError:
        return ShardNotFoundError(f"{place}: there is no such object at {host}.")
    return kind(f"{place}: {host} answers {status} {code}: {message}".rstrip(": "))


def refusal(body: bytes) -> Mapping[str, str]:
    """The plain elements of an S3 error document, such as Code, Message and Region."""
    # The document is untrusted: three elements are searched for, no XML is parsed.
    text = body[:10_000].decode("utf-8", "replace")
    return {
        name: match[1]
        for name in ("Code", "Message", "Region")
        if (match := re.search(rf"<{name}>([^<]{{0,500}})</{name}>", text))
    }


def _host(access: S3Access) -> str:
    return access.endpoint or environment_endpoint() or "AWS S3"
