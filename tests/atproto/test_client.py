"""The client: logging in, sessions, and what each failure is called."""

from __future__ import annotations

import io
import json
import pickle
from base64 import urlsafe_b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from atdata._refs import AtUri
from atdata.atmosphere import AtmosphereClient
from atdata.atproto.xrpc import XrpcServer
from atdata.errors import (
    AtdataError,
    AtmosphereError,
    AuthenticationError,
    IdentityError,
    NotFoundError,
    OptionError,
    RateLimitError,
    RecordError,
    SessionExpiredError,
    UnsafeUrlError,
    XrpcError,
)
from atdata.net.policy import Policy
from atdata.testing.network import Account, Network
from tests.atmosphere.conftest import Login
from tests.atmosphere.tokens import access_token
from tests.services.proxy import FaultProxy

PLACE = "com.example.place"
ProxyTo = Callable[[str], FaultProxy]


def place(name: str) -> dict[str, str]:
    return {"$type": PLACE, "name": name}


def with_access(session_string: str, token: str) -> str:
    handle, did, _, refresh, server = session_string.split(":::")
    return ":::".join((handle, did, token, refresh, server))


class TestLogin:
    def test_by_handle_and_by_did(self, account: Account) -> None:
        """Handle, handle with @, and DID all log in to the same account."""
        for name in (account.handle, f"@{account.handle}", account.did):
            client = AtmosphereClient()
            states = [client.is_logged_in]
            client.login(name, account.password)
            assert [*states, client.is_logged_in] == [False, True]
            assert (client.did, client.handle) == (account.did, account.handle)
            client.check_session()

    def test_the_server_is_found_from_the_account(
        self, at_home: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without ATDATA_PDS_URL an account's own server is found through the directory."""
        bob = at_home.accounts[1]
        monkeypatch.delenv("ATDATA_PDS_URL")
        client = AtmosphereClient()
        client.login(bob.did, bob.password)
        assert client.server == bob.server_url

    def test_wrong_password(self, account: Account) -> None:
        """A wrong password is an AuthenticationError that does not repeat it."""
        with pytest.raises(AuthenticationError, match="wrong handle or password") as caught:
            AtmosphereClient().login(account.handle, "not-the-password")
        assert "not-the-password" not in str(caught.value)

    def test_unknown_account(self, at_home: Network) -> None:
        """An account that the server does not have is an AuthenticationError."""
        with pytest.raises(AuthenticationError):
            AtmosphereClient().login("nobody.pds1.test", "secret")

    def test_handle_that_does_not_resolve(
        self, at_home: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a server, a handle that leads nowhere is an IdentityError."""
        monkeypatch.delenv("ATDATA_PDS_URL")
        with pytest.raises(IdentityError, match="nobody"):
            AtmosphereClient().login("nobody.pds1.test", "secret")

    @pytest.mark.parametrize(("handle", "password"), [("", "x"), ("alice.test", ""), (" ", "x")])
    def test_empty(self, at_home: Network, handle: str, password: str) -> None:
        """An empty handle or password is refused without asking a server."""
        with pytest.raises(AuthenticationError, match="empty"):
            AtmosphereClient().login(handle, password)

    @pytest.mark.parametrize(
        "given", ["hunter2secret", "p@ss word", "hun.ter2!", "x@y", "\u200bpw"]
    )
    def test_a_password_in_place_of_the_handle(
        self, given: str, account: Account, proxy_to: ProxyTo
    ) -> None:
        """What is no handle, DID or e-mail address is refused, neither sent nor repeated."""
        proxy = proxy_to(account.server_url)
        with pytest.raises(IdentityError, match="the handle first") as caught:
            AtmosphereClient(proxy.url).login(given, account.handle)
        assert given.strip("\u200b") not in str(caught.value)
        assert proxy.requests == []

    def test_server_that_is_no_url(self) -> None:
        """A server is named by a URL."""
        with pytest.raises(OptionError, match="https://"):
            AtmosphereClient("pds.example.com")

    def test_server_down(self, at_home: Network, proxy_to: ProxyTo) -> None:
        """A server that is not there is an AtmosphereError that names its URL."""
        proxy = proxy_to(at_home.servers[0].url)
        proxy.refuse()
        with pytest.raises(AtmosphereError, match=proxy.url):
            AtmosphereClient(proxy.url).login("alice.pds1.test", "secret")

    def test_something_else_than_a_server(self, account: Account, proxy_to: ProxyTo) -> None:
        """A web page where a server was expected is an AtmosphereError that says so."""
        proxy = proxy_to(account.server_url)
        page = b"<html>Welcome</html>"
        proxy.answer(200, times=None, headers={"Content-Type": "text/html"}, body=page)
        with pytest.raises(AtmosphereError, match="text/html"):
            AtmosphereClient(proxy.url).login(account.handle, account.password)
        proxy.clear()
        proxy.answer(200, times=None, headers={"Content-Type": "application/json"}, body=b"[]")
        with pytest.raises(AtmosphereError, match="not a JSON object"):
            AtmosphereClient(proxy.url).login(account.handle, account.password)
        proxy.clear()
        proxy.answer(200, times=None, headers={"Content-Type": "application/json"}, body=b"{}")
        with pytest.raises(AtmosphereError, match="session"):
            AtmosphereClient(proxy.url).login(account.handle, account.password)

    def test_redirects_are_not_followed(self, account: Account, proxy_to: ProxyTo) -> None:
        """A password never follows a redirect."""
        proxy, other = proxy_to(account.server_url), proxy_to(account.server_url)
        proxy.answer(307, times=None, headers={"Location": f"{other.url}/xrpc/x"})
        with pytest.raises(XrpcError, match="307"):
            AtmosphereClient(proxy.url).login(account.handle, account.password)
        assert other.requests == []

    def test_logins_are_limited(self, account: Account, proxy_to: ProxyTo) -> None:
        """A limit far in the future is a RateLimitError that says when; a near one is awaited."""
        proxy = proxy_to(account.server_url)
        proxy.answer(429, headers={"Retry-After": "3600"})
        with pytest.raises(RateLimitError, match="3,600 seconds") as caught:
            AtmosphereClient(proxy.url).login(account.handle, account.password)
        assert caught.value.retry_after == 3600
        proxy.answer(429, headers={"Retry-After": "0"}, times=2)
        client = AtmosphereClient(proxy.url)
        client.login(account.handle, account.password)
        assert client.did == account.did


class TestNotLoggedIn:
    def test_everything_that_needs_a_login_says_so(self, at_home: Network) -> None:
        """Each such member raises an AuthenticationError that shows the call to make."""
        client = AtmosphereClient()
        calls: list[Callable[[], object]] = [
            lambda: client.did,
            lambda: client.handle,
            lambda: client.session_string,
            lambda: client.blob_limit,
            client.check_session,
            client.refresh,
            lambda: client.put_record(PLACE, "a", place("a"), replaces=None),
            lambda: client.delete_record(f"at://did:plc:x/{PLACE}/a"),
        ]
        for call in calls:
            with pytest.raises(AuthenticationError, match=r"client\.login"):
                call()

    def test_reading_needs_no_login(self, at_home: Network, client: AtmosphereClient) -> None:
        """Records of any account are read without one."""
        record = client.put_record(PLACE, "home", place("home"), replaces=None)
        assert AtmosphereClient().get_record(record.uri).value == place("home")


class TestSession:
    def test_saved_and_restored(self, client: AtmosphereClient) -> None:
        """A restored session works as the one that was saved, without another login."""
        restored = AtmosphereClient()
        restored.login_with_session(client.session_string)
        restored.check_session()
        assert (restored.did, restored.server) == (client.did, client.server)
        assert restored.session_string == client.session_string

    @pytest.mark.parametrize(
        "text", ["", "abc", "a:::b:::c:::d:::e", "h:::did:plc:x:::secret-a:::secret-r:::ftp://x"]
    )
    def test_what_is_no_session_string(self, text: str) -> None:
        """What is no session string is refused, and not repeated."""
        with pytest.raises(AuthenticationError) as caught:
            AtmosphereClient().login_with_session(text)
        assert "secret" not in str(caught.value)

    def test_refreshed_when_the_server_finds_it_expired(
        self, client: AtmosphereClient, at_home: Network
    ) -> None:
        """A token that only the server finds expired is renewed, and the call goes through."""
        token = access_token(at_home.servers[0], client.did, expires_in=-5)
        header, _, signature = token.split(".")
        # Not readable by us: so that only the server can tell.
        for stale in (token, f"{header}.e30.{signature}"):
            again = AtmosphereClient()
            again.login_with_session(with_access(client.session_string, stale))
            again.put_record(PLACE, "a", place("a"), replaces=None)
            assert stale not in again.session_string

    def test_refreshed_once_by_many_threads(
        self, login: Login, account: Account, at_home: Network, proxy_to: ProxyTo
    ) -> None:
        """Threads that find the session expired together renew it once."""
        proxy = proxy_to(account.server_url)
        client = login(proxy.url)
        token = access_token(at_home.servers[0], client.did, expires_in=-5)
        client.login_with_session(with_access(client.session_string, token))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: client.check_session(), range(8)))
        assert sum("refreshSession" in str(request) for request in proxy.requests) == 1

    def test_refresh_changes_the_session(self, client: AtmosphereClient) -> None:
        """refresh() keeps the account logged in."""
        client.refresh()
        client.check_session()

    def test_expired_for_good(self, client: AtmosphereClient, at_home: Network) -> None:
        """A session that cannot be renewed is a SessionExpiredError without its tokens."""
        handle, did, _, _, server = client.session_string.split(":::")
        expired = access_token(at_home.servers[0], did, expires_in=-5)
        dead = AtmosphereClient()
        dead.login_with_session(":::".join((handle, did, expired, expired, server)))
        for call in (
            dead.check_session,
            dead.refresh,
            lambda: dead.put_record(PLACE, "a", place("a"), replaces=None),
        ):
            with pytest.raises(SessionExpiredError, match=r"client\.login") as caught:
                call()
            assert expired not in str(caught.value)

    def test_inactive_account(self, client: AtmosphereClient, proxy_to: ProxyTo) -> None:
        """An account that was deactivated is found out before long work begins."""
        proxy = proxy_to(client.server)
        body = json.dumps({"active": False, "status": "deactivated"}).encode()
        proxy.answer(200, match="getSession", body=body)
        parts = client.session_string.split(":::")
        away = AtmosphereClient()
        away.login_with_session(":::".join((*parts[:4], proxy.url)))
        with pytest.raises(AuthenticationError, match="deactivated"):
            away.check_session()

    def test_secrets_are_not_shown(self, client: AtmosphereClient) -> None:
        """Neither repr nor the session's own repr shows a token."""
        tokens = client.session_string.split(":::")[2:4]
        for shown in (repr(client), repr(vars(client))):
            assert not any(token in shown for token in tokens)
        assert client.handle in repr(client)


class TestRecords:
    def test_must_not_exist(self, client: AtmosphereClient) -> None:
        """A record is created only where there is none; the very same one is taken again."""
        first = client.put_record(PLACE, "a", place("a"), replaces=None)
        assert client.put_record(PLACE, "a", place("a"), replaces=None).cid == first.cid
        with pytest.raises(XrpcError) as caught:
            client.put_record(PLACE, "a", place("b"), replaces=None)
        assert (caught.value.status, caught.value.code) == (400, "InvalidSwap")
        second = client.put_record(PLACE, "a", place("b"), replaces=first.cid)
        assert client.get_record(second.uri).cid == second.cid

    def test_one_of_many_writers_wins(self, client: AtmosphereClient) -> None:
        """Of threads that create the same record with other content, one succeeds."""

        def write(number: int) -> str:
            try:
                client.put_record(PLACE, "race", place(str(number)), replaces=None)
            except XrpcError as error:
                return error.code
            return "written"

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(write, range(8))) == ["InvalidSwap"] * 7 + ["written"]

    def test_lost_answers_do_not_matter(
        self, login: Login, account: Account, proxy_to: ProxyTo
    ) -> None:
        """A write whose answer was lost is sent again and succeeds."""
        proxy = proxy_to(account.server_url)
        client = login(proxy.url)
        proxy.cut(after=10, times=2, match="putRecord")
        record = client.put_record(PLACE, "a", place("a"), replaces=None)
        assert client.get_record(record.uri).value == place("a")

    def test_a_busy_server_is_asked_again(
        self, login: Login, account: Account, proxy_to: ProxyTo
    ) -> None:
        """503, 502, a dropped and an orderly closed connection are survived."""
        proxy = proxy_to(account.server_url)
        client = login(proxy.url)
        record = client.put_record(PLACE, "a", place("a"), replaces=None)
        proxy.answer(503, match="getRecord", headers={"Retry-After": "0"})
        proxy.answer(502, match="getRecord")
        proxy.cut(after=20, match="getRecord", abrupt=False)
        assert client.get_record(record.uri).value == place("a")

    def test_a_server_that_stays_down(
        self, login: Login, account: Account, proxy_to: ProxyTo
    ) -> None:
        """A server that stays down is an AtmosphereError with its URL, in the end."""
        proxy = proxy_to(account.server_url)
        client = login(proxy.url)
        proxy.refuse()
        with pytest.raises(AtmosphereError, match=proxy.url):
            client.get_record(f"at://{client.did}/{PLACE}/a")

    def test_missing(self, client: AtmosphereClient) -> None:
        """A record that is not there is a KeyError with its URI."""
        with pytest.raises(NotFoundError, match="nothing-here"):
            client.get_record(f"at://{client.did}/{PLACE}/nothing-here")

    def test_account_that_is_gone(self, at_home: Network) -> None:
        """An account that does not exist is an IdentityError."""
        with pytest.raises(IdentityError):
            AtmosphereClient().get_record(f"at://did:plc:{'a' * 24}/{PLACE}/a")

    def test_from_the_accounts_own_server(self, at_home: Network, client: AtmosphereClient) -> None:
        """Another account's record is read from that account's server, by handle too."""
        bob = at_home.create_account(server=1)
        other = AtmosphereClient(bob.server_url)
        other.login(bob.handle, bob.password)
        other.put_record(PLACE, "a", place("bob's"), replaces=None)
        for authority in (bob.did, bob.handle):
            assert client.get_record(f"at://{authority}/{PLACE}/a").value == place("bob's")

    def test_listing_pages_through_everything(self, client: AtmosphereClient) -> None:
        """More records than a page holds are listed once each."""
        writes: list[dict[str, object]] = [
            {
                "$type": "com.atproto.repo.applyWrites#create",
                "collection": PLACE,
                "rkey": f"k{i:03d}",
                "value": place(str(i)),
            }
            for i in range(150)
        ]
        _apply(client, writes)
        names = [record.value["name"] for record in client.list_records(client.did, PLACE)]
        assert sorted(map(int, names)) == list(range(150))

    def test_listing_in_circles_ends(
        self, login: Login, account: Account, proxy_to: ProxyTo
    ) -> None:
        """A server that gives the same cursor for ever is found out."""
        proxy = proxy_to(account.server_url)
        client = login(proxy.url)
        body = json.dumps({"records": [], "cursor": "same"}).encode()
        proxy.answer(200, times=None, match="listRecords", body=body)
        with pytest.raises(AtmosphereError, match="circles"):
            list(client.list_records(client.did, PLACE))

    @pytest.mark.parametrize(
        "row",
        [
            {},
            {"uri": "x", "cid": "c", "value": {}},
            {"uri": f"at://did:plc:a/{PLACE}/k", "cid": 1, "value": {}},
            {"uri": f"at://did:plc:a/{PLACE}/k", "cid": "c", "value": []},
            {"uri": f"at://did:plc:a/{PLACE}/other", "cid": "c", "value": {}},
        ],
    )
    def test_answers_that_make_no_sense(
        self, login: Login, account: Account, proxy_to: ProxyTo, row: dict[str, object]
    ) -> None:
        """A server that answers with something else than the record is a RecordError."""
        proxy = proxy_to(account.server_url)
        client = login(proxy.url)
        proxy.answer(200, match="getRecord", body=json.dumps(row).encode())
        with pytest.raises(RecordError):
            client.get_record(f"at://{client.did}/{PLACE}/k")

    def test_an_endless_answer_is_not_read(
        self, login: Login, account: Account, proxy_to: ProxyTo
    ) -> None:
        """An answer far larger than any record is refused."""
        proxy = proxy_to(account.server_url)
        client = login(proxy.url)
        proxy.answer(200, match="getRecord", body=b" " * 17_000_000)
        with pytest.raises(AtmosphereError, match="longer than"):
            client.get_record(f"at://{client.did}/{PLACE}/k")

    def test_deleting(self, client: AtmosphereClient) -> None:
        """A record of one's own is deleted, twice without harm; another's is refused."""
        record = client.put_record(PLACE, "a", place("a"), replaces=None)
        client.delete_record(record.uri)
        client.delete_record(str(record.uri))
        with pytest.raises(NotFoundError):
            client.get_record(record.uri)
        with pytest.raises(AtdataError, match="not a record of"):
            client.delete_record(AtUri("did:plc:other", PLACE, "a"))

    def test_checked_before_it_is_sent(
        self, login: Login, account: Account, proxy_to: ProxyTo
    ) -> None:
        """A record that does not fit the data model never leaves this machine."""
        proxy = proxy_to(account.server_url)
        client = login(proxy.url)
        before = len(proxy.requests)
        with pytest.raises(RecordError, match=r"\$\.size"):
            client.put_record(PLACE, "a", {"$type": PLACE, "size": 1.5}, replaces=None)
        assert len(proxy.requests) == before


def test_strangers_servers_are_not_on_this_machine(
    at_home: Network, proxy_to: ProxyTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that an identity document places on a private address is not asked."""
    proxy = proxy_to(at_home.servers[0].url)
    server = XrpcServer(proxy.url, Policy(allow_private=False))
    with pytest.raises(UnsafeUrlError):
        server.query("com.atproto.server.describeServer")
    assert proxy.requests == []


class TestBlobs:
    def test_limit(self, client: AtmosphereClient, proxy_to: ProxyTo) -> None:
        """The limit is the server's own; 5 MiB for one that does not say."""
        assert client.blob_limit == 5 * 2**20
        for said, limit in ((b'{"blobUploadLimit": 123}', 123), (b"{}", 5 * 2**20)):
            proxy = proxy_to(client.server)
            proxy.answer(200, match="describeServer", body=said)
            away = AtmosphereClient()
            parts = client.session_string.split(":::")
            away.login_with_session(":::".join((*parts[:4], proxy.url)))
            assert away.blob_limit == limit

    def test_wrong_hash_is_noticed(self, client: AtmosphereClient) -> None:
        """What the server stored is compared with what was sent."""
        with pytest.raises(AtmosphereError, match="not the 3 bytes sent"):
            client.upload_blob(
                io.BytesIO(b"abc"), size=3, sha256="0" * 64, content_type="text/plain"
            )


def test_errors_survive_worker_processes() -> None:
    """A server's refusal keeps its status and code when it is sent to another process."""
    error = XrpcError("refused", status=400, code="InvalidSwap")
    again = pickle.loads(pickle.dumps(error))
    assert (again.status, again.code, str(again)) == (400, "InvalidSwap", "refused")


def _apply(client: AtmosphereClient, writes: list[dict[str, object]]) -> None:
    import urllib3

    token = client.session_string.split(":::")[2]
    answer = urllib3.request(
        "POST",
        f"{client.server}/xrpc/com.atproto.repo.applyWrites",
        json={"repo": client.did, "writes": writes},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status == 200, answer.data


def test_a_session_that_says_when_it_ends_is_renewed_in_time(
    client: AtmosphereClient, proxy_to: ProxyTo
) -> None:
    """A token about to end is renewed before a call, not in the middle of an upload."""
    proxy = proxy_to(client.server)
    claims = urlsafe_b64encode(b'{"exp": 1}').decode().rstrip("=")
    parts = client.session_string.split(":::")
    away = AtmosphereClient()
    away.login_with_session(":::".join((*parts[:2], f"x.{claims}.y", parts[3], proxy.url)))
    away.check_session()
    assert ["refreshSession" in str(r) for r in proxy.requests] == [True, False]
