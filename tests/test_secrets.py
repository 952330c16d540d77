"""Secrets are hidden wherever text is made to be shown: errors, reprs, log lines."""

from __future__ import annotations

import ast
import inspect
import logging
import pickle
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atdata import errors
from atdata._secrets import guarded, redacted
from atdata.net import logs

CANARY = "hunter2Canary"

SECRETS = [
    "https://bob:{}@example.com/a.tar",
    "https://{}@example.com/a.tar",
    "https://example.com/a.tar?X-Amz-Credential=AKIA&X-Amz-Signature={}&x=1",
    "https://example.com/a.tar?anything={}",
    "https://example.com/a.tar#token={}",
    "https://bob:un/escaped{}@example.com/a.tar",
    "'https://bob:with a space{}@example.com/a.tar'",
    "s3://AKIAIOSFODNN7EXAMPLE:{}/x@bucket/key",
    "s3://bucket/key?X-Amz-Signature={}",
    "postgresql://bob:p@s/s#{}@db.example.com/index",
    "postgresql://db.example.com/index?password={}",
    "postgresql:bob:{}@db.example.com/index",
    "redis://:{}@cache.example.com:6379/0",
    "host=db user=bob password={} dbname=index",
    "host=db password='two words {}'",
    'GET /a.tar?sig={} HTTP/1.1" 200',
    "headers={{'Authorization': 'Bearer {}'}}",
    "x-amz-security-token:{}\nhost:example.com",
    '{{"accessJwt": "{}", "handle": "bob"}}',
    "<SecretAccessKey>{}</SecretAccessKey>",
    "https%3A//example.com/a.tar%3Fsig%3D{}",
    "connection to bob:{}@db.example.com",
    "Invalid bucket name 'AKIDEXAMPLE:ab/{}@bucket'",
    "AccountName=data;AccountKey={}==;EndpointSuffix=core.windows.net",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg{}\n-----END PRIVATE KEY-----",
]
"""Texts with a secret in them; ``{}`` is the secret."""


def error_classes() -> Iterator[type[BaseException]]:
    """Every error of the package's tree."""
    for value in vars(errors).values():
        if inspect.isclass(value) and issubclass(value, errors.AtdataError):
            yield value


def is_warning(value: object) -> bool:
    """Whether this is a class of warnings of ours."""
    return inspect.isclass(value) and issubclass(value, errors.AtdataWarning)


def made(kind: type[BaseException], text: str) -> BaseException:
    """An error of this class, made as the library does."""
    if kind is errors.XrpcError:
        return errors.XrpcError(text, status=400, code="Bad")
    return kind(text)


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_hidden_in_any_text(text: str) -> None:
    """Whatever a secret is written in, alone or in a sentence, it is not shown; the rest is."""
    whole = f"Cannot open {text.format(CANARY)} now."
    assert CANARY not in redacted(whole)
    assert redacted(whole).startswith("Cannot open ")
    assert redacted(redacted(whole)) == redacted(whole)


@pytest.mark.parametrize(
    "text",
    [
        "atdata://local/sampleSchema/Digit@1.0.0",
        "at://did:plc:abcdefghijklmnopqrstuvwx/blob/bafkreia",
        "@local/digits@1.0.0 of https://example.com/@team/a@2x.tar: there is no such file (404).",
        "s3://bucket/data-?.tar, gs://bucket/a@2x.tar, /folder/a?b#c",
        "$.token: expected a str, found 5. Pass data_store=PDSBlobStore(client).",
        "Write postgresql://user:password@host:port/database, special characters as %XX.",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """Names of shards, references and our own hints are shown as they are."""
    assert redacted(text) == text


@given(st.text(), st.text())
@example("https://bob:", "@")
def test_redacting_twice_changes_nothing(before: str, after: str) -> None:
    """What is redacted has no secret any more, whatever it is made of."""
    once = redacted(f"{before}https://u:{CANARY}@h/x{after}")
    assert CANARY not in once
    assert redacted(once) == once


@pytest.mark.parametrize("kind", list(error_classes()), ids=lambda kind: kind.__name__)
def test_no_error_shows_a_secret(kind: type[BaseException]) -> None:
    """Neither text, repr, arguments, notes, pickle nor traceback of any error has the secret, nor
    that of the error that led to it."""
    for text in SECRETS:
        secret = text.format(CANARY)
        try:
            try:
                raise OSError(5, f"cannot read {secret}", secret)
            except OSError as cause:
                cause.add_note(secret)
                raise made(kind, secret) from cause
        except kind as error:
            error.add_note(secret)
            shown = [str(error), repr(error), *map(str, error.args), *traceback_of(error)]
            shown += [str(vars(error)), str(pickle.loads(pickle.dumps(error)))]
        assert not [line for line in shown if CANARY in line and "secret" not in line]


def traceback_of(error: BaseException) -> list[str]:
    return traceback.format_exception(error)


def test_what_a_server_repeats_is_hidden() -> None:
    """A password that was just sent is not shown, in whatever words a server repeats it."""
    with guarded(CANARY):
        error = errors.AuthenticationError(f"No account has the word {CANARY}, sorry.")
    assert str(error) == "No account has the word …, sorry."


def test_log_lines_show_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Records of ours and of packages that we call are redacted for every handler."""
    logs.hide_in_logs("urllib3")
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3.connectionpool", "urllib3.not_yet_loaded"):
        log = logs.logger(name) if "not" in name else logging.getLogger(name)
        log.debug('%s "GET %s"', "https://example.com:443", f"/a.tar?sig={CANARY}")
        try:
            raise ValueError(f"https://bob:{CANARY}@example.com/")
        except ValueError:
            log.exception("failed")
    assert len(caplog.records) == 4
    assert CANARY not in caplog.text
    assert "example.com" in caplog.text


@pytest.mark.parametrize("kind", [w for w in vars(errors).values() if is_warning(w)], ids=str)
def test_no_warning_shows_a_secret(kind: type[Warning]) -> None:
    """A warning of any class of ours hides what its text has."""
    for text in SECRETS:
        with pytest.warns(kind) as caught:
            warnings.warn(text.format(CANARY), kind, stacklevel=1)
        assert CANARY not in str(caught[0].message)


def test_every_warning_is_of_a_class_of_ours() -> None:
    """Only those hide secrets: the default, UserWarning, does not."""
    found = {
        path.name
        for path in Path(errors.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn"
    }
    # Its parameter is one of ours, which mypy checks.
    assert found == {"_warnings.py"}
