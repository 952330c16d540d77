"""Secrets in text: found, and hidden in every error, repr and log line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar
from urllib.parse import unquote

HIDDEN: Final = "…"
"""What replaces a secret."""
_SHORTEST_CHARACTERS: Final = 6
"""Shorter secrets, in characters, are not searched for: many words would contain them."""

_T = TypeVar("_T")
_guarded: ContextVar[tuple[str, ...]] = ContextVar("_guarded", default=())

_LONG: Final = (
    r"passw(?:or)?d|passphrase|secret|token|signature|credentials?|api[_-]?key|access[_-]?key"
    r"(?:[_-]?id)?|private[_-]?key|account[_-]?key|shared[_-]?access|jwt|authorization|cookie"
)
"""Parts of names whose values are secret."""
_SHORT: Final = r"sig|pwd|auth|hmac"
"""Names, whole, whose values are secret."""
_SECRET_WORDS: Final = frozenset(
    {"sig", "pwd", "auth", "hmac", "key", "code", "pass", "pw", "sid", "sas", "ticket", "policy"}
    | {"jwt", "st", "se", "exp", "expires", "expiry"}
)
"""Words of names whose values are secret in a URL, or say until when its secret is valid; they are
everyday words elsewhere."""
_PLAIN_PARAMETERS: Final = frozenset(
    {"versionid", "version", "generation", "rev", "revision", "ref", "commit", "sha", "sha1"}
    | {"sha256", "md5", "etag", "checksum", "cid", "did", "id", "doi", "alt", "file", "filename"}
    | {"name", "path", "prefix", "export", "download", "format"}
)
"""Names of query parameters that are not secret, however random their values look."""
_PARAMETER: Final = re.compile(r"([?&;#~])([^=?&;#~/]{1,100})=([^&;#~]*)")
_PATH_PARAMETER: Final = re.compile(r";[^/;=?#]{1,100}=[^/?#]*")
_QUERY: Final = re.compile(r"[?#]")
_NAME_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_OPAQUE: Final = re.compile(r"[A-Za-z0-9_+/=~.%-]{20,}")

_WORTH_A_LOOK: Final = re.compile(
    rf"//|[=@]|%3D|eyJ|AKIA|ASIA|gh[pousr]_|hf_|Bearer|integer value|PRIVATE KEY|{_LONG}",
    re.IGNORECASE,
)
_SCHEME_CHARACTERS: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-"
)
_URL_END: Final = re.compile(r"[\s\"'<>`|]|$")
_TRAILING: Final = re.compile(r"[),.:;\]}\\]*$")
_AUTHORITY_END: Final = re.compile(r"[/?#\\]|$")
_HOST_PORT: Final = re.compile(r"(?:\[[^\]]*\]|[^:\[\]@]*)(?::(?:\d*|port))?")
_EXAMPLES: Final = frozenset({"user:password"})
"""User information in our own hints."""
_NO_USER: Final = frozenset({"at", "atdata", "local", "file", "sqlite"})
"""Schemes whose URLs have no user information: in them ``@`` and ``:`` mean something else."""
_PLAIN_USER: Final = frozenset({"ssh", "git", "git+ssh", "ssh+git", "svn+ssh"})
"""Schemes in which a user without a password, such as ``git``, is not secret."""
_NAMES_WITH_AT: Final = frozenset(
    {"http", "https", "s3", "gs", "gcs", "az", "abfs", "abfss", "hf", "ws", "wss"}
)
"""Schemes in which an ``@`` after the host is part of a name. In others it ends a password."""

_VALUE: Final = r"(?P<value>b?\"(?:[^\"\\]|\\.)*\"|b?'(?:[^'\\]|\\.)*'|[^\s&,;'\"<>)}\]]+)"
_ASSIGNED: Final = re.compile(
    rf"(?:(?:{_LONG})[A-Za-z_]{{0,20}}|(?:(?<![A-Za-z])|(?<=%3F)|(?<=%26))(?:{_SHORT}))"
    rf"[\"']?\s{{0,3}}(?:=|%3D)\s{{0,3}}{_VALUE}",
    re.IGNORECASE,
)
_IN_JSON: Final = re.compile(
    rf"[\"'][A-Za-z_-]{{0,40}}?(?:{_LONG})[A-Za-z_-]{{0,20}}[\"']\s{{0,3}}:\s{{0,3}}"
    r"(?P<value>b?\"(?:[^\"\\]|\\.)*\"|b?'(?:[^'\\]|\\.)*')",
    re.IGNORECASE,
)
_IN_XML: Final = re.compile(
    rf"<[A-Za-z:]{{0,40}}?(?:{_LONG})[A-Za-z]{{0,20}}>(?P<value>[^<]*)", re.IGNORECASE
)
_IN_HEADER: Final = re.compile(
    r"\b(?:(?:proxy-)?authorization|(?:set-)?cookie|x-amz-security-token|x-api-key)"
    r"[\"']?\s{0,3}:\s{0,3}(?P<value>b?\"[^\"]*\"|b?'[^']*'|[^\r\n'\"]+)",
    re.IGNORECASE,
)
_RELATIVE_QUERY: Final = re.compile(r"(?<=[/\w])\?[A-Za-z0-9_.~%\[\]-]{1,100}=[^\s\"'<>`]*")
_UNSLASHED: Final = re.compile(
    r"\b((?:postgres(?:ql)?|rediss?|mysql|https?|s3)(?:\+\w+)?:/?)(?!/)[^\s'\"@]{1,300}@",
    re.IGNORECASE,
)
_PAIR: Final = re.compile(
    r"(?<![\w/@:.-])[\w.%+-]{1,80}:[^\s\"'@]{1,300}@(?=[A-Za-z\[]|\d+\.\d+\.\d+\.\d)"
)
"""User and password before a host without a scheme."""
_SHAPED: Final = re.compile(
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"
    r"|\b(?:gh[pousr]|hf)_[A-Za-z0-9]{20,}"
    r"|(?<=Bearer )[A-Za-z0-9._~+/=-]{6,}"
    r"|(?<=Signature:\n)[0-9a-f]{32,}"
    r"|(?<=cast to integer value as ).+"
    r"|(?<=PRIVATE KEY-----)[^-]{16,}"
)
"""Secrets that are known by their form: JSON web tokens; keys of AWS, GitHub and Hugging Face; and
what urllib takes for a port, which may be a password with a slash."""


def redacted(text: str) -> str:
    """A text with its secrets replaced by ``…``, so that it may be shown.

    Hidden are user information, queries and fragments of URLs anywhere in the text; values of names
    such as ``password`` and ``X-Amz-Signature`` in queries, connection strings, headers, JSON and
    XML; tokens known by their form; and texts that are `guarded`. Other text is unchanged. Takes
    time in proportion to the length of the text.
    """
    for secret in _guarded.get():
        text = text.replace(secret, HIDDEN)
    if not _WORTH_A_LOOK.search(text):
        return str(text)
    text = _with_urls_hidden(text)
    text = _UNSLASHED.sub(r"\1", text)
    for named in (_IN_HEADER, _IN_JSON, _IN_XML, _ASSIGNED):
        text = named.sub(_without_value, text)
    return _SHAPED.sub(HIDDEN, text)


def _without_value(match: re.Match[str]) -> str:
    value = match["value"]
    quote = value[-1] if value and value[-1] in "'\"" else ""
    return match.string[match.start() : match.start("value")] + quote + HIDDEN + quote


@contextmanager
def guarded(*secrets: str | None) -> Iterator[None]:
    """Redact these texts too, while a block runs: a server may repeat what it was sent."""
    known = tuple(secret for secret in secrets if secret and len(secret) >= _SHORTEST_CHARACTERS)
    mark = _guarded.set((*_guarded.get(), *known))
    try:
        yield
    finally:
        _guarded.reset(mark)


def clean(error: BaseException | None) -> None:
    """Hide secrets in the texts of an exception and its causes, in place.

    A traceback of our error prints its causes: errors of other libraries, which repeat URLs.
    """
    seen: set[int] = set()
    left = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        left += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            left += one.exceptions
        _clean_one(one)


def clean_handled() -> None:
    """`clean` the exception that is being handled: it becomes the context of what is raised now."""
    clean(sys.exception())


def _clean_one(error: BaseException) -> None:
    args = tuple(redacted(arg) if isinstance(arg, str) else arg for arg in error.args)
    if args != error.args:
        error.args = args
    if isinstance(error, OSError):
        # Its text is made of these, which vars() does not list.
        for name in ("strerror", "filename", "filename2"):
            _clean_attribute(error, name, getattr(error, name))
    for name, value in list(vars(error).items()):
        _clean_attribute(error, name, value)


def _clean_attribute(error: BaseException, name: str, value: object) -> None:
    if isinstance(value, str):
        if (shown := redacted(value)) != value:
            setattr(error, name, shown)
    elif name == "__notes__" and isinstance(value, list):
        value[:] = [redacted(note) if isinstance(note, str) else note for note in value]


def redacted_repr(cls: type[_T]) -> type[_T]:
    """Class decorator, above ``@dataclass``: the repr hides secrets in the text of fields."""
    made: Callable[[Any], str] = cls.__repr__

    def shown(self: Any) -> str:
        return redacted(made(self))

    cls.__repr__ = shown  # type: ignore[method-assign]
    return cls


def _with_urls_hidden(text: str) -> str:
    parts: list[str] = []
    done = 0
    for start, mark, end in _places(text):
        parts += (
            _plain(text[done : mark + 3]),
            _shown(text[start:mark].lower(), text[mark + 3 : end]),
        )
        done = end
    return "".join(parts) + _plain(text[done:])


def _plain(text: str) -> str:
    """Text between URLs: logs have paths with queries, and hosts without a scheme."""
    return _RELATIVE_QUERY.sub(f"?{HIDDEN}", _PAIR.sub("", text))


def _places(text: str) -> Iterator[tuple[int, int, int]]:
    """Of each URL in a text: its start, the place of its ``://``, its end."""
    done, mark = 0, text.find("://")
    while mark >= 0:
        start = mark
        while start > done and text[start - 1] in _SCHEME_CHARACTERS:
            start -= 1
        end = _end_of_url(text, start, mark + 3)
        if start < mark:
            yield start, mark, end
            done = end
        mark = text.find("://", max(end, mark + 3))


def _end_of_url(text: str, start: int, rest: int) -> int:
    """Where a URL ends: at its closing quote, else at a space or a mark that no URL has."""
    quote = text[start - 1 : start]
    if quote and quote in "'\"`":
        close = text.find(quote, rest)
        while close > 0 and text[close - 1] == "\\":
            close = text.find(quote, close + 1)
        if close >= 0 and text.find("\n", rest, close) < 0:
            return close
    found = _URL_END.search(text, rest)
    end = len(text) if found is None else found.start()
    at = text.find("@", end, end + 300)
    if at > 0 and "@" not in text[rest:end] and "\n" not in text[end:at]:
        scheme = text[start : rest - 3].lower()
        next_url = text.find("://", end, at)
        # A password with a space in it, or a quote.
        if next_url < 0 and scheme not in _NO_USER and _is_odd(text[rest:end]):
            found = _URL_END.search(text, at)
            end = len(text) if found is None else found.start()
    return end


def _is_odd(rest: str) -> bool:
    """Whether what stands before the first slash is no host with its port."""
    end = _AUTHORITY_END.search(rest)
    return not _HOST_PORT.fullmatch(rest[: end.start()] if end else rest)


def _shown(scheme: str, rest: str) -> str:
    """What follows ``://``, without what is secret in it."""
    trailing = _TRAILING.search(rest)
    tail = trailing.group() if trailing else ""
    rest = rest[: len(rest) - len(tail)]
    if scheme in _NO_USER:
        return rest + tail
    user, rest = _split_user(scheme, rest)
    if user in _EXAMPLES:
        rest = f"{user}@{rest}"
    elif _is_odd(rest):
        # No host with a port: a password of which the end is cut off.
        rest = f"{rest.partition(':')[0]}:{HIDDEN}"
    if scheme in ("http", "https"):
        rest = _PATH_PARAMETER.sub(f";{HIDDEN}", rest)
        return f"{rest[: cut.end()]}{HIDDEN}{tail}" if (cut := _QUERY.search(rest)) else rest + tail
    return _PARAMETER.sub(_without_parameter, rest) + tail


def _without_parameter(match: re.Match[str]) -> str:
    mark, name, value = match.groups()
    return f"{mark}{name}={HIDDEN if _is_secret_parameter(name, value) else value}"


def _split_user(scheme: str, rest: str) -> tuple[str, str]:
    """User information and what follows it; special characters in it may be unescaped."""
    found = _AUTHORITY_END.search(rest)
    end = found.start() if found else len(rest)
    user, at, host = rest[:end].rpartition("@")
    if scheme not in _NAMES_WITH_AT or (not at and _is_odd(rest)):
        user, at, rest_after = rest.rpartition("@")
        return (user, rest_after) if at else ("", rest)
    return (user, host + rest[end:]) if at else ("", rest)


def find_secret(text: str) -> str | None:
    """What is secret in the URLs of a text, in words that do not show it; None if nothing is.

    For example ``user information before the host`` or ``the query parameter 'sig'``. A query such
    as ``?download=1`` or ``?versionId=…`` is not secret.
    """
    for scheme, rest in _urls(text):
        if scheme in _NO_USER:
            continue
        user, _ = _split_user(scheme, rest)
        if scheme in _PLAIN_USER:
            user = user if ":" in user else ""
        elif _is_odd(rest):
            user = user or rest
        if user and user not in _EXAMPLES:
            return "user information before the host"
        plain = unquote(rest)
        if plain != rest and "@" in plain.partition("/")[0]:
            return "user information before the host"
        for said in dict.fromkeys((rest, plain, unquote(plain))):
            for match in _PARAMETER.finditer(said):
                if _is_secret_parameter(match[2], match[3]):
                    kind = "fragment" if "#" in said[: match.start() + 1] else "query parameter"
                    return f"the {kind} {match[2][:40]!r}"
            if "://" in said and (inner := find_secret(said)):
                return inner
        fragment = rest.partition("#")[2]
        if scheme in ("http", "https") and _looks_random(fragment):
            return "the fragment"
        if _SHAPED.search(rest):
            return "a token or a key in its path"
    return None


def _is_secret_parameter(name: str, value: str) -> bool:
    if not value or value == HIDDEN:
        return False
    if re.search(f"{_LONG}|session", name, re.IGNORECASE) or name.lower().startswith(
        ("x-amz-", "x-goog-")
    ):
        return True
    words = {word.lower() for word in _NAME_WORDS.findall(name)} | {name.lower()}
    if words & _SECRET_WORDS:
        return True
    return name.lower() not in _PLAIN_PARAMETERS and _looks_random(value)


def _looks_random(value: str) -> bool:
    """Whether a value is long and mixes digits and letters, as tokens do."""
    digits, letters = sum(map(str.isdigit, value)), sum(map(str.isalpha, value))
    return _OPAQUE.fullmatch(value) is not None and digits >= 3 and letters >= 3


def _urls(text: str) -> Iterator[tuple[str, str]]:
    """Scheme, in lower case, and the text after ``://``, of each URL in a text."""
    for start, mark, end in _places(text):
        yield text[start:mark].lower(), _TRAILING.sub("", text[mark + 3 : end])
